"""Whether two mathematical answers are equal: as text, as numbers, as parts, or as expressions.

Input: two short texts, LaTeX or plain. Output: a bool. Two rules:

    equal            our own: whole numbers and fractions are exact, decimals equal within 1e-4 of
                     the target; a factor of 100 is a percentage only where the question mentions
                     percents; brackets keep their meaning; sets and bare lists have no order
    equal_deepseek   DeepSeek-Coder's: 1e-4, always also times and divided by 100

Expressions are parsed by sympy, which evaluates them: so this file's text is run inside the
sandbox together with a model's answer, and imports nothing of codling.

Not here: finding the answer in a text (extract.py).
"""

import math
import re
from fractions import Fraction

_UNIT = (
    r"(?!(?:pi|sqrt|and|or|theta|infty|[ap]m)\b)(?:[A-Za-z]{2,}|[mhsg](?![A-Za-z]))(?:\^\{?\d\}?)?"
)
_UNITS = re.compile(rf"(?<=[\d}}])\s+{_UNIT}(?:[\s/]+{_UNIT})*\s*\.?$")
"""A unit is a word after a number, or m, h, s or g; any other letter is a variable."""
_HALF_DAY = re.compile(r"(?<=\d)\s*([ap])\.?m\.?$", re.I)
"""The half of the day after a time."""
_SIGNS = {
    "π": "\\pi ",
    "≤": "\\le ",
    "≥": "\\ge ",
    "≠": "\\ne ",
    "∞": "\\infty ",
    "\u222a": "\\cup ",
    "\u2205": "\\emptyset ",
    "\\varnothing": "\\emptyset ",
}
_REPEATING = re.compile(r"(\d{0,20})\.(\d{0,20})\\(?:overline|bar|dot)\s*\{?(\d{1,20})\}?")
"""A decimal whose last digits repeat."""
_JOINER = "\u2060"
"""Where a blank parts a function's name from letters; it is not a blank itself."""
_NAMES = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp"
_FUNCTION = re.compile(
    rf"\\({_NAMES})(?![a-z_])\s*{_JOINER}?"
    r"(?:(?:\*\*|\^)(?:\(([^()]*)\)|(-?\w)))?\s*"
)
_FACTOR = re.compile(
    r"\d*(?:\.\d+)?\s*(?:pi\b|\\(?!(?:arc)?(?:sin|cos|tan)|cot|sec|csc|log|ln|exp)[a-z]+|[a-zA-Z])?"
    r"(?:\s*(?:\*\*\([^()]*\)|\^\w))?"
)
"""A function's argument without brackets: a number, a variable or both, with an exponent."""
_JOINT = re.compile(r"(?<=\W|\d)(?:and|or)(?=\W|\d|[a-zA-Z]=)")
_BRACKETS = {
    "\\lfloor": " floor(", "\\rfloor": ")", "\\lceil": " ceiling(", "\\rceil": ")"
}  # fmt: skip
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_PLAIN = re.compile(r"[-+]?(?:\d{1,60}(?:\.\d{0,60})?|\.\d{1,60})(?:[eE][-+]?\d{1,3})?")
_AROUND = re.compile(r"\A[\s$]*(?:\\[(\[])?[\s$]*|(?:\\[)\]]|[\s$.])*\Z")
"""What stands around a formula: blanks, dollars, brackets of LaTeX, a point."""
_MATRIX = re.compile(r"\\begin\{([pbvBV]?matrix|array)\}(?:\{[lcr|]*\})?(.*?)\\end\{\1\}", re.S)


def equal(got: str, target: str, percent: bool = False) -> bool:
    """Whether `got` is the answer `target`; `percent` if the question mentions percents.

    >>> equal("\\\\frac{1}{2}", "0.5"), equal("1,200", "1200"), equal("50\\\\%", "0.5")
    (True, True, True)
    >>> equal("1800", "18"), equal("[1,2)", "(1,2]"), equal("9999", "10000")
    (False, False, False)
    """
    return _equal(got, target, _factors(got, target, percent))


