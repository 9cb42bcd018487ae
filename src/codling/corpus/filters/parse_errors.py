"""How much of a parsed file its grammar could not read.

Input: the tree that tree-sitter made of a file, and the file's bytes. Output: a share from 0 to 1.

A place that does not parse often becomes one ERROR node around all that was read before, sound
functions too, so its extent says little: lz4.c lies in one from end to end, for 258 bytes that are
in fact out of place. Counted are the tokens directly under ERROR nodes and those that are missing,
as a share of all tokens without comments. Two things make a file useless however few tokens they
leave in error, and count as 1: a bracket, block or comment that the end of the file leaves open
(the file was cut), and the marks of a merge conflict, except in a string.

Not here: grammars (syntax.py), and what else a file may mean (readings.py).
"""

import re
from collections.abc import Iterator

import tree_sitter

_OPENERS = {")": "(", "]": "[", "}": "{"}
_BLOCKS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "elixir": (frozenset({"do", "fn"}), frozenset({"end"})),
    "julia": (
        frozenset({"begin", "do", "for", "function", "if", "let", "macro", "module", "quote"})
        | {"struct", "try", "while"},
        frozenset({"end"}),
    ),
    "lua": (frozenset({"do", "function", "then"}), frozenset({"end"})),
    "ruby": (
        frozenset({"begin", "case", "class", "def", "do", "if", "module", "unless", "while"}),
        frozenset({"end"}),
    ),
}
"""Words that open and close blocks, where they are tokens of their own under an ERROR node."""
_UNBALANCED = frozenset({"shell"})
"""Patterns of `case` close and open brackets alone."""
_CONFLICT = re.compile(
    rb"^(?P<mark><{7})[ \r\n](?:.*\n)*?={7}\r?\n(?:.*\n)*?>{7}(?:[ \r\n]|\Z)", re.MULTILINE
)


def unread_share(root: tree_sitter.Node, data: bytes, language: str) -> float:
    """The share of a file's tokens, in bytes, that its grammar could not place."""
    if _has_conflict(root, data):
        return 1.0
    if not root.has_error:
        return 0.0
    if _ends_in_comment(root, data):
        return 1.0
    total = unread = 0
    blocks = _Blocks(language)
    for token, is_unread in _tokens(root):
        size = 1 if token.is_missing else token.end_byte - token.start_byte
        total += size
        unread += size if is_unread else 0
        if not token.is_missing and not token.is_named and language not in _UNBALANCED:
            blocks.pass_token(token.type, is_unread)
    return 1.0 if blocks.open else unread / max(1, total)


def _tokens(root: tree_sitter.Node) -> Iterator[tuple[tree_sitter.Node, bool]]:
    """The leaves of a tree except comments, and whether each is out of place or missing."""
    waiting = [(root, False)]
    while waiting:
        node, is_in_error = waiting.pop()
        if node.is_missing or (node.is_error and not node.child_count):
            yield node, True
        elif node.is_extra and not node.is_error and "comment" in node.type:
            continue
        elif node.child_count:
            waiting.extend((child, node.is_error) for child in reversed(node.children))
        else:
            yield node, is_in_error


class _Blocks:
    """What is open at a place in a file: brackets, and blocks that words open.

    A closing token that nothing opened is passed over, and one that closes an outer bracket closes
    those inside it too, so that one slip does not leave the rest of a file open.
    """

    def __init__(self, language: str) -> None:
        self.open: list[str] = []
        self._begin, self._end = _BLOCKS.get(language, (frozenset(), frozenset()))

    def pass_token(self, kind: str, is_unread: bool) -> None:
        """Note a token; words count only where no rule of the grammar joined them already."""
        if is_unread and kind in self._begin:
            self.open.append("word")
        elif is_unread and kind in self._end:
            self._close("word")
        else:
            for character in kind:
                if character in "([{":
                    self.open.append(character)
                elif character in _OPENERS:
                    self._close(_OPENERS[character])

    def _close(self, opener: str) -> None:
        if opener in self.open:
            while self.open.pop() != opener:
                pass


def _has_conflict(root: tree_sitter.Node, data: bytes) -> bool:
    """Whether marks of a merge conflict are in the code or in a comment."""
    nodes = (_node_at(root, *match.span("mark")) for match in _CONFLICT.finditer(data))
    return any(_is_loose(node) or "comment" in node.type for node in nodes)


def _ends_in_comment(root: tree_sitter.Node, data: bytes) -> bool:
    start = data.rfind(b"/*")
    if start < 0 or data.find(b"*/", start) >= 0:
        return False
    return _is_loose(_node_at(root, start, start + 2))


def _node_at(root: tree_sitter.Node, start: int, end: int) -> tree_sitter.Node:
    """The smallest node around some bytes."""
    return root.descendant_for_byte_range(start, end) or root


def _is_loose(node: tree_sitter.Node) -> bool:
    """Whether the grammar made several tokens, or none, of what is one in a string or comment."""
    return bool(node.child_count) or node.is_error
