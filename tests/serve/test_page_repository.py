"""The Repo tab in Chromium: tree, a file with completions inside, what they were shown and why."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codling.engine.memory.live import LiveRepository
from codling.engine.text import TextEngine
from codling.serve.backend import LocalBackend
from codling.serve.config import ServeConfig
from git_repositories import repository
from serve.page_driver import open_page, value, write
from serve.test_page import browser  # noqa: F401 -- the fixture
from serve.tiny_server import Servers

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
expect = playwright.expect
MAIN = "from app.money import add_tax\n\n\ndef total(price):\n    \n\n\nvalue = 1\n"
FILES = {
    ".gitignore": "ignored.py\n",
    "app/money.py": "def add_tax(price, rate):\n    return price * rate\n",
    "app/main.py": MAIN,
    "app/deep/rates.py": "RATE = 2\n",
    "tests/test_money.py": "from app.money import add_tax\n",
    "setup.py": f'token = "ghp_{"a1B2" * 9}"\n',
}
HOST = "#repo-text"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = repository(tmp_path_factory.mktemp("repo") / "shop", FILES)
    (root / "ignored.py").write_text("ignored = 1\n")
    return root


@pytest.fixture(scope="module")
def opened(
    browser: Any,  # noqa: F811 -- the fixture
    servers: Servers,
    model_dir: Path,
    root: Path,
) -> Iterator[Any]:
    engine = TextEngine.open(model_dir, precision="float32")
    live = LiveRepository(root, engine.tokenizer)
    config = ServeConfig(model=Path("tiny"), repo=root)
    following = servers.start(LocalBackend(engine, repository=live), config)
    with open_page(browser, following.url, width=1300, height=800, asks=False) as page:
        page.click("#tab-repository")
        expect(page.locator("#tree [role=treeitem]").first).to_be_visible()
        yield page


def open_file(page: Any, path: str) -> None:
    page.fill("#find-file", path)
    page.click(f"#tree [data-path='{path}']")
    expect(page.locator("#repo-path")).to_have_text(path)
    page.fill("#find-file", "")


def names(page: Any) -> list[str]:
    return list(page.locator("#tree .name").all_text_contents())


def test_the_tree_is_walked_by_keyboard_alone(opened: Any) -> None:
    assert names(opened) == ["app", "tests", "setup.py"]
    opened.focus("#find-file")
    opened.keyboard.press("ArrowDown")
    opened.keyboard.press("ArrowRight")
    assert names(opened) == ["app", "deep", "main.py", "money.py", "tests", "setup.py"]
    item = opened.locator("#tree [role=treeitem]:focus")
    expect(item).to_have_attribute("aria-expanded", "true")
    opened.keyboard.press("m")
    expect(item).to_have_attribute("data-path", "app/main.py")
    expect(item).to_have_attribute("aria-level", "2")
    opened.keyboard.press("Enter")
    expect(opened.locator("#repo-path")).to_have_text("app/main.py")
    expect(opened.locator(f"{HOST} .cm-content")).to_be_focused()
    assert value(opened, HOST) == MAIN
    opened.focus("#tree [tabindex='0']")
    opened.keyboard.press("ArrowLeft")
    opened.keyboard.press("ArrowLeft")
    assert names(opened) == ["app", "tests", "setup.py"]


def test_a_completion_inside_a_file_says_what_it_was_shown_and_what_was_cached(
    opened: Any,
) -> None:
    open_file(opened, "app/main.py")
    expect(opened.locator("#context-summary")).to_contain_text("would be shown")
    write(opened, MAIN, MAIN.index("\n\n\nvalue"), HOST)
    with opened.expect_request("**/v1/completions") as sent:
        opened.keyboard.press("Control+Space")
    assert sent.value.post_data_json["path"] == "app/main.py"
    expect(opened.locator(f"{HOST} .ghost")).to_be_visible()
    summary = opened.locator("#context-summary")
    expect(summary).to_contain_text("in the prompt")
    rows = opened.locator("#context-files .part")
    expect(rows).to_have_count(3)
    expect(rows.nth(0)).to_contain_text("app/money.py")
    expect(rows.nth(0)).to_contain_text("imported by this file")
    expect(rows.nth(1)).to_contain_text("up to the cursor")
    expect(rows.nth(2)).to_contain_text("after the cursor")
    suggestion = opened.locator(f"{HOST} .ghost").text_content()
    opened.keyboard.press("Tab")
    expect(opened.locator(f"{HOST} .ghost")).to_have_count(0)
    assert suggestion in value(opened, HOST)
    # Asked once more at the same place, the files in front are cached.
    opened.keyboard.press("Control+z")
    opened.keyboard.press("Control+Space")
    expect(opened.locator(f"{HOST} .ghost")).to_be_visible()
    expect(rows.nth(0)).to_contain_text("all cached")
    opened.keyboard.press("Escape")
    expect(opened.locator(f"{HOST} .ghost")).to_have_count(0)


def test_a_file_of_the_context_opens_from_there(opened: Any) -> None:
    open_file(opened, "tests/test_money.py")
    opened.click("#context-files .entry")
    expect(opened.locator("#repo-path")).to_have_text("app/money.py")
    expect(opened.locator("#context-notes")).to_contain_text("imports nothing")


def test_changes_stay_in_the_page_and_can_be_discarded(opened: Any, root: Path) -> None:
    open_file(opened, "app/deep/rates.py")
    write(opened, "RATE = 3\n", 0, HOST)
    expect(opened.locator("#repo-revert")).to_be_visible()
    open_file(opened, "app/money.py")
    open_file(opened, "app/deep/rates.py")
    assert value(opened, HOST) == "RATE = 3\n"
    assert (root / "app/deep/rates.py").read_text() == "RATE = 2\n"
    opened.click("#repo-revert")
    expect(opened.locator("#repo-revert")).to_be_hidden()
    assert value(opened, HOST) == "RATE = 2\n"


def test_a_file_that_changed_on_disk_is_read_again(opened: Any, root: Path) -> None:
    open_file(opened, "app/deep/rates.py")
    (root / "app/deep/rates.py").write_text("RATE = 17\n")
    opened.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(opened.locator("#repo-state")).to_contain_text("changed on disk")
    assert value(opened, HOST) == "RATE = 17\n"
    (root / "app/new.py").write_text("new = 1\n")
    opened.click("#relist")
    expect(opened.locator("#repo-state")).to_contain_text("6 files")


def test_secrets_are_placeholders_and_ignored_files_are_not_there(opened: Any) -> None:
    open_file(opened, "setup.py")
    expect(opened.locator("#repo-state")).to_contain_text("1 secret shown as placeholders")
    assert value(opened, HOST) == 'token = "<KEY>"\n'
    opened.fill("#find-file", "ignored")
    expect(opened.locator("#tree")).to_have_text("no such file")
    opened.fill("#find-file", "")


def test_a_phone_shows_the_tree_over_the_file(opened: Any) -> None:
    opened.set_viewport_size({"width": 360, "height": 640})
    expect(opened.locator("#files")).to_be_hidden()
    opened.click("#show-files")
    opened.fill("#find-file", "main")
    opened.click("#tree [data-path='app/main.py']")
    expect(opened.locator("#repo-path")).to_have_text("app/main.py")
    expect(opened.locator("#files")).to_be_hidden()
    root = opened.locator("html")
    assert root.evaluate("e => e.scrollWidth <= e.clientWidth")
    opened.set_viewport_size({"width": 1300, "height": 800})


def test_what_was_typed_last_stays_with_its_file(opened: Any, root: Path) -> None:
    open_file(opened, "app/deep/rates.py")
    opened.fill("#find-file", "")
    write(opened, "RATE = 3\n", 0, HOST)
    opened.evaluate("document.querySelector(\"#tree [data-path='app/main.py']\").click()")
    expect(opened.locator("#repo-path")).to_have_text("app/main.py")
    open_file(opened, "app/deep/rates.py")
    assert value(opened, HOST) == "RATE = 3\n"
    opened.click("#repo-revert")
    expect(opened.locator("#repo-revert")).to_be_hidden()
    assert value(opened, HOST) == (root / "app/deep/rates.py").read_text()


def test_a_file_that_is_gone_is_said_and_leaves_the_tree(opened: Any, root: Path) -> None:
    for name in ("crlf.py", "gone.py"):
        (root / name).write_bytes(b"x = 1\r\n")
    opened.click("#relist")
    open_file(opened, "crlf.py")
    opened.focus(f"{HOST} .cm-content")
    opened.keyboard.press("x")
    expect(opened.locator("#repo-revert")).to_be_visible()
    opened.keyboard.press("Backspace")
    expect(opened.locator("#repo-revert")).to_be_hidden()  # its line ends make no difference
    other = opened.context.new_page()  # a 404 is an error on the console of `opened`
    other.goto(opened.url)
    other.fill("#find-file", "gone.py")
    (root / "gone.py").unlink()
    other.click("#tree [data-path='gone.py']")
    expect(other.locator("#repo-state")).to_have_text("gone.py is not there any more")
    expect(other.locator("#tree [data-path='gone.py']")).to_have_count(0)
    other.close()
    (root / "crlf.py").unlink()
