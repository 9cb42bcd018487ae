"""The page in a real browser: headless Chromium against the tiny model."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from codling.serve.backend import LocalBackend
from codling.serve.config import ServeConfig
from serve.page_driver import open_page, value, write
from serve.tiny_server import Running, Servers, wait_until

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
expect = playwright.expect
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
FLAGS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
    --disable-background-networking --disable-component-update"""
playwright.expect.set_options(timeout=600_000)
TEXT = "def add(first, second):\n    \n\n\nclass Stack:\n    pass\n"
AT = TEXT.index("\n\n\n")


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    if not Path(CHROMIUM).exists():
        pytest.skip(f"needs Chromium at {CHROMIUM}")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS.split(), timeout=600_000
        )
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def opened(browser, server: Running):
    """The page, opened once; it asks only when told to."""
    with open_page(browser, server.url, width=1100, height=700, asks=False) as page:
        expect(page.locator("#dot")).to_have_attribute("data-state", "up")
        yield page


@pytest.fixture
def page(opened):
    """The opened page with a text of ours and the cursor in the hole."""
    opened.click("#tab-editor")
    opened.locator("#on-pause").evaluate("box => { box.checked = false }")
    write(opened, TEXT, AT)
    return opened


def ask(page) -> str:
    """Ask at the cursor; the whole suggestion."""
    page.locator("#text .cm-content").focus()
    page.keyboard.press("Control+Space")
    expect(page.locator("#state")).to_have_text("Tab accepts, Esc drops")
    return page.locator(".ghost").text_content()


def inserted(engine: TextEngine) -> str:
    """What the engine itself puts there, by the page's rules: a paragraph, or else more."""
    for stop in ("\n\n", "\n\n\n"):
        params = SamplingParams(max_tokens=96, stop=(stop,))
        whole = engine.insert([(f"# stack.py\n{TEXT[:AT]}", TEXT[AT:])], params)[0].text
        if text := re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", whole).rstrip():
            return text
    raise AssertionError("the tiny model has nothing to say here; choose another text")


def test_the_key_shows_the_engines_text_at_the_cursor_and_tab_takes_it(
    page, engine: TextEngine
) -> None:
    suggestion = ask(page)
    assert suggestion == inserted(engine)
    assert value(page) == TEXT
    page.keyboard.press("Tab")
    expect(page.locator(".ghost")).to_have_count(0)
    assert value(page) == TEXT[:AT] + suggestion + TEXT[AT:]
    # Undo takes the whole suggestion back.
    page.keyboard.press("Control+z")
    assert value(page) == TEXT


def test_escape_drops_it_and_changes_nothing(page) -> None:
    ask(page)
    page.keyboard.press("Escape")
    expect(page.locator(".ghost")).to_have_count(0)
    assert value(page) == TEXT


def test_alt_backslash_asks_too(page) -> None:
    page.locator("#text .cm-content").focus()
    page.keyboard.press("Alt+Backslash")
    expect(page.locator(".ghost")).to_have_count(1)


def test_typing_along_keeps_the_rest_and_typing_else_drops_it(page) -> None:
    suggestion = ask(page)
    page.keyboard.insert_text(suggestion[:2])
    assert page.locator(".ghost").text_content() == suggestion[2:]
    page.keyboard.press("Backspace")
    assert page.locator(".ghost").text_content() == suggestion[1:]
    page.keyboard.insert_text("\u2603")
    expect(page.locator(".ghost")).to_have_count(0)


def test_control_right_takes_a_word_and_leaves_the_rest(page) -> None:
    suggestion = ask(page)
    page.keyboard.press("Control+ArrowRight")
    taken = value(page)[AT : len(value(page)) - len(TEXT[AT:])]
    assert taken
    assert suggestion.startswith(taken)
    if taken != suggestion:
        assert page.locator(".ghost").text_content() == suggestion[len(taken) :]


def test_moving_the_cursor_drops_it(page) -> None:
    ask(page)
    page.keyboard.press("ArrowUp")
    expect(page.locator(".ghost")).to_have_count(0)


def test_a_pause_asks_by_itself(page) -> None:
    page.locator("#on-pause").evaluate("box => { box.checked = true }")
    page.locator("#text .cm-content").focus()
    page.keyboard.type("x")
    expect(page.locator(".ghost")).to_have_count(1)


def test_tab_indents_and_after_escape_it_leaves(page) -> None:
    write(page, "", 0)
    page.locator("#text .cm-content").focus()
    page.keyboard.press("Tab")
    assert value(page) == "    "
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(page.locator("#text .cm-content")).not_to_be_focused()