def equal_deepseek(got: str, target: str) -> bool:
    """The same by DeepSeek-Coder's rule (Evaluation/PAL-Math/utils/grader.py of its repository).

    >>> equal_deepseek("1800", "18"), equal_deepseek("18.001", "18"), equal_deepseek("19", "18")
    (True, True, False)
    """
    left, right = normal(got), normal(target)
    x, y = number(left), number(right)
    if x is not None and y is not None:
        near = (
            math.isclose(float(x), float(y * k), rel_tol=1e-4) for k in (1, 100, Fraction(1, 100))
        )
        return any(near)
    bare = (re.sub(r"[{}()]", "", side) for side in (left, right))
    if left and (left == right or len({*bare}) == 1):
        return True
    if left[:1] + left[-1:] == right[:1] + right[-1:] and left[:1] in ("(", "["):
        parts, wanted = split_list(left[1:-1]), split_list(right[1:-1])
        if len(parts) == len(wanted) and all(map(equal_deepseek, parts, wanted)):
            return True
    return same_expression(left, right, 1e-3)


def call(got: str, target: str, question: str, rule: str) -> str:
    """The source of the comparison of two answers to a question, by the rule "strict" (our own)
    or "deepseek".

    >>> call("50", "0.5", "How many percent?", "strict")
    "equal('50', '0.5', percent=True)"
    """
    if rule == "deepseek":
        return f"equal_deepseek({got!r}, {target!r})"
    percent = re.search(r"%|\bpercent", question, re.I) is not None
    return f"equal({got!r}, {target!r}, percent={percent})"


def _factors(got: str, target: str, percent: bool) -> tuple[Fraction, ...]:
    """By what a target may be multiplied: 8% is 8 or 0.08, and not 800."""
    ours, wanted = (re.search(r"%|\bpercent", side, re.I) for side in (got, target))
    if ours or wanted:
        other = () if ours and wanted else (Fraction(100) if ours else Fraction(1, 100),)
        return (Fraction(1), *other)
    return (Fraction(1), Fraction(100), Fraction(1, 100)) if percent else (Fraction(1),)


def _equal(got: str, target: str, factors: tuple[Fraction, ...]) -> bool:
    rows, wanted_rows = matrix_rows(got), matrix_rows(target)
    if rows or wanted_rows:
        return _all_equal(
            [x for row in rows for x in row], [x for row in wanted_rows for x in row], factors
        ) and [*map(len, rows)] == [*map(len, wanted_rows)]
    left, right = normal(got), normal(target)
    if bool(_HALF_DAY.search(left)) != bool(_HALF_DAY.search(right)):
        left, right = (_HALF_DAY.sub("", side) for side in (left, right))
    if left == right or (left.lower() == right.lower() and left[1:].isalpha()):
        return bool(left)
    x, y = number(left), number(right)
    if x is not None and y is not None:
        return any(_close(x, y * k) for k in factors)
    if "\\cup" in left or "\\cup" in right:
        return _same_members(left.split("\\cup"), right.split("\\cup"), factors)
    kind, parts = members(left)
    wanted_kind, wanted = members(right)
    if kind or wanted_kind:
        if kind != wanted_kind:
            return False
        alike = _same_members if kind in ("{}", ",") else _all_equal
        return alike(parts, wanted, factors)
    return bool(left and right) and same_expression(left, right, 1e-4)


def _all_equal(parts: list[str], wanted: list[str], factors: tuple[Fraction, ...]) -> bool:
    pairs = zip(parts, wanted)  # noqa: B905 - the lengths are compared
    return len(parts) == len(wanted) and all(_equal(a, b, factors) for a, b in pairs)


def _same_members(parts: list[str], wanted: list[str], factors: tuple[Fraction, ...]) -> bool:
    left = list(wanted)
    for part in parts:
        found = next((other for other in left if _equal(part, other, factors)), None)
        if found is None:
            return False
        left.remove(found)
    return not left


def _close(x: Fraction, y: Fraction) -> bool:
    """Equal, or near if one of them is rounded: whole numbers are not."""
    if x == y:
        return True
    if x.denominator == 1 and y.denominator == 1:
        return False
    within = 1e-4 if y.denominator > 1 else 1e-6
    return abs(x - y) <= within * abs(y)


