r"""MATH's comparison of final answers as texts (arXiv:2103.03874, appendix): both sides are put
into one spelling and must then be equal.

Input: two short texts of LaTeX; or a text of which the last formula is the answer. Output: a bool.
 Nothing is computed: 1/2 and 0.5 are one by a rule
of spelling, 2/4 is another answer. Not here: equality as mathematics has it (math_equal.py).
"""

import re

from codling.grading.extract import extract_boxed

_DROPPED = ("\n", "\\!", "\\left", "\\right", "^{\\circ}", "^\\circ", "\\$", "\\%", "%")


def same_string(got: str, target: str) -> bool:
    r"""Whether two answers have one spelling.

    >>> same_string("\\tfrac12", "\\frac{1}{2}"), same_string("x=5", "5"), same_string("0.5", ".5")
    (True, True, True)
    >>> same_string("2/4", "1/2"), same_string("", "")
    (False, False)
    """
    left, right = one_spelling(got), one_spelling(target)
    return bool(left) and left == right


def cloze_answer(text: str) -> str:
    r"""The last box, else the last $...$, else what follows the last "=", else the last number.

    >>> cloze_answer("so $x=3$ and $y = 4$"), cloze_answer("\\boxed{7}"), cloze_answer("12, 13")
    ('4', '7', '13')
    """
    boxed = extract_boxed(text)
    if boxed is not None:
        return boxed
    dollars = re.findall(r"\$([^$]+)\$", text)
    if dollars:
        return str(dollars[-1].rpartition("=")[2].strip())
    if "=" in text:
        return text.rpartition("=")[2].lstrip(" ").rstrip(".").strip()
    numbers = re.findall(r"-?\d+(?:\.\d+)?", text)
    return str(numbers[-1]) if numbers else ""


def one_spelling(text: str) -> str:
    """The text as all writers of it would have it."""
    text = text.replace("\n", "").replace("\\!", "").replace("\\\\", "\\")
    text = text.replace("tfrac", "frac").replace("dfrac", "frac")
    for sign in _DROPPED:
        text = text.replace(sign, "")
    text = text.partition("\\text{ ")[0]
    text = text.replace(" .", " 0.").replace("{.", "{0.")
    text = f"0{text}" if text.startswith(".") else text
    sides = text.split("=")
    if len(sides) == 2 and len(sides[0]) <= 2:
        text = sides[1]
    text = re.sub(r"\\sqrt(\w)", r"\\sqrt{\1}", text).replace(" ", "")
    text = _brace_fractions(text)
    text = "\\frac{1}{2}" if text == "0.5" else text
    return re.sub(r"\A(-?\d+)/(-?\d+)\Z", r"\\frac{\1}{\2}", text)


def _brace_fractions(text: str) -> str:
    r"""\frac12 and \frac1{2} as \frac{1}{2}."""
    text = re.sub(r"\\frac(?!\{)(.)(?!\{)(.)", r"\\frac{\1}{\2}", text)
    return re.sub(r"\\frac(?!\{)(.)\{", r"\\frac{\1}{", text)
