"""Code blocks of a chat answer: finds them as Markdown does, outside the model's thoughts.

Input: what a model generated. Output: its fenced blocks in order, with their languages. Both kinds
of fence (``` and ~~~) of any length and indentation count; a fence ends with one of its own kind
that is at least as long and not much deeper, so that backticks inside the code stay; a fence that
is never closed reaches to the end.

Not here: which block is the answer (chat_code.py), and DeepSeek-Coder's rule (deepseek_rules.py).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from codling.grading.languages import language_of, languages

_OPEN = re.compile(r"^([ \t>]*(?:(?:[-*+]|\d+[.)])[ \t]+)?)(`{3,}|~{3,})[ \t]*([^`\n]*)$")
_INLINE = re.compile(r"```(.+?)```", re.S)
_THOUGHT = "think|thinking|thought|reasoning|scratchpad"
_DEEPER = 3
"""Blanks by which a closing fence may be deeper than its opening one (CommonMark)."""


@dataclass(frozen=True, kw_only=True)
class FencedBlock:
    """One fenced block."""

    language: str
    """The first word after the fence, in lower case; "" if there is none."""
    code: str

    def is_in(self, language: str) -> bool:
        """Whether its fence names the language, by any of its names (languages.toml)."""
        return self.language in language_of(language).aliases

    def repeats_one_of(self, earlier: "Sequence[FencedBlock]") -> bool:
        """Whether it only quotes lines of an earlier block, as explanations do."""
        lines = {line.strip() for line in self.code.splitlines()} - {""}
        return any(lines < {line.strip() for line in b.code.splitlines()} for b in earlier)


def find_blocks(text: str) -> list[FencedBlock]:
    """All blocks, in order.

    >>> find_blocks("Sure:\\n~~~~py\\nx = 1\\n~~~\\n~~~~\\nDone.")
    [FencedBlock(language='py', code='x = 1\\n~~~')]
    """
    lines = text.replace("\r\n", "\n").split("\n")
    found, at = [], 0
    while at < len(lines):
        opened = _OPEN.match(lines[at])
        at += 1
        if opened is None:
            continue
        indent = len(opened[1])
        end = _end(lines, at, opened[2], indent)
        info = re.match(r"\{?\.?([\w+#-]*)", opened[3].strip())
        body = [_dedent(line, indent) for line in lines[at:end]]
        if end == len(lines):
            body = _cut_glued(body, opened[2])
        found.append(FencedBlock(language=info[1].lower() if info else "", code="\n".join(body)))
        at = end + 1
    return found or [_inline(code) for code in _INLINE.findall(text)]


def is_fence_open(text: str) -> bool:
    """Whether a fence is opened and never closed, as where a text was cut within its code.

    >>> is_fence_open("```py\\nx = 1"), is_fence_open("```py\\nx = 1\\n```"), is_fence_open("``x``")
    (True, False, False)
    """
    lines = text.replace("\r\n", "\n").split("\n")
    at = 0
    while at < len(lines):
        opened = _OPEN.match(lines[at])
        at += 1
        if opened is None:
            continue
        end = _end(lines, at, opened[2], len(opened[1]))
        if end == len(lines):
            body = lines[at:end]
            return _cut_glued(body, opened[2]) == body
        at = end + 1
    return False


def strip_thoughts(text: str) -> str:
    """A text without its <think> parts; what precedes a lone </think> is a thought, too, and
    a thought that never ends is removed to the end.

    >>> strip_thoughts("<think>draft</think>final"), strip_thoughts("draft</think>final")
    ('final', 'final')
    """
    text = re.sub(rf"<({_THOUGHT})>.*?</\1>", "", text, flags=re.S)
    text = re.sub(rf"\A.*</(?:{_THOUGHT})>", "", text, flags=re.S)
    return re.sub(rf"\A\s*<(?:{_THOUGHT})>.*", "", text, flags=re.S)


def _end(lines: list[str], start: int, fence: str, indent: int) -> int:
    """The line of the closing fence, or the number of lines."""
    closing = re.compile(rf"^([ \t>]*){re.escape(fence[0])}{{{len(fence)},}}[ \t]*$")
    for i in range(start, len(lines)):
        closed = closing.match(lines[i])
        if closed and len(closed[1]) <= indent + _DEEPER:
            return i
    return len(lines)


def _cut_glued(body: list[str], fence: str) -> list[str]:
    """The lines of a block that no line closes, up to a fence at the end of a line of code."""
    for i, line in enumerate(body):
        if line.rstrip().endswith(fence) and line.count(fence) == 1:
            return [*body[:i], line.rstrip()[: -len(fence)]]
    return body


def _inline(code: str) -> FencedBlock:
    """A block within a line of prose, which may begin with its language's name."""
    word, _, rest = code.strip().partition(" ")
    named = any(word.lower() in each.aliases for each in languages().values()) and rest
    return FencedBlock(language=word.lower() if named else "", code=rest if named else code.strip())


def _dedent(line: str, indent: int) -> str:
    blank = len(line) - len(line.lstrip(" \t>"))
    return line[min(indent, blank) :]