def normal(text: str) -> str:
    """A text without LaTeX's decoration, currencies, units and blanks.

    >>> normal("\\\\( 9{,}500 \\\\)"), normal("$5 per day"), normal("2\\\\frac13")
    ('9500', '5', '(2+\\\\frac{1}{3})')
    """
    text = str(text)
    for sign, command in _SIGNS.items():
        text = text.replace(sign, command)
    text = re.sub(r"\\\[|\\\]|\\\(|\\\)|\*\*|`|\u00a0", " ", text).strip()
    text = re.sub(r"\\?\$|[€£¥]", "", text).replace("\u2212", "-").replace("\n", " ")
    text = re.sub(r"\\(?:text|mbox|mathrm|textbf|mathbf|textit)\s*\{([^{}]*)\}", r" \1", text)
    text = re.sub(r"\\(?:left|right|displaystyle|limits|big|Big|bigl|bigr)(?![a-z])", "", text)
    text = _join_thousands(text)
    text = re.sub(rf"(\\(?:{_NAMES}))\s+(?=[a-zA-Z])", rf"\1{_JOINER}", text)
    text = re.sub(r"\\(?:[,;:!]|q?quad(?![a-z])| )", " ", text)
    text = re.sub(r"\\[dtc](frac|binom)", r"\\\1", text)
    text = re.sub(r"\\(frac|binom)\s*(\d)\s*(\d)", r"\\\1{\2}{\3}", text)
    text = _REPEATING.sub(_write_repeating, text)
    text = re.sub(r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{", text)
    text = re.sub(r"(\\frac\s*\{[^{}]*\})\s*(\d)", r"\1{\2}", text)
    text = re.sub(r"\\sqrt\s*([\da-zA-Z])", r"\\sqrt{\1}", text)
    text = re.sub(r"(?<![\d.}])(\d+)\s*(\\frac\{\d+\}\{\d+\})", r"(\1+\2)", text)
    text = re.sub(r"(?<![\d./])(\d+)\s+(\d+/\d+)(?![\d/])", r"(\1+\2)", text)
    text = re.sub(r"\^\s*\{?\s*\\circ\s*\}?|\\degree|°|\\?%", "", text)
    text = re.sub(r"^\s*(?:[a-zA-Z]|[a-zA-Z]\([a-z]\))\s*(?:=|\\in\b)\s*", "", text)
    text = _HALF_DAY.sub(lambda found: f"{found[1].lower()}m", text)
    text = re.sub(r"\\(le|ge|ne)q(?:slant)?(?![a-z])", r"\\\1", text)
    text = _UNITS.sub("", re.sub(r"\s*\^\s*", "^", text))
    text = re.sub(r"_\{(\w)\}", r"_\1", text)
    return re.sub(r"\s+", "", text).rstrip(".")


def _join_thousands(text: str) -> str:
    """A text without the commas in its numbers. In brackets a comma parts members, unless others
    of the same brackets have a blank behind them.

    >>> _join_thousands("1,200"), _join_thousands("(3,331), (1,2)"), _join_thousands("(1,000, 2)")
    ('1200', '(3,331), (1,2)', '(1000, 2)')
    """
    text = re.sub(r"(?<=\d)(?:\{,\}|\\!,\\!|\\,|,\\!)(?=\d{3}(?!\d))", "", text)
    around, wide = _brackets_of_commas(text)
    joined = (
        i for i, at in around.items() if (at is None or at in wide) and _THOUSANDS.match(text, i)
    )
    left_out = {*joined}
    return "".join(sign for i, sign in enumerate(text) if i not in left_out)


def _brackets_of_commas(text: str) -> tuple[dict[int, "int | None"], set["int | None"]]:
    """For each comma the place of the bracket around it, and which brackets hold one with a blank
    behind it."""
    opened: list[int] = []
    around: dict[int, int | None] = {}
    for i, sign in enumerate(text):
        if sign in "()[]" or (sign in "{}" and text[i - 1 : i] == "\\"):
            if sign in "([{":
                opened.append(i)
            elif opened:
                opened.pop()
        elif sign == ",":
            around[i] = opened[-1] if opened else None
    return around, {at for i, at in around.items() if text[i + 1 : i + 2].isspace()}


def _write_repeating(found: re.Match[str]) -> str:
    """0.1(6) as a fraction: sixteen less one, over ninety."""
    fixed, part = (found[1] or "0") + found[2], found[3]
    over = int(fixed + part) - int(fixed)
    return rf"\frac{{{over}}}{{{'9' * len(part)}{'0' * len(found[2])}}}"


def number(text: str) -> Fraction | None:
    """The value of a plain number, fraction or mixed number, or None.

    >>> number("(2+\\\\frac{1}{3})"), number("-.5")
    (Fraction(7, 3), Fraction(-1, 2))
    """
    sign = -1 if text.startswith("-") else 1
    bare = text[1:] if text.startswith(("-", "+")) else text
    mixed = re.fullmatch(r"\((\d{1,20})\+(.+)\)", bare)
    if mixed:
        part = number(mixed[2])
        return None if part is None else sign * (int(mixed[1]) + part)
    fraction = re.fullmatch(r"\\frac\{([^{}]*)\}\{([^{}]*)\}|([^/]+)/([^/]+)", bare)
    a, b = (fraction[1] or fraction[3], fraction[2] or fraction[4]) if fraction else (bare, "1")
    if not (_PLAIN.fullmatch(a or "") and _PLAIN.fullmatch(b or "")) or Fraction(b) == 0:
        return None
    return sign * Fraction(a) / Fraction(b)


def members(text: str) -> tuple[str, list[str]]:
    """The brackets of a tuple, interval or set and what is between them; ("", []) if there
    are none, and "," for a list without brackets.

    >>> members("[1,2)"), members("1,2"), members("f(1,2)")
    (('[)', ['1', '2']), (',', ['1', '2']), ('', []))
    """
    text = text.replace("\\{", "\\lbrace").replace("\\}", "\\rbrace")
    if text.startswith("\\lbrace") and text.endswith("\\rbrace"):
        return "{}", split_list(text[len("\\lbrace") : -len("\\rbrace")])
    if text[-1:] in (")", "]") and _is_one_bracket(text):
        parts = split_list(text[1:-1])
        return (text[0] + text[-1], parts) if len(parts) > 1 else ("", [])
    if text[:1] == "{" and text[-1:] == "}" and _is_one_bracket(text) and "," in text:
        return "{}", split_list(text[1:-1])
    if text.count("\\pm") == 1:
        return ",", [text.replace("\\pm", "+").removeprefix("+"), text.replace("\\pm", "-")]
    parts = split_list(_JOINT.sub(",", text).replace(",,", ","))
    return (",", parts) if len(parts) > 1 else ("", [])


def _is_one_bracket(text: str) -> bool:
    """Whether the bracket that a text begins with closes at its end, not before."""
    depth = 0
    for i, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if depth <= 0:
            return i > 0 and i == len(text) - 1
    return False


def split_list(text: str) -> list[str]:
    """A text cut at the commas outside of all brackets."""
    parts, depth = [""], 0
    for char in text:
        depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def matrix_rows(text: str) -> list[list[str]]:
    """The entries of a text that is one matrix, by rows; [] if it is none.

    >>> matrix_rows(r"\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}")
    [['1', '2'], ['3', '4']]
    """
    found = _MATRIX.fullmatch(_AROUND.sub("", text))
    if found is None:
        return []
    rows = [row for row in re.split(r"\\\\(?:\[[^]]*\])?", found[2]) if row.strip()]
    return [[entry.strip() for entry in row.split("&")] for row in rows]


def same_expression(left: str, right: str, within: float) -> bool:
    """Whether two expressions are the same, or numbers `within` a share of each other; False for
    what cannot be parsed."""
    from sympy import simplify
    from sympy.parsing.sympy_parser import (
        convert_xor,
        implicit_multiplication_application,
        parse_expr,
        standard_transformations,
    )

    rules = (*standard_transformations, implicit_multiplication_application, convert_xor)
    try:
        a, b = (parse_expr(to_sympy(t), transformations=rules) for t in (left, right))
        if a == b or simplify(a - b) == 0:
            return True
        if a.free_symbols or b.free_symbols or not ("." in left or "." in right):
            return False
        x, y = complex(a.evalf()), complex(b.evalf())
        return abs(x - y) <= within * abs(y)
    except Exception:  # noqa: BLE001 - whatever the text made of sympy, it is not an equal answer
        return False


def to_sympy(text: str) -> str:
    """LaTeX in the notation that sympy parses; e is Euler's number and i the imaginary unit.

    >>> to_sympy("\\\\frac{1+x}{2}\\\\sqrt{3}")
    '((1+x)/(2))*sqrt(3)'
    """
    text = text.replace("\\cdot", "*").replace("\\times", "*").replace("\\div", "/")
    text = text.replace("\\pi", " pi ").replace("\\infty", " oo ")
    text = re.sub(r"\\(?:le|ge|leq|geq|lt|gt|ne|neq)\b", " ; ", text)  # no expression: not parsed
    text = re.sub(r"\|([^|]+)\|", r"Abs(\1)", text)
    for _ in range(10):
        before = text
        text = re.sub(r"\\[a-z]?frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", text)
        text = re.sub(r"\\sqrt\[([^\[\]]*)\]\{([^{}]*)\}", r"((\2)**(1/(\1)))", text)
        text = re.sub(r"\\binom\{([^{}]*)\}\{([^{}]*)\}", r" binomial((\1),(\2))", text)
        text = re.sub(r"\\sqrt\{([^{}]*)\}", r" sqrt(\1)", text)
        text = re.sub(r"\^\{([^{}]*)\}", r"**(\1)", text)
        if text == before:
            break
    text = re.sub(r"\\log_(?:\{([^{}]*)\}|\((\w+)\)|(\w))\s*", r"\\log_{\1\2\3}", text)
    text = re.sub(r"\\log_\{(\w+)\}[({]([^(){}]*)[)}]", r" log(\2,\1)", text)
    text = re.sub(r"\\log_\{(\d)\}(\w+)", r" log(\2,\1)", text)
    text = re.sub(r"\\[lr](floor|ceil)", lambda m: _BRACKETS[m[0]], text)
    text = _apply(text)
    text = re.sub(r"\\([a-zA-Z]+)", r" \1 ", text).replace("{", "(").replace("}", ")")
    text = re.sub(r"(?<![A-Za-z])e(?![A-Za-z])", " E ", text)
    text = re.sub(r"(?<![A-Za-z])i(?![A-Za-z])", " I ", text)
    text = re.sub(r"(?<=[\w)]) *(?= (?:sqrt|log|sin|cos|tan|exp|pi|E|I)\b)", "*", text)
    text = re.sub(r"\) *(?=sqrt)", ")*", text)
    return re.sub(r" +", " ", text).strip().replace("* ", "*")


def _apply(text: str) -> str:
    """A text whose functions stand before brackets: sin^2 x as (sin(x))**(2).

    >>> _apply(r"2\\sin^2x+\\cos2x")
    '2 (sin(x))**(2)+ cos(2x)'
    """
    found = _FUNCTION.search(text)
    if found is None:
        return text
    argument, rest = _argument(text[found.end() :])
    name = found[1].replace("arc", "a").replace("ln", "log")
    power = found[2] or found[3]
    if power == "-1" and name in ("sin", "cos", "tan", "sinh", "cosh", "tanh"):
        name, power = f"a{name}", None
    call = f"{name}({_apply(argument)})" if argument else name
    call = f"({call})**({power})" if power else call
    return f"{text[: found.start()]} {call}{_apply(rest)}"


def _argument(text: str) -> tuple[str, str]:
    """What a function is applied to (a bracket, root, function or factor), and what follows."""
    if _FUNCTION.match(text.lstrip()):
        return text, ""
    begin = re.match(r"\s*(?:sqrt|binomial)?(?=[({])", text)
    if begin is not None:
        depth = 0
        for i in range(begin.end(), len(text)):
            depth += (text[i] in "({") - (text[i] in ")}")
            if depth == 0:
                inner = text[: i + 1].strip()
                return inner[1:-1] if begin[0].strip() == "" else inner, text[i + 1 :]
    factor = _FACTOR.match(text)
    assert factor is not None
    return factor[0], text[factor.end() :]
