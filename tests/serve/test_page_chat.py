"""The chat of the page in Chromium: Markdown, conversations, edits, answers again, sampling."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from serve.page_driver import open_page, value
from serve.test_page import browser  # noqa: F401 -- the fixture
from serve.tiny_server import Running

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
expect = playwright.expect
SAID = """## A stack

It gives back **what came last**, see [docs](https://example.org/x).
Not [this](javascript:alert(1)).

1. Make it:
   ```python
   stack = Stack()
   ```
2. Use `pop()`
   - raises <b>IndexError</b>

| call | cost |
|:-----|-----:|
| a \\| b | 2 |

> quoted

Done.
"""
TURNS = [{"role": "user", "content": "Explain."}, {"role": "assistant", "content": SAID}]
KEPT = {"id": "first", "title": "", "at": 1, "options": {"max_tokens": 40}, "messages": TURNS}
KEEP = """kept => {
    localStorage.clear();
    localStorage.setItem("codling.on-pause", "false");
    localStorage.setItem("codling.chat.first", kept);
    sessionStorage.setItem("codling.chat-open", "first");
}"""


@pytest.fixture(scope="module")
def window(browser: Any, server: Running) -> Iterator[Any]:  # noqa: F811 -- the fixture
    with open_page(browser, f"{server.url}/#chat", width=1000, height=800, asks=True) as page:
        yield page


@pytest.fixture
def talk(window: Any) -> Any:
    """The chat with a conversation of ours, as a reload finds it."""
    window.evaluate(KEEP, json.dumps(KEPT))
    window.reload()
    expect(window.locator("#dot")).to_have_attribute("data-state", "up")
    window.click("#tab-chat")
    return window


def say(page: Any, text: str) -> None:
    page.fill("#say", text)
    page.keyboard.press("Enter")
    expect(page.locator("#chat-state")).to_have_text("done")


def kept(page: Any) -> list[dict[str, Any]]:
    """The conversations in the browser's storage."""
    found = page.evaluate("Object.entries(localStorage).filter(([key]) => /chat[.]/.test(key))")
    return [json.loads(text) for _, text in found]


@pytest.mark.long
def test_markdown_is_elements_and_html_in_it_is_text(talk: Any) -> None:
    said = talk.locator(".turn.assistant .said")
    expect(said.locator("h4")).to_have_text("A stack")
    expect(said.locator("ol > li")).to_have_count(2)
    expect(said.locator("ol ul > li")).to_have_text("raises <b>IndexError</b>")
    assert said.locator("td").all_text_contents() == ["a | b", "2"]
    assert said.locator("td").nth(1).get_attribute("class") == "right"
    expect(said.locator("blockquote")).to_have_text("quoted")
    expect(said.locator("strong")).to_have_text("what came last")
    assert [a.get_attribute("href") for a in said.locator("a").all()] == ["https://example.org/x"]
    assert "[this](javascript:alert(1))" in said.text_content()
    # Code keeps its lines without the list's indentation, has its two buttons, and is coloured.
    expect(said.locator("li figure pre")).to_have_text("stack = Stack()")
    assert said.locator("figcaption button").all_text_contents() == ["Copy", "Insert into editor"]
    assert said.locator("figure .t-name, figure .t-call").count() > 0


@pytest.mark.slow
def test_code_goes_to_the_cursor_and_an_answer_is_made_again(talk: Any) -> None:
    talk.click("text=Insert into editor")
    expect(talk.locator("#editor")).to_be_visible()
    assert "stack = Stack()" in value(talk)
    talk.click("#tab-chat")
    talk.click("#again")
    expect(talk.locator("#chat-state")).to_have_text("done")
    expect(talk.locator(".turn")).to_have_count(2)
    again = talk.locator(".turn.assistant .said").text_content()
    assert "A stack" not in again
    talk.reload()
    expect(talk.locator(".turn")).to_have_count(2)
    assert talk.locator(".turn.assistant .said").text_content() == again
    talk.click("#clear")
    expect(talk.locator(".turn")).to_have_count(0)
    expect(talk.locator("#again")).to_be_hidden()


@pytest.mark.slow
def test_several_conversations_are_kept_renamed_and_deleted(talk: Any) -> None:
    entries = talk.locator("#chat-list .entry")
    expect(entries).to_have_text(["Explain."])
    talk.click("#clear")
    say(talk, "add two numbers")
    expect(entries).to_have_text(["add two numbers", "Explain."])
    # By keyboard: the open one, its two buttons, a new name.
    entries.first.focus()
    talk.keyboard.press("Tab")
    expect(talk.locator("#chat-list button:focus")).to_have_accessible_name(
        "Rename add two numbers"
    )
    talk.keyboard.press("Enter")
    talk.keyboard.type("Sums")
    talk.keyboard.press("Enter")
    expect(entries).to_have_text(["Sums", "Explain."])
    expect(talk.locator("#chat-title")).to_have_text("Sums")
    talk.reload()
    expect(talk.locator("#chat-title")).to_have_text("Sums")
    entries.nth(1).click()
    expect(talk.locator(".turn.user .said")).to_have_text("Explain.")
    talk.locator("#chat-list li").nth(1).hover()
    talk.locator("#chat-list li").nth(1).get_by_text("Delete").click()
    expect(talk.locator("#ask-delete-name")).to_have_text("Explain.")
    talk.click("#ask-delete >> text=Keep")
    expect(entries).to_have_count(2)
    talk.locator("#chat-list li").nth(1).hover()
    talk.locator("#chat-list li").nth(1).get_by_text("Delete").click()
    talk.click("#delete-chat")
    expect(entries).to_have_text(["Sums"])
    assert [each["title"] for each in kept(talk)] == ["Sums"]


def test_a_message_is_edited_and_answered_again_or_left_as_it_was(talk: Any) -> None:
    talk.locator(".turn.user").hover()
    talk.locator(".turn.user .acts").get_by_text("Edit").click()
    talk.keyboard.press("Escape")
    expect(talk.locator(".turn.user .said")).to_have_text("Explain.")
    talk.focus("#say")
    talk.keyboard.press("ArrowUp")
    expect(talk.locator(".turn.editing textarea")).to_be_focused()
    talk.fill(".turn.editing textarea", "Explain again <i>")
    talk.keyboard.press("Enter")
    expect(talk.locator("#chat-state")).to_have_text("done")
    expect(talk.locator(".turn.user .said")).to_have_text("Explain again <i>")
    expect(talk.locator(".turn")).to_have_count(2)
    assert kept(talk)[0]["messages"][0]["content"] == "Explain again <i>"


def test_system_prompt_and_sampling_are_sent_and_kept(talk: Any) -> None:
    talk.click("#open-options")
    talk.fill("#system", "Answer in verse.")
    talk.fill("#heat", "1")
    talk.fill("#top-p", "0.9")
    talk.fill("#most", "5")
    talk.fill("#seed", "7")
    talk.click("#options >> text=Done")
    with talk.expect_request("**/v1/chat/completions") as sent:
        say(talk, "hello")
    body = sent.value.post_data_json
    assert body["messages"][0] == {"role": "system", "content": "Answer in verse."}
    assert [m["role"] for m in body["messages"]] == ["system", "user", "assistant", "user"]
    asked = {name: body[name] for name in ("temperature", "top_p", "max_tokens", "seed")}
    assert asked == {"temperature": 1, "top_p": 0.9, "max_tokens": 5, "seed": 7}
    talk.reload()
    talk.click("#open-options")
    assert talk.input_value("#system") == "Answer in verse."
    talk.keyboard.press("Escape")
    talk.click("#clear")
    talk.click("#open-options")
    assert talk.input_value("#most") == "5"
    talk.click("#options >> text=Done")


@pytest.mark.slow
def test_code_and_messages_are_copied(talk: Any) -> None:
    talk.context.grant_permissions(["clipboard-read", "clipboard-write"])
    talk.click("figcaption >> text=Copy")
    expect(talk.locator("figcaption")).to_contain_text("Copied")
    assert talk.evaluate("navigator.clipboard.readText()") == "stack = Stack()"
    talk.locator(".turn.user .acts button").first.click()
    expect(talk.locator(".turn.user .acts")).to_contain_text("Copied")
    assert talk.evaluate("navigator.clipboard.readText()") == "Explain."


@pytest.mark.slow
def test_every_control_of_the_page_has_a_name(talk: Any) -> None:
    nameless = """() => {
      const controls = [...document.querySelectorAll("button, input, textarea, [role=tree]")];
      return controls.filter((each) => {
        const label = each.labels?.[0]?.textContent ?? each.closest("label")?.textContent;
        return !(each.getAttribute("aria-label") ?? (each.textContent.trim() || label?.trim()));
      }).map((each) => each.outerHTML);
    }"""
    assert talk.evaluate(nameless) == []


@pytest.mark.slow
def test_a_phone_opens_the_list_of_chats_and_closes_it_by_a_choice(talk: Any) -> None:
    talk.set_viewport_size({"width": 360, "height": 640})
    expect(talk.locator("#chats")).to_be_hidden()
    talk.click("#show-chats")
    expect(talk.locator("#show-chats")).to_have_attribute("aria-expanded", "true")
    talk.click("#chat-list .entry")
    expect(talk.locator("#chats")).to_be_hidden()
    root = talk.locator("html")
    assert root.evaluate("e => e.scrollWidth <= e.clientWidth")
    talk.set_viewport_size({"width": 1000, "height": 800})


@pytest.mark.slow
def test_an_answer_that_cannot_be_made_again_stays(talk: Any) -> None:
    # Not a refusal: the browser itself writes those to the console, where `open_page` looks.
    stream = {"status": 200, "content_type": "text/event-stream", "body": ""}
    talk.route("**/v1/chat/completions", lambda route: route.fulfill(**stream))
    talk.click("#again")
    expect(talk.locator("#chat-state")).to_have_text(re.compile("broke off"))
    expect(talk.locator(".turn")).to_have_count(3)  # the failure is shown below
    assert kept(talk)[0]["messages"] == TURNS
    talk.unroute("**/v1/chat/completions")


@pytest.mark.slow
def test_a_conversation_that_is_left_while_it_is_answered_frees_the_next(talk: Any) -> None:
    talk.route("**/v1/chat/completions", lambda _: None)  # never answered
    talk.fill("#say", "Go on.")
    talk.keyboard.press("Enter")
    expect(talk.locator("#stop")).to_be_visible()
    talk.hover("#chat-list [aria-current]")
    talk.click("#chat-list [aria-current] button:last-child")
    talk.click("#delete-chat")
    expect(talk.locator("#send")).to_be_visible()
    expect(talk.locator("#stop")).to_be_hidden()
    talk.unroute("**/v1/chat/completions")
    # What was removed does not come back with its answer.
    assert kept(talk) == []


@pytest.mark.slow
def test_a_full_storage_is_said(talk: Any) -> None:
    talk.evaluate("""() => {
        Storage.prototype.setItem = () => { throw new DOMException("", "QuotaExceededError"); };
    }""")
    talk.fill("#say", "Go on.")
    talk.keyboard.press("Enter")
    expect(talk.locator("#chat-state")).to_have_text(re.compile("storage is full"))
    expect(talk.locator("#send")).to_be_visible()
    talk.reload()


@pytest.mark.slow
def test_messages_of_another_tab_are_shown(talk: Any) -> None:
    other = talk.context.new_page()
    other.goto(talk.url)
    more = [*TURNS, {"role": "user", "content": "More."}]
    change = "kept => localStorage.setItem('codling.chat.first', kept)"
    other.evaluate(change, json.dumps(KEPT | {"messages": more}))
    expect(talk.locator(".turn")).to_have_count(3)
    other.close()
