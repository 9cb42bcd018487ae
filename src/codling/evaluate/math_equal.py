"""Whether two mathematical answers are equal: as text, as numbers, or as expressions.

Input: two short texts, LaTeX or plain. Output: a bool. DeepSeek-Coder's tolerance: 1e-4 relative,
also between a share and its percentage. Expressions are parsed by sympy, which evaluates them: so
this file's text is run inside the sandbox together with a model's answer, and imports nothing of
codling.

Not here: finding the answer in a text (extract.py).
"""

import math
import re


def equal(got: str, target: str) -> bool:
    """Whether `got` is the answer `target`.

    >>> equal("\\\\frac{1}{2}", "0.5"), equal("1,200", "1200"), equal("50\\\\%", "0.5"),
    equal("3", "4") (True, True, True, False)
    """
    left, right = normal(got), normal(target)
    if left == right and left:
        return True
    x, y = number(left), number(right)
    if x is not None and y is not None:
        return any(
            math.isclose(x, y * scale, rel_tol=1e-4, abs_tol=1e-9) for scale in (1, 100, 0.01)
        )
    parts, wanted = _elements(left), _elements(right)
    if len(parts) > 1 or len(wanted) > 1:
        return len(parts) == len(wanted) and all(map(equal, parts, wanted))
    return _same_expression(left, right)


def normal(text: str) -> str:
    """A text without LaTeX's decoration, units and spaces."""
    text = str(text).strip().strip("$").rstrip(".").replace("\n", " ")
    text = re.sub(r"\\(?:text|mbox|mathrm|textbf)\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\(?:left|right|,|;|!|:|quad|displaystyle)(?![a-z])", "", text)
    text = text.replace("\\tfrac", "\\frac").replace("\\dfrac", "\\frac").replace("\\ ", " ")
    text = re.sub(r"\\frac(\d)(\d)", r"\\frac{\1}{\2}", text)
    text = re.sub(r"\^\{?\\circ\}?|\\degree|\\%|%|\\\$|\$", "", text)
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    text = re.sub(r"^[a-zA-Z]\s*(?:=|\\in)\s*", "", text)
    text = re.sub(r"(?<=\d)\s+(?:[a-zA-Z]+(?:\s*\^\s*\d)?)$", "", text)
    return text.replace(" ", "")


def number(text: str) -> float | None:
    """The value of a plain number, fraction or percentage, or None."""
    fraction = re.fullmatch(r"(-?)\\frac\{(-?[\d.]+)\}\{(-?[\d.]+)\}|(-?[\d.]+)/([\d.]+)", text)
    try:
        if fraction:
            sign, a, b, c, d = fraction.groups()
            value = float(a) / float(b) if a else float(c) / float(d)
            return -value if sign else value
        return float(text)
    except (ValueError, ZeroDivisionError):
        return None


def _elements(text: str) -> list[str]:
    """The members of a tuple, interval or list; one element if it is none."""
    inner = text[1:-1] if text[:1] in ("(", "[") and text[-1:] in (")", "]") else text
    parts, depth = [""], 0
    for char in inner:
        depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts if len(parts) > 1 else [text]


def _same_expression(left: str, right: str) -> bool:
    """Whether the difference simplifies to zero; False for what cannot be parsed."""
    from sympy import simplify
    from sympy.parsing.sympy_parser import (
        convert_xor,
        implicit_multiplication_application,
        parse_expr,
        standard_transformations,
    )

    rules = (*standard_transformations, implicit_multiplication_application, convert_xor)
    try:
        a, b = (parse_expr(plain(t), transformations=rules) for t in (left, right))
        difference = simplify(a - b)
        return bool(difference == 0) or abs(complex(difference.evalf())) < 1e-6
    except Exception:  # noqa: BLE001 - whatever the text made of sympy, it is no equal answer
        return False


def plain(text: str) -> str:
    """LaTeX in the notation that sympy parses.

    >>> plain("\\\\frac{1+x}{2}\\\\sqrt{3}")
    '((1+x)/(2))sqrt(3)'
    """
    text = text.replace("\\cdot", "*").replace("\\times", "*").replace("\\pi", " pi ")
    text = text.replace("\\infty", "oo").replace("\\div", "/")
    for _ in range(10):
        before = text
        text = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", text)
        text = re.sub(r"\\sqrt\[([^\[\]]*)\]\{([^{}]*)\}", r"((\2)**(1/(\1)))", text)
        text = re.sub(r"\\sqrt\{([^{}]*)\}", r"sqrt(\1)", text)
        text = re.sub(r"\^\{([^{}]*)\}", r"**(\1)", text)
        if text == before:
            break
    return re.sub(r"\\(sin|cos|tan|log|ln|exp)\b", r"\1", text).replace("{", "(").replace("}", ")")
