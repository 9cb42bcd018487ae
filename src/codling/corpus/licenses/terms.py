"""What stands beside a known licence: sentences that take back some of what it gives.

Input: a text, and the word triples of the licences that were found in it. Output: whether what is
left over sets terms of its own (no commercial use, no sale, no training of models ...). The licence
is then not the known one alone: it is joined with `LicenseRef-additional-terms`.

Names, thanks, lists of third parties and permissions add nothing; a sentence counts only if it
forbids, limits or asks for something. Not here: the known texts (texts.py).
"""

import re
import zlib
from collections.abc import Collection

ADDITIONAL_TERMS = "LicenseRef-additional-terms"
COVERED = 0.5
"""Share of a sentence's word triples that a known text must have."""
MIN_WORDS = 4
"""Shorter pieces are headings."""

_NONCOMMERCIAL = (
    r"commons clause|non ?commercial(?:ly)?(?: \w+){0,2} (?:only|purposes?|use|usage)|"
    r"(?:only|solely|exclusively|purely) for (?:\w+ ){0,3}non ?commercial|"
    r"not (?:be )?(?:\w+ ){0,4}(?:for |in )(?:any )?commercial|no commercial (?:use|usage)|"
    r"commercial (?:\w+ ){0,3}(?:is|are) (?:\w+ ){0,2}(?:not|forbidden|prohibited)|"
    r"commercial (?:use|usage|users?|licen[cs]es?|purposes?|products?)(?: \w+){0,4} (?:requires?|"
    r"needs?|must)|prohibited (?:\w+ ){0,3}commercial|free for (?:\w+ ){0,2}(?:non ?commercial|"
    r"personal)|(?:personal|academic|educational) (?:\w+ ){0,2}(?:use|purposes?|usage) only|"
    r"only for (?:\w+ ){0,2}(?:personal|academic|educational) (?:use|usage|purposes?)"
)
_COMMERCE = re.compile(rf"\b(?:{_NONCOMMERCIAL})\b")
"""Says by itself, wherever it stands, that more is asked for than a known licence does."""
_USE = (
    r"(?:use|used|uses|using|sell|sold|sale|resell|resold|host(?:ed)?|offer(?:ed)?|provided?|deploy"
    r"(?:ed)?|distribut\w+|redistribut\w+|publish(?:ed)?|cop(?:y|ied)|modif(?:y|ied)|train(?:ed|ing)?|"
    r"embed(?:ded)?|incorporat\w+|commerciali[sz]ed?|monetiz\w+|fork(?:ed)?|grant|combined?|"
    r"reverse engineer|decompiled?|disassembled?|share|shared|remove|disable|exceed|employ(?:ed)?)"
)
_LIMIT = re.compile(
    rf"\b(?:(?:(?:may|must|shall|can|do|does|will|are|is|should) not|cannot|can t|neither|nor)\b"
    rf"(?: \w+){{0,9}}? {_USE}\b(?! (?:as )?required)|"
    r"prohibited|forbidden|disallowed|not (?:permitted|allowed)|resell\w*|resale|right to sell|"
    r"requires? (?:an? |the )?(?:\w+ ){0,4}(?:licen[cs]e|permission|agreement|consent|"
    r"subscription)|"
    r"(?:must|shall|has to|(?<!t )have to|need to) (?:\w+ ){0,3}(?:obtain|purchase|buy|pay|"
    r"acquire|request|register|contact|ask)\b|"
    r"(?:used?|usage|licen[cs]ed|granted|permitted|allowed|available|intended) (?:\w+ )?"
    r"(?:only|solely|exclusively) (?:for|by|in|with|to|on|within|if)|"
    r"(?:only|solely|exclusively) (?:be )?(?:used|permitted|licen[cs]ed|run)\b|"
    r"purposes? only|use only|"
    r"(?:limited|restricted) to (?:\w+ ){0,4}(?:uses?|users?|purposes?|members?|employees)|"
    r"does not apply to (?:\w+ ){0,5}(?:companies|company|organi[sz]ations?|individuals|persons|"
    r"users|corporations?|governments?|entities|anyone)|"
    r"no (?:licen[cs]e|permission|rights?) (?:is|are) (?:\w+ )?granted|not evil|"
    r"(?:fees?|royalt(?:y|ies)) (?:\w+ ){0,3}(?:due|payable|required|apply|applies)|"
    r"(?:excluded|exempt(?:ed)?|barred) from (?:\w+ ){0,3}(?:licen[cs]e|us(?:e|ing))|"
    r"no (?:part|portion|cop(?:y|ies)|one|person|company)\b(?: \w+){0,8}? "
    rf"(?:may|can|shall) (?:be )?{_USE}\b|"
    r"not (?:for|licen[cs]ed for) (?:use|sale|resale|redistribution|distribution|production)\b|"
    r"holding (?:a )?(?:valid )?(?:\w+ )?licen[cs]es?|"
    r"(?:evaluation|trial) (?:licen[cs]e|period|version)|"
    r"(?:so|as) long as (?:you|they|it) (?:do|does|are|is) not|"
    r"(?:following|additional|further|extra) (?:licen[cs]e )?(?:condition|restrictions?) v?\d)"
)
"""Limits who may do what with the code, or asks for something first."""
_HARMLESS = re.compile(
    r"\b(?:warrant(?:y|ies|ed|s)?|liab(?:le|ility)|trademarks?|endorse\w*|advertising|patents?|"
    r"copyright notice|names?|in no event|merchantability|represent|misrepresented|infringe\w*|"
    r"reassurances|(?:except|unless) (?:\w+ ){0,3}(?:in|according|under|as|by)|"
    r"not (?:be )?required|not (?:\w+ ){0,2}(?:affect|fall|limit|imply|detract|include data))\b"
)
"""Sentences that licences have in words of their own: they limit no use of the code."""
_SENTENCE = re.compile(r"\n\s*\n|(?<=[.;!?])\s+(?=[A-Z\"'(*-])|\n(?=\s*(?:[-*•]|\(?\d+[.)])\s)")
_WORD = re.compile(r"[a-z0-9]+")