def test_enter_keeps_the_indentation_and_deepens_it_after_a_colon(page) -> None:
    write(page, "    if x:", 9)
    page.locator("#text .cm-content").focus()
    page.keyboard.press("Enter")
    page.keyboard.type("y")
    assert value(page) == "    if x:\n        y"


def test_latency_speed_and_model_are_shown(page) -> None:
    ask(page)
    expect(page.locator("#editor-stats")).to_contain_text("ms")
    expect(page.locator("#editor-stats")).to_contain_text("tok/s")
    expect(page.locator("#model")).to_contain_text("tiny-coder")
    expect(page.locator("#model-context")).to_have_text("2,048 tokens")


def test_code_is_coloured_and_never_read_as_html(page) -> None:
    write(page, 'def f(): # <img src=x onerror="document.title=1">\n    return "<b>"\n', 0)
    assert page.locator("#text .t-word").first.text_content() == "def"
    assert "<img" in page.locator("#text .t-comment").text_content()
    assert page.locator("#text .cm-line img, #text .cm-line b").count() == 0


@pytest.mark.long
def test_the_chat_streams_and_a_new_one_forgets(page) -> None:
    page.click("#tab-chat")
    page.fill("#say", "add two numbers <b>")
    page.keyboard.press("Enter")
    expect(page.locator("#chat-state")).to_have_text("done")
    assert page.locator(".turn.assistant .said").text_content()
    expect(page.locator("#chat-stats")).to_contain_text("ms")
    assert page.locator(".turn.user .said").first.text_content() == "add two numbers <b>"
    page.click("#clear")
    expect(page.locator(".turn")).to_have_count(0)


def test_the_tabs_obey_the_arrow_keys(page) -> None:
    page.focus("#tab-editor")
    page.keyboard.press("ArrowRight")  # past the Repo tab, which a server without one hides
    expect(page.locator("#chat")).to_be_visible()
    expect(page.locator("#editor")).to_be_hidden()
    expect(page.locator("#tab-chat")).to_be_focused()


@pytest.mark.long
def test_stop_ends_the_answer(browser, servers: Servers, model_dir: Path) -> None:
    from serve.test_streams import SlowBackend

    backend = SlowBackend(TextEngine.open(model_dir, precision="float32"))
    backend.seconds = 5.0  # before every token: the answer lasts until it is stopped
    slow = servers.start(backend)
    context = browser.new_context()
    context.set_default_timeout(600_000)
    page = context.new_page()
    page.goto(f"{slow.url}/#chat")
    page.fill("#say", "hello")
    page.keyboard.press("Enter")
    # Not before the server has begun: a request dropped on its way leaves nothing to cancel.
    wait_until(lambda: bool(backend.opened))
    page.click("#stop")
    expect(page.locator("#chat-state")).to_have_text("stopped")
    expect(page.locator("#send")).to_be_visible()
    slow.wait_idle()
    assert backend.opened[0].cancelled
    context.close()


@pytest.mark.slow
def test_typing_something_else_cancels_the_request(
    browser, servers: Servers, model_dir: Path
) -> None:
    from serve.test_streams import SlowBackend

    backend = SlowBackend(TextEngine.open(model_dir, precision="float32"))
    backend.seconds = 5.0
    slow = servers.start(backend)
    context = browser.new_context()
    context.set_default_timeout(600_000)
    page = context.new_page()
    page.add_init_script("localStorage.setItem('codling.on-pause', 'false')")
    page.goto(slow.url)
    expect(page.locator("#dot")).to_have_attribute("data-state", "up")
    write(page, TEXT, AT)
    page.keyboard.press("Control+Space")
    wait_until(lambda: bool(backend.opened))
    page.keyboard.press("ArrowLeft")
    slow.wait_idle()
    assert backend.opened[0].cancelled
    expect(page.locator("#state")).to_have_text("ready")
    context.close()


@pytest.mark.long
def test_the_page_lies_in_a_folder_of_a_proxy_and_finds_a_server_that_comes_back(
    browser, server: Running
) -> None:
    context = browser.new_context()
    context.set_default_timeout(600_000)
    page = context.new_page()
    place = f"{server.url}/codling/"
    page.route(
        f"{place}**",
        lambda route: route.fulfill(
            response=route.fetch(url=route.request.url.replace(place, f"{server.url}/"))
        ),
    )
    page.goto(place)
    expect(page.locator("#dot")).to_have_attribute("data-state", "up")
    write(page, TEXT, AT)
    assert ask(page)
    page.route(f"{place}v1/**", lambda route: route.abort())
    page.keyboard.press("Control+Space")
    expect(page.locator("#state")).to_have_text(re.compile("does not answer"))
    expect(page.locator("#dot")).to_have_attribute("data-state", "down")
    page.unroute(f"{place}v1/**")
    expect(page.locator("#dot")).to_have_attribute("data-state", "up")
    context.close()


