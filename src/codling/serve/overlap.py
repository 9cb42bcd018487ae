"""An insertion that runs on into the text after the cursor, cut where the repetition begins.

Input: the suffix, then the insertion piece by piece. Output: the text without the repetition.
Models, instruction-tuned ones above all, like to write what is there already:

    for line in lines:
        |                       counts[word] += 1
    return counts               return counts        <- this line would stand there twice

At least one whole line must be repeated, with everything between it and the cursor: a bracket at
the end of the cursor's own line may well be needed twice. Lines are the same if a reader sees them
so: CRLF or LF, blanks at the end, blank lines between, tabs or blanks for the same indentation.

Not here: stop strings (the engine's).
"""

import re
from collections.abc import Iterator
from typing import Literal

_TELLING = 16
"""A repeated line with fewer visible characters (`return x`, `}`) may be intended: it is cut only
if the insertion ends with it, while a longer one ends the insertion."""
_LONGEST = 2000
_TAB_WIDTHS = (2, 3, 4, 8)

_Match = Literal["no", "so far", "a line", "for certain"]


class OverlapFilter:
    """Passes text on, but holds back an end that repeats the beginning of the suffix.

    >>> cut = OverlapFilter("\\n    return counts\\n\\n\\ndef main():")
    >>> cut.push("counts[word] += 1\\n   "), cut.push(" return counts\\n"), cut.flush()
    ('counts[word] += 1', '', '')
    """

    def __init__(self, suffix: str) -> None:
        self.stopped = False
        """Whether the insertion should end here, as it repeats a long line."""
        own, *lines = suffix[:_LONGEST].split("\n")
        self._is_cut = len(suffix) > _LONGEST
        if self._is_cut and lines:
            lines.pop()  # only its beginning is known
        self._rest = own.rstrip()
        self._lines = [line.rstrip() for line in lines if line.strip()]
        first = self._lines[0] if self._lines else ""
        self._n_blank = next((i for i, line in enumerate(lines) if line.strip()), 0)
        self._telling = sum(not c.isspace() for c in first) >= _TELLING
        self._held = ""

    def push(self, text: str) -> str:
        """The part of the text so far that is certainly no repetition."""
        if not self._lines or self.stopped:
            return "" if self.stopped else text
        self._held += text
        for start, match in self._candidates():
            if match != "no":
                self.stopped = match == "for certain"
                return self._release(start)
        return self._release(len(self._held) - self._count_begun())

    def flush(self) -> str:
        """What was held back, when no more will come, without what repeats whole lines."""
        if self.stopped:
            return ""
        starts = (start for start, match in self._candidates() if match == "a line")
        return self._release(next(starts, len(self._held)))

    def _release(self, n: int) -> str:
        text, self._held = self._held[:n], self._held[n:]
        return text

    def _candidates(self) -> Iterator[tuple[int, _Match]]:
        """Where the held text may leave the cursor's line, and how the lines after that match."""
        start = 0
        while (end := self._held.find("\n", start)) >= 0:
            line = self._held[start:end]
            if line.rstrip().endswith(self._rest):
                kept = line.rstrip() if self._rest else line.rstrip("\r")
                at = start + len(kept) - len(self._rest)
                yield at, self._match(self._held[end + 1 :].split("\n"))
            start = end + 1

    def _match(self, lines: list[str]) -> _Match:
        """How lines, of which the last is not finished, repeat those after the cursor's."""
        n_blank = n_same = 0
        for i, line in enumerate(lines):
            is_last = i == len(lines) - 1
            if not line.strip():
                n_blank += not is_last
                if n_same == 0 and n_blank > self._n_blank:
                    return "no"
                continue
            if n_same == len(self._lines):
                return "for certain" if self._is_cut else "no"
            wanted = self._lines[n_same]
            if _is_same(line, wanted):
                n_same += 1
                if self._telling and not is_last:
                    return "for certain"
            elif not (is_last and _may_become(line, wanted)):
                return "no"
        return "a line" if n_same else "so far"

    def _count_begun(self) -> int:
        """Length of the longest end of the held text that may begin the cursor line's rest."""
        line = self._held[self._held.rfind("\n") + 1 :]
        if not self._rest:
            return len(line) - len(line.rstrip("\r"))
        if line.rstrip().endswith(self._rest):
            return len(line) - len(line.rstrip()) + len(self._rest)
        longest = min(len(line), len(self._rest))
        return next((n for n in range(longest, 0, -1) if line.endswith(self._rest[:n])), 0)


def _is_same(line: str, wanted: str) -> bool:
    """Whether a reader sees no difference.

    >>> _is_same("\\treturn x  \\r", "    return x"), _is_same("  return x", "    return x")
    (True, False)
    """
    (indent, text), (wanted_indent, wanted_text) = _split(line), _split(wanted)
    return text.rstrip() == wanted_text and _is_as_deep(indent, wanted_indent)


def _may_become(line: str, wanted: str) -> bool:
    (indent, text), (wanted_indent, wanted_text) = _split(line), _split(wanted)
    return wanted_text.startswith(text) and _is_as_deep(indent, wanted_indent)


def _split(line: str) -> tuple[str, str]:
    """Indentation and text."""
    match = re.match(r"[ \t]*", line)
    assert match is not None
    return match.group(), line[match.end() :]


def _is_as_deep(indent: str, wanted: str) -> bool:
    return indent == wanted or any(
        indent.expandtabs(width) == wanted.expandtabs(width) for width in _TAB_WIDTHS
    )
