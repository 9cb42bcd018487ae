"""What tests of the page do to its editors: write, read, and ask."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_VIEW = """async ([host, ...rest]) => {
  const { EditorView } = await import("/web/codemirror.js");
  const view = EditorView.findFromDOM(document.querySelector(host).shadowRoot);
  %s
}"""
_WRITE = """view.dispatch({
    changes: { from: 0, to: view.state.doc.length, insert: rest[0] },
    selection: { anchor: rest[1] } });
  view.focus();"""


@contextmanager
def open_page(browser: Any, url: str, *, width: int, height: int, asks: bool) -> Iterator[Any]:
    """The page at an address, which may say nothing on its console that is an error; `asks`: for a
    completion at every pause, too."""
    context = browser.new_context(viewport={"width": width, "height": height})
    context.set_default_timeout(600_000)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    if not asks:
        page.add_init_script("localStorage.setItem('codling.on-pause', 'false')")
    page.goto(url)
    yield page
    context.close()
    assert problems == []


def write(page: Any, text: str, at: int, host: str = "#text") -> None:
    """Put `text` into the editor at `host`, the cursor at a character of it."""
    page.evaluate(_VIEW % _WRITE, [host, text, at])


def value(page: Any, host: str = "#text") -> str:
    """The editor's text, without the suggestion."""
    return str(page.evaluate(_VIEW % "return view.state.doc.toString();", [host]))
