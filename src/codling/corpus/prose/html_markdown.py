"""Simple HTML as Markdown: the bodies of questions and answers, pages without layout.

Input: a fragment of HTML. Output: Markdown with paragraphs, headings, lists, quotes, code, links
and emphasis; other tags vanish and their text stays, scripts and styles vanish whole.

    <p>Use <code>zip</code>:</p><pre><code>a = 1\\n</code></pre>  ->  Use `zip`:  and a fenced block

Not here: layout, tables with spans, forms.
"""

import re
from html.parser import HTMLParser

_SKIPPED = frozenset({"script", "style", "noscript", "template", "svg"})
_BLOCKS = frozenset(
    {"p", "div", "blockquote", "ul", "ol", "pre", "table", "tr", "hr", "section", "article"}
    | {"h1", "h2", "h3", "h4", "h5", "h6", "dl", "dt", "dd"}
)
_EMPHASIS = {"em": "*", "i": "*", "strong": "**", "b": "**", "kbd": "`", "code": "`"}


def to_markdown(html: str) -> str:
    """The Markdown of a fragment of HTML.

    >>> to_markdown("<p>Use <code>zip</code>.</p><ul><li>a</li><li>b</li></ul>")
    'Use `zip`.\\n\\n- a\\n- b'
    """
    writer = _Writer()
    writer.feed(html)
    writer.close()
    return writer.text()


class _Writer(HTMLParser):
    """Writes Markdown while the parser reads."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._lines: list[str] = []
        self._line = ""
        self._quotes = 0
        self._lists: list[int | None] = []
        """Of each open list the next number, or None for bullets."""
        self._marker = ""
        self._is_code = False
        self._skipped = 0
        self._links: list[str] = []

    def text(self) -> str:
        """What was written."""
        self._break()
        return "\n".join(self._lines).strip("\n")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SKIPPED:
            self._skipped += 1
        elif self._is_code:
            return
        elif tag == "pre":
            self._blank()
            self._is_code = True
            self._add("```")
        elif tag == "br":
            self._break()
        elif tag == "li":
            self._start_item()
        elif tag in _EMPHASIS:
            self._line += _EMPHASIS[tag]
        elif tag == "a":
            self._links.append(dict(attrs).get("href") or "")
            self._line += "["
        elif tag == "img":
            self._line += dict(attrs).get("alt") or ""
        elif tag in _BLOCKS:
            self._start_block(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in _SKIPPED:
            self._skipped = max(0, self._skipped - 1)
        elif self._is_code:
            if tag == "pre":
                self._end_code()
        elif tag in _EMPHASIS:
            self._line += _EMPHASIS[tag]
        elif tag == "a" and self._links:
            target = self._links.pop()
            self._line += f"]({target})" if target else "]"
        elif tag == "li":
            self._break()
        elif tag in _BLOCKS:
            self._end_block(tag)

    def handle_data(self, data: str) -> None:
        if self._skipped:
            return
        if self._is_code:
            self._line += data
            return
        text = re.sub(r"\s+", " ", data)
        self._line += text.lstrip() if not self._line else text

    def _start_block(self, tag: str) -> None:
        if tag in ("ul", "ol"):
            self._break() if self._lists else self._blank()
            self._lists.append(1 if tag == "ol" else None)
            return
        if not self._marker:
            self._blank()
        if tag == "blockquote":
            self._quotes += 1
        elif tag == "hr":
            self._add("---")
        elif len(tag) == 2 and tag[0] == "h":
            self._line = "#" * int(tag[1]) + " "

    def _end_block(self, tag: str) -> None:
        self._break()
        if tag in ("ul", "ol"):
            self._lists = self._lists[:-1]
            if self._lists:
                return
        if tag == "blockquote":
            while self._lines and not self._lines[-1].strip(" >"):
                self._lines.pop()
            self._quotes = max(0, self._quotes - 1)
        self._blank()

    def _start_item(self) -> None:
        self._break()
        number = self._lists[-1] if self._lists else None
        self._marker = "- " if number is None else f"{number}. "
        if number is not None:
            self._lists[-1] = number + 1

    def _end_code(self) -> None:
        lines, self._line = self._line.strip("\n").split("\n"), ""
        for line in lines:
            self._add(line.rstrip())
        self._is_code = False
        self._add("```")
        self._blank()

    def _break(self) -> None:
        """End the line that is being written."""
        line, self._line = self._line.rstrip(), ""
        if line:
            self._add(line)

    def _blank(self) -> None:
        """End the line and leave an empty one behind it."""
        self._break()
        if self._lines and self._lines[-1].strip(" >"):
            self._add("")

    def _add(self, line: str) -> None:
        depth = max(0, len(self._lists) - 1)
        if self._marker:
            indent, self._marker, marker = "  " * depth, "", self._marker
            line = indent + marker + line
        elif self._lists:
            line = "  " * (depth + 1) + line if line else line
        self._lines.append((("> " * self._quotes) + line).rstrip())