@pytest.mark.long
def test_a_server_with_a_key_is_opened_with_it(browser, servers: Servers, model_dir: Path) -> None:
    locked = servers.start(
        LocalBackend(TextEngine.open(model_dir, precision="float32")),
        ServeConfig(model=model_dir),
        api_key="s3cret-\u65e5\u672c",
    )
    context = browser.new_context()
    context.set_default_timeout(600_000)
    page = context.new_page()
    page.goto(f"{locked.url}/#repository")
    expect(page.locator("#settings")).to_be_visible()
    page.fill("#key", "s3cret-\u65e5\u672c")
    page.keyboard.press("Enter")
    expect(page.locator("#dot")).to_have_attribute("data-state", "up")
    # There is no repository here, so no tab of one.
    expect(page.locator("#editor")).to_be_visible()
    expect(page.locator("#repository")).to_be_hidden()
    context.close()


@pytest.mark.long
def test_a_phone_needs_no_sideways_scrolling_and_has_buttons(browser, server: Running) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 640}, has_touch=True)
    context.set_default_timeout(600_000)
    page = context.new_page()
    page.goto(server.url)
    expect(page.locator("#dot")).to_have_attribute("data-state", "up")
    page.tap("#ask")
    page.tap("#accept")
    expect(page.locator(".ghost")).to_have_count(0)
    root = page.locator("html")
    assert root.evaluate("e => e.scrollWidth <= e.clientWidth")
    page.tap("#tab-chat")
    assert root.evaluate("e => e.scrollWidth <= e.clientWidth")
    context.close()


@pytest.mark.long
def test_dark_and_light_can_be_switched_and_stay(page) -> None:
    page.click("#theme")
    chosen = page.locator("html").get_attribute("data-theme")
    assert chosen in ("dark", "light")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", chosen)


@pytest.mark.long
def test_what_becomes_of_a_suggestion_is_told_to_a_server_that_logs(
    browser, servers: Servers, model_dir: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    config = ServeConfig(model=model_dir, log_completions=log, log_text=True)
    logging = servers.start(LocalBackend(TextEngine.open(model_dir, precision="float32")), config)
    context = browser.new_context()
    context.set_default_timeout(600_000)
    page = context.new_page()
    page.add_init_script("localStorage.setItem('codling.on-pause', 'false')")
    page.goto(logging.url)
    expect(page.locator("#dot")).to_have_attribute("data-state", "up")
    write(page, TEXT, AT)
    suggestion = ask(page)
    page.keyboard.press("Tab")
    wait_until(lambda: "outcome" in log.read_text())
    taken = json.loads(log.read_text().splitlines()[-1])
    assert (taken["outcome"], taken["text"]) == ("taken", suggestion)
    write(page, TEXT, AT)
    ask(page)
    page.keyboard.press("Escape")
    wait_until(lambda: "dismissed" in log.read_text())
    context.close()


CSP_OF_PAGE = "default-src 'none'; script-src 'self'; style-src 'self'"
COST = """async () => {
  const { EditorView } = await import("/web/codemirror.js");
  const view = EditorView.findFromDOM(document.querySelector("#text").shadowRoot);
  const at = view.state.doc.line(6000).from;
  view.dispatch({ selection: { anchor: at }, scrollIntoView: true });
  view.focus();
}"""


@pytest.mark.slow
def test_a_keystroke_in_12000_lines_takes_less_than_a_frame(page) -> None:
    """The work of the page's own thread, in its processor time: other programs do not count."""
    line = "    total = add(first, second)  # a line of code\n"
    write(page, "def work():\n" + line * 12_000, 0)
    page.evaluate(COST)
    page.wait_for_timeout(500)
    client = page.context.new_cdp_session(page)
    client.send("Performance.enable", {"timeDomain": "threadTicks"})

    def used() -> float:
        metrics = client.send("Performance.getMetrics")["metrics"]
        return next(float(m["value"]) for m in metrics if m["name"] == "TaskDuration")

    n_keys = 60
    before = used()
    for _ in range(n_keys):
        page.keyboard.press("x")
    milliseconds = 1000 * (used() - before) / n_keys
    assert value(page).count("x") == n_keys
    assert milliseconds < 16


@pytest.mark.slow
def test_nothing_comes_from_another_server(browser, server: Running) -> None:
    context = browser.new_context()
    context.set_default_timeout(600_000)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    answer = page.goto(server.url)
    expect(page.locator("#dot")).to_have_attribute("data-state", "up")
    assert answer.headers["content-security-policy"].startswith(CSP_OF_PAGE)
    assert [url for url in asked if not url.startswith(server.url)] == []
    assert page.locator("style").count() == 0
    context.close()
