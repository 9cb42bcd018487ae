"""The chat of the page in Chromium: Markdown, code into the editor, answers again, reloads."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from serve.page_driver import value
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


@pytest.fixture(scope="module")
def talk(browser: Any, server: Running) -> Iterator[Any]:  # noqa: F811 -- the fixture
    """The page with a dialogue of ours, as a reload finds it."""
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    context.set_default_timeout(600_000)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.add_init_script("localStorage.setItem('codling.on-pause', 'false')")
    page.goto(server.url)
    page.evaluate("kept => sessionStorage.setItem('codling.dialogue', kept)", json.dumps(TURNS))
    page.goto(f"{server.url}/#chat")
    page.reload()
    yield page
    context.close()
    assert problems == []


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
    # Code keeps its lines without the list's indentation, and has its two buttons.
    expect(said.locator("li figure pre")).to_have_text("stack = Stack()")
    assert said.locator("figcaption button").all_text_contents() == ["Copy", "Insert into editor"]


@pytest.mark.long
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
