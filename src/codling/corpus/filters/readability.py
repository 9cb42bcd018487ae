"""How a file looks to a reader: lengths of names, one-letter names, density, repetition, space.

Input: the bytes of a text. Output: five numbers, from a few passes of numpy over the bytes, and the
rule that they break. A name is a run of letters, digits, `_` and bytes outside ASCII that does not
begin with a digit; comments and strings count as the rest does, because telling them apart would
take a parser per language. Two things are not names that a reader has to remember: a single capital
letter, which is a type parameter (`map<A, B>(f: (a: A) => B)`), is left out of the share of names
of one letter; and a run of more than LONG bytes in a string or a comment is data.

Not here: which files are asked (screen.py).
"""

import re
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from codling.core.errors import ConfigError
from codling.core.languages.table import LANGUAGES
from codling.core.ranges import Count, CountFromZero, Range, Ranged, Share, Strength
from codling.core.recipe import explain_unknown_key

_SPACE, _SYMBOL, _DIGIT, _LETTER = range(4)
MIN_LINE = 10
"""A shorter line, without its indentation, is no repetition: `}` and `else:` stand everywhere."""
LONG = 128
"""Names of at most this many bytes count everywhere, in strings and comments too."""
_WORD = re.compile(rb"[A-Za-z0-9_\x80-\xff]+")
_STRING_OR_COMMENT = re.compile(
    rb"\"\"\"[\s\S]*?(?:\"\"\"|\Z)|'''[\s\S]*?(?:'''|\Z)|\br(#+)\"[\s\S]*?(?:\"\1|\Z)|"
    rb"\bR\"(\w*)\([\s\S]*?(?:\)\2\"|\Z)|\[(=*)\[[\s\S]*?(?:\]\3\]|\Z)|"
    rb"\"[^\"\\\n]*+(?>(?:\\[\s\S][^\"\\\n]*+)*)(?:\"|\Z)|"
    rb"'[^'\\\n]*+(?>(?:\\[\s\S][^'\\\n]*+)*)(?:'|\Z)|`[^`\\]*+(?>(?:\\[\s\S][^`\\]*+)*)`|"
    rb"//[^\n]*|/\*[\s\S]*?(?:\*/|\Z)|(?m:(?:^|(?<=\s))#[^\n]*)"
)
"""Strings and comments as most languages write them."""


MEASURED_LIMITS: dict[str, dict[str, float]] = {
    "javascript": {"max_one_letter": 0.42},
    "typescript": {"max_one_letter": 0.45},
    "java": {"max_one_letter": 0.5},
    "kotlin": {"max_one_letter": 0.5},
    "c": {"max_one_letter": 0.55},
    # Names of one letter are usual in these languages: `fmap :: (a -> b) -> f a -> f b`.
    "agda": {"max_one_letter": 1.0},
    "elm": {"max_one_letter": 1.0},
    "haskell": {"max_one_letter": 1.0},
    "idris": {"max_one_letter": 1.0},
    "ocaml": {"max_one_letter": 1.0},
    "purescript": {"max_one_letter": 1.0},
    "standard-ml": {"max_one_letter": 1.0},
}
"""Limits of single languages; all but 1 of 1,000 of their files are below."""


