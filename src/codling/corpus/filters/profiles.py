"""The published sets of filter rules, as thresholds: DeepSeek-Coder, StarCoder2, OpenCoder.

Input: a FilterConfig. Output: its profile's thresholds, with those that the config sets replaced.
A threshold of None switches its rule off.

Not here: how a rule judges a file (rules.py).
"""

from dataclasses import dataclass, fields, replace
from typing import Literal

from codling.core.errors import ConfigError
from codling.core.languages.table import LANGUAGES
from codling.core.ranges import CountFromZero, Ranged, Share, Strength

ProfileName = Literal["deepseek-coder", "starcoder2", "opencoder"]


@dataclass(frozen=True, kw_only=True)
class FilterConfig(Ranged):
    """Which files are worth learning from. A threshold of None is the profile's."""

    profile: ProfileName = "deepseek-coder"
    """Published set of rules that the thresholds come from."""
    languages: tuple[str, ...] = ()
    """Keys of languages to keep; by default every language that is recognised."""
    max_mean_line: Strength | None = None
    """Longest mean line, in characters."""
    max_line: CountFromZero | None = None
    """Longest line, in characters."""
    min_alphabetic: Share | None = None
    """Smallest share of alphabetic (starcoder2: alphanumeric) characters."""
    min_visible_text: Share | None = None
    """Smallest share of visible text in HTML."""
    min_visible_chars: CountFromZero | None = None
    """Fewest visible characters in HTML."""
    min_data_chars: CountFromZero | None = None
    """Fewest characters of a JSON or YAML file."""
    max_data_chars: CountFromZero | None = None
    """Most characters of a JSON or YAML file."""
    max_encoded_run: CountFromZero | None = None
    """Longest run of base64, hexadecimal or escaped data, in characters."""
    max_encoded_share: Share | None = None
    """Largest share of a file that is such data."""
    max_digits: Share | None = None
    """Largest share of digits."""
    max_spaces: Share | None = None
    """Largest share of white space."""
    max_hex_words: Share | None = None
    """Largest share of words that are hexadecimal numbers."""
    max_repeated: Share | None = None
    """Largest share of characters in 10-grams of words that occur more than once."""
    min_comments: Share | None = None
    """Smallest share of comments, where they are counted."""
    max_comments: Share | None = None
    """Largest share of comments, where they are counted."""
    drop_generated: bool | None = None
    """Drop files that say in their first lines that a program wrote them."""
    parse_python: bool | None = None
    """Drop Python files that do not parse, or that are mostly pass, import, assert or print."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What the filters compare with; the names are those of FilterConfig."""

    max_mean_line: float | None = 100
    max_line: float | None = 1000
    max_lines: int | None = None
    long_lines_languages: frozenset[str] = frozenset()
    """Languages without a limit of the mean line, whose lines may have LONG_LINE characters."""
    min_alphabetic: float | None = 0.25
    counts_digits: bool = False
    """Whether min_alphabetic counts letters and digits."""
    drop_xml: bool = True
    min_visible_text: float | None = 0.2
    min_visible_chars: int | None = 100
    min_data_chars: int | None = 50
    max_data_chars: int | None = 5000
    max_encoded_run: int | None = 1024
    max_encoded_share: float | None = 0.5
    max_digits: float | None = None
    max_spaces: float | None = None
    max_hex_words: float | None = None
    max_repeated: float | None = None
    min_comments: float | None = None
    max_comments: float | None = None
    comment_languages: frozenset[str] = frozenset({"python", "java", "javascript"})
    """Languages that must have comments, where min_comments is set."""
    drop_generated: bool = True
    parse_python: bool = False


LONG_LINE = 100_000

PROFILES: dict[ProfileName, Thresholds] = {
    # arXiv:2401.14196, section 2.1. Its "heuristic rules" of a later step are unpublished: the
    # marks of generated files and encoded data are StarCoder2's.
    "deepseek-coder": Thresholds(),
    # arXiv:2402.19173, section 4, and the numbers of StarCoder (arXiv:2305.06161) that it keeps.
    "starcoder2": Thresholds(
        long_lines_languages=frozenset({"html", "json", "markdown", "tex", "text", "xml", "roff"}),
        max_lines=100_000,
        counts_digits=True,
        min_data_chars=100,
        min_comments=0.01,
        max_comments=0.8,
    ),
    # arXiv:2411.04905, appendix A.
    "opencoder": Thresholds(
        max_digits=0.2,
        max_spaces=0.5,
        max_hex_words=0.4,
        max_repeated=0.6,
        max_comments=0.8,
        parse_python=True,
    ),
}


def thresholds(config: FilterConfig) -> Thresholds:
    """The thresholds that hold: the profile's, replaced by those that the config sets.

    Raises ConfigError for a language that is not in the table.
    """
    unknown = [key for key in config.languages if key not in LANGUAGES]
    if unknown:
        raise ConfigError(
            f"filters.languages: {unknown[0]} is not a language of core/languages/languages.toml"
        )
    shared = {f.name for f in fields(Thresholds)}
    given = {f.name: getattr(config, f.name) for f in fields(config) if f.name in shared}
    return replace(PROFILES[config.profile], **{k: v for k, v in given.items() if v is not None})
