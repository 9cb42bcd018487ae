"""An insertion that runs on into the text after the cursor, cut where the repetition begins.

Input: the suffix, then the insertion piece by piece. Output: the text without the repetition.
Models, instruction-tuned ones above all, like to write what is there already:

    for line in lines:
        |                       counts[word] += 1
    return counts               return counts        <- this line would stand there twice

At least one whole line must be repeated, with everything between it and the cursor: a bracket at
the end of the cursor's own line may well be needed twice.

Not here: stop strings (the engine's).
"""

_TELLING = 16
"""A repeated line with fewer visible characters (`return x`, `}`) may be meant: it is cut only if
the insertion ends with it, while a longer one ends the insertion."""
_LONGEST = 2000


class OverlapFilter:
    """Passes text on, but holds back an end that repeats the beginning of the suffix.

    >>> cut = OverlapFilter("\\n    return counts\\n\\n\\ndef main():")
    >>> cut.push("counts[word] += 1\\n   "), cut.push(" return counts\\n"), cut.flush()
    ('counts[word] += 1', '', '')
    """

    def __init__(self, suffix: str) -> None:
        self.stopped = False
        """Whether the insertion should end here: it repeats a line that says much."""
        self._pattern = suffix[:_LONGEST]
        self._least, self._telling = _first_line(self._pattern)
        self._failure = _failure(self._pattern) if self._least else []
        self._held = ""

    def push(self, text: str) -> str:
        """The part of the text so far that is certainly no repetition."""
        if not self._least or self.stopped:
            return "" if self.stopped else text
        # What is held back is the longest end of the text that is a beginning of the suffix.
        n, before = len(self._held), self._held
        for i, character in enumerate(text):
            n = self._grown(n, character)
            # A line is repeated for certain when it ends like the original.
            if self._telling and n > min(self._least, len(self._pattern) - 1):
                self.stopped = True
                return (before + text[: i + 1])[: len(before) + i + 1 - n]
        cut = len(before) + len(text) - n
        self._held = (before + text)[cut:]
        return (before + text)[:cut]

    def flush(self) -> str:
        """What was held back, when no more will come; nothing if it repeats a whole line."""
        repeats = self._least and len(self._held) >= self._least
        return "" if repeats or self.stopped else self._held

    def _grown(self, n: int, character: str) -> int:
        """How much of the suffix is matched after one more character (Knuth, Morris, Pratt)."""
        while n and (n == len(self._pattern) or self._pattern[n] != character):
            n = self._failure[n - 1]
        return n + 1 if self._pattern[n] == character else 0


def _first_line(suffix: str) -> tuple[int, bool]:
    """Where the first line after the cursor's own ends that is not blank, and if it says much.

    (0, False) if there is none.
    """
    start = suffix.find("\n") + 1
    while start:
        end = suffix.find("\n", start)
        line = suffix[start : end if end >= 0 else len(suffix)]
        if line.strip():
            return start + len(line), sum(not c.isspace() for c in line) >= _TELLING
        start = end + 1
    return 0, False


def _failure(pattern: str) -> list[int]:
    """For each beginning of the pattern, its longest shorter end that is a beginning too."""
    table = [0] * len(pattern)
    n = 0
    for i in range(1, len(pattern)):
        while n and pattern[i] != pattern[n]:
            n = table[n - 1]
        if pattern[i] == pattern[n]:
            n += 1
        table[i] = n
    return table
