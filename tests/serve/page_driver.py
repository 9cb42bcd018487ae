"""What tests of the page do to its editors: write, read, and ask."""

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


def write(page: Any, text: str, at: int, host: str = "#text") -> None:
    """Put `text` into the editor at `host`, the cursor at a character of it."""
    page.evaluate(_VIEW % _WRITE, [host, text, at])


def value(page: Any, host: str = "#text") -> str:
    """The editor's text, without the suggestion."""
    return str(page.evaluate(_VIEW % "return view.state.doc.toString();", [host]))