def forbids_commerce(words: str) -> bool:
    """Whether a text in small letters, without punctuation, is not for every use.

    >>> forbids_commerce("for non commercial use only"), forbids_commerce("commercial use is fine")
    (True, False)
    """
    may = (
        "commerc" in words
        or "commons cl" in words
        or "use only" in words
        or "only for" in words
        or "poses only" in words
    )
    return may and bool(_COMMERCE.search(words))


def leaves_terms(text: str, known: Collection[int], sampled_up_to: int) -> bool:
    """Whether a sentence of `text` that is in no known licence sets terms.

    `known` are the hashes of the word triples of the licences that were found; of triples with a
    larger hash than `sampled_up_to` it is not known whether a licence has them.
    """
    for sentence in _SENTENCE.split(text):
        words = _WORD.findall(sentence.lower())
        joined = " ".join(words)
        if len(words) < MIN_WORDS and not joined.endswith(("use only", "purposes only")):
            continue
        is_limit = _LIMIT.search(joined) and not _HARMLESS.search(joined)
        if not (is_limit or _COMMERCE.search(joined)):
            continue
        grams = zip(words, words[1:], words[2:], strict=False)
        hashes = [zlib.crc32(" ".join(triple).encode()) for triple in grams]
        asked = [h for h in hashes if h <= sampled_up_to]
        if asked and sum(h in known for h in asked) < COVERED * len(asked):
            return True
    return False


def plain_words(text: str) -> str:
    """A text in small letters, every other character a single space.

    >>> plain_words("Non-commercial use ONLY!")
    'non commercial use only'
    """
    return " ".join(_WORD.findall(text.lower()))