@dataclass(frozen=True, kw_only=True)
class ReadabilityConfig(Ranged):
    """Which files of code a reader would not call code.

    The reasons are measured on 34,700 files that passed `clean`, of 62 packages from PyPI, npm and
    Debian and the standard library: docs/deduplication.md. A limit that nothing reaches (1 for
    shares, 0 for `min_spaces`) switches its rule off.
    """

    max_name: Count = 256
    """`long-name`: the longest name, in bytes; 5 files had longer ones, data in a literal."""
    max_one_letter: Share = 0.8
    """`one-letter`: share of names with one letter; the most is 0.794, tests of sympy."""
    max_line_tokens: Strength = 40.0
    """`dense`: names, numbers and symbols per line; the most is 38.0, minified code has 100."""
    max_repeated_lines: Share = 0.8
    """`repeated-lines`: share of the lines that repeat earlier lines of the file; 4 files have
    more."""
    min_spaces: Share = 0.06
    """`minified`: a smaller share of white space, if names of one letter are frequent too."""
    minified_one_letter: Share = 0.15
    """How frequent: minified scripts have 0.15 to 0.49, files with so little space else less."""
    min_names: CountFromZero = 50
    """Files with fewer names are not judged: their shares are not informative."""
    min_lines: CountFromZero = 10
    """Lines that `one-letter` and `repeated-lines` need."""
    by_language: dict[str, dict[str, Annotated[float, Range(0, 1e15)]]] = field(
        default_factory=dict
    )
    """Other limits for single languages, before the measured ones and the general ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        known = {f.name for f in fields(self)} - {"by_language"}
        for language, limits in self.by_language.items():
            for name in limits:
                if name.replace("-", "_") not in known:
                    raise ConfigError(explain_unknown_key(name, known, f"readability.{language}"))
            if language not in LANGUAGES:
                raise ConfigError(
                    explain_unknown_key(language, LANGUAGES, "readability", what="language")
                )

    def limits(self, language: str) -> "ReadabilityConfig":
        """The limits of one language."""
        own = MEASURED_LIMITS.get(language, {}) | {
            name.replace("-", "_"): value
            for name, value in self.by_language.get(language, {}).items()
        }
        changed: dict[str, Any] = dict(own)
        return replace(self, **changed)


@dataclass(frozen=True, kw_only=True)
class ReadabilityMeasures:
    """What a file looks like."""

    n_names: int
    n_lines: int
    """Lines that are not blank."""
    longest_name: int
    """In bytes; above LONG only what stands outside strings and comments."""
    one_letter: float
    """Share of the names that have one letter, without those that are one capital letter."""
    line_tokens: float
    """Names, numbers and symbols in a line, on average."""
    repeated_lines: float
    """Share of the lines of MIN_LINE bytes and more that repeat earlier lines of the file."""
    spaces: float
    """Share of the bytes that are white space."""


def measure_readability(data: bytes) -> ReadabilityMeasures:
    """Measure a text.

    >>> measure_readability(b"a = b\\n\\nlonger = 12\\n").line_tokens
    3.0
    """
    kinds = _KINDS[np.frombuffer(data, np.uint8)]
    inside = np.concatenate([[False], kinds >= _DIGIT, [False]])
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    is_name = kinds[starts] == _LETTER
    names = lengths[is_name]
    n_capitals, n_small = _single_letters(data, starts[is_name][names == 1])
    n_tokens = len(starts) + int(np.count_nonzero(kinds == _SYMBOL))
    lines = [stripped for line in data.split(b"\n") if (stripped := line.strip())]
    full = [line for line in lines if len(line) >= MIN_LINE]
    return ReadabilityMeasures(
        n_names=len(names),
        n_lines=len(lines),
        longest_name=_longest_name(data, int(names.max(initial=0))),
        one_letter=n_small / max(1, len(names) - n_capitals),
        line_tokens=n_tokens / max(1, len(lines)),
        repeated_lines=1 - len(set(full)) / len(full) if full else 0.0,
        spaces=int(np.count_nonzero(kinds == _SPACE)) / max(1, len(data)),
    )


def find_unreadable(
    measured: ReadabilityMeasures, limits: ReadabilityConfig
) -> tuple[str, str] | None:
    """The first rule that a file breaks, and the value that did it."""
    if measured.n_names < limits.min_names:
        return None
    if measured.longest_name > limits.max_name:
        return "long-name", str(measured.longest_name)
    if measured.line_tokens > limits.max_line_tokens:
        return "dense", f"{measured.line_tokens:.1f}"
    if measured.spaces < limits.min_spaces and measured.one_letter > limits.minified_one_letter:
        return "minified", f"{measured.spaces:.3f} space, {measured.one_letter:.2f} one-letter"
    if measured.n_lines < limits.min_lines:
        return None
    if measured.one_letter > limits.max_one_letter:
        return "one-letter", f"{measured.one_letter:.2f}"
    if measured.repeated_lines > limits.max_repeated_lines:
        return "repeated-lines", f"{measured.repeated_lines:.2f}"
    return None


def _single_letters(data: bytes, places: NDArray[np.int64]) -> tuple[int, int]:
    """How many of the names of one byte at `places` are capitals, and how many are not."""
    letters = np.frombuffer(data, np.uint8)[places]
    n_capitals = int(np.count_nonzero((letters >= ord("A")) & (letters <= ord("Z"))))
    return n_capitals, len(letters) - n_capitals


def _longest_name(data: bytes, longest: int) -> int:
    if longest <= LONG:
        return longest
    words = _WORD.findall(_STRING_OR_COMMENT.sub(b" ", data))
    return max((len(word) for word in words if not word[:1].isdigit()), default=0)


def _kinds() -> NDArray[np.uint8]:
    kinds = np.full(256, _LETTER, np.uint8)
    kinds[:128] = _SYMBOL
    kinds[list(b" \t\n\v\f\r")] = _SPACE
    kinds[list(b"0123456789")] = _DIGIT
    kinds[list(b"_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")] = _LETTER
    return kinds


_KINDS = _kinds()
