"""Extracts code and answers from what a model generated.

Input: generated text. Output: the part that is judged; what a benchmark adds is in its task file.

Not here: judging, and code in chat answers (chat_code.py, python_code.py).
"""

import re
from collections.abc import Sequence

from codling.grading.fences import find_blocks, strip_thoughts

_SAID = re.compile(
    r"(?:answer(?:\s+(?:to|of|for)[^.\n:]{0,60}?)?\s*(?:\*\*|__)?(?:\s+is|\s*:|\s+=)"
    r"(?:\s*:)?(?:\*\*|__)?|^\s*####)\s*(?=([^\n]+))",
    re.I | re.M,
)
_AFTER = re.compile(
    r",\s+(?:and\s+(?=[a-z]{3,})|(?!and\b|or\b)(?=[a-z]{2,}))|[.;](?=\s|$)"
    r"|\s+[-\u2013]\s+(?=[a-z]{2,})|\u2014"
    r"|\s+(?:because|since|which|where|as|so|when|for|if|and\s+[a-z]{3,})\s|\s\(|!$"
    r"|,\s+or\s+(?=\\?\$?[\d,.]+\s+[a-z])"
)
"""What follows a value in a sentence."""
_HEDGE = re.compile(
    r"(?:therefore|thus|then|hence|indeed|simply|just|exactly|approximately|about|roughly|around)"
    r"\s+(?=[\d$\\(*-])",
    re.I,
)
"""Words before a value that say nothing about it."""
_WORD = re.compile(r"(?<![\\{\w])[A-Za-z]{2,}")
"""A word of prose: no command of LaTeX, and none of a text in braces."""
PYTHON_STOPS = ("\ndef", "\nclass", "\nif", "\n#", "\nprint")


def cut_at(text: str, stops: Sequence[str]) -> str:
    """`text` before the first of the stop strings.

    >>> cut_at("    return 1\\ndef g():", PYTHON_STOPS)
    '    return 1'
    """
    ends = [end for stop in stops if (end := text.find(stop)) != -1]
    return text[: min(ends, default=len(text))]


def extract_block(text: str, language: str = "python") -> str:
    """The first code block in a language, else the first without one, else the first; the whole
    text if there is none. Thoughts before the answer do not count; an unclosed fence does.

    >>> extract_block("First:\\n```bash\\npip install x\\n```\\n```python\\nx = 1\\n```\\nDone.")
    'x = 1'
    """
    said = strip_thoughts(text)
    found = find_blocks(said)
    named = [b for b in found if b.is_in(language)] or [b for b in found if not b.language]
    return (named or found)[0].code if found else said


def last_number(text: str) -> str:
    """The last number in a text, without thousands separators; "" if there is none.

    >>> last_number("so 1,200 + 34 is $1,234.50.")
    '1234.50'
    """
    found = re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)
    return str(found[-1].replace(",", "")) if found else ""


def extract_stated(text: str) -> str | None:
    """The value after "the answer is" or "####", without the sentence around it; None if there is
    no such phrase. The last one counts.

    >>> extract_stated("The answer is **18**, which is what she makes.")
    '18'
    """
    found = list(_SAID.finditer(text))
    if not found:
        return None
    said = _HEDGE.sub("", re.sub(r"\*\*|__|`", "", found[-1][1]).strip(), count=1)
    math = re.match(r"\\\((.+?)\\\)|\\\[(.+?)\\\]|\$\$(.+?)\$\$|\$((?:[^$\\]|\\.)+)\$(?!\d)", said)
    if math:
        return next(part for part in math.groups() if part is not None).strip()
    value = _AFTER.split(said, maxsplit=1)[0].strip().rstrip(".,;")
    reckoned = re.fullmatch(r"[\d\s.,+*/\u00d7\u00f7()$-]+=\s*([$-]*\d[\d.,]*)", value)
    return reckoned[1] if reckoned else value


def extract_final(text: str) -> str:
    """What a text boxes last, else what it states, else its last number."""
    boxed = extract_boxed(text)
    return (extract_stated(text) or last_number(text)) if boxed is None else boxed


def is_bare_answer(text: str) -> bool:
    """Whether a text is an answer of mathematics and nothing else: one line of at most two words,
    which boxes and states nothing.

    >>> is_bare_answer("5 square metres"), is_bare_answer("So she has 18 eggs left.")
    (True, False)
    """
    is_short = "\n" not in text and len(_WORD.findall(text)) <= 2
    return is_short and extract_boxed(text) is None and extract_stated(text) is None


def extract_boxed(text: str) -> str | None:
    """The contents of the last \\boxed{...} with balanced braces, or None.

    >>> extract_boxed(r"thus $\\boxed{\\frac{1}{2}}$")
    '\\\\frac{1}{2}'
    """
    start = max(text.rfind("\\boxed{"), text.rfind("\\fbox{"))
    if start == -1:
        return None
    begin = text.index("{", start) + 1
    depth = 1
    for i in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[begin:i]
    return None
