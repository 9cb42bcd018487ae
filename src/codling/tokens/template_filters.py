# ruff: noqa: ANN401 -- the values of a foreign program
"""The filters, tests and string methods that chat templates may use, each within bounds.

Input: a value and the arguments of one operation. Output: what jinja2, Python or transformers gives
for it. The size of a result is computed before the result is made. The lists hold what published
templates use; nothing else can be called.

Not here: operators, calls and attributes (template_sandbox.py).
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial, wraps
from string import Formatter
from typing import Any, cast

from jinja2 import Environment, TemplateError
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.tests import TESTS
from markupsafe import escape

from codling.tokens.template_budget import Budget, as_text, bound_parts, budget
from codling.tokens.template_marks import StandIns

_MAX_WIDTH = 1000
"""The widest field of a format, and the longest separator, in characters."""


def _names(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


STR_METHODS = _names(
    "capitalize casefold center count endswith find format format_map index isalnum isalpha "
    "isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper "
    "join ljust lower lstrip partition removeprefix removesuffix replace rfind rindex rjust "
    "rpartition rsplit rstrip split splitlines startswith strip swapcase title upper zfill"
)
_ASKS = _names("count endswith find index rfind rindex startswith")
"""Methods that only query a text: they see special tokens as their text."""


def call_str(
    marks: StandIns, text: str, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """A method of a text; what is searched for in foreign text is text, whatever it looks like."""
    if name not in STR_METHODS:
        raise SecurityError(f"the method {name} of text is not for templates")
    if name in _ASKS or name.startswith("is"):
        text = marks.restore_specials(text)
    if not marks.occur_in(text):
        searched = len(args) if name not in ("replace", "join") else 1 - (name == "join")
        args = [marks.restore_specials(a) if i < searched else a for i, a in enumerate(args)]
    if name == "join":
        args = [list(args[0]), *args[1:]]
        budget().look_at(args[0])
    budget().make(_str_length(text, name, args))
    if "split" in name or "partition" in name:
        budget().spend(len(text) // 8)
    return getattr(text, name)(*args, **kwargs)


def _str_length(text: str, name: str, args: Sequence[Any]) -> int:
    """An upper bound of the length of a string method's result."""
    if name in ("center", "ljust", "rjust", "zfill") and isinstance(args[0], int):
        return max(len(text), args[0])
    if name == "join":
        return sum(len(a) for a in args[0] if isinstance(a, str)) + len(text) * len(args[0])
    if name == "replace" and len(args) >= 2 and all(isinstance(a, str) for a in args[:2]):
        return len(text) + text.count(args[0]) * len(args[1])
    return 3 * len(text)  # upper() may write three characters for one


_PERCENT = re.compile(r"%(?:\([^)]*\))?[#0\- +]*([\d*]*)(?:\.([\d*]+))?[hlL]?.", re.DOTALL)


def format_percent(text: str, values: object) -> str:
    """`text % values`, within bounds."""
    specs = _PERCENT.findall(text)
    for digits in (d for spec in specs for d in spec if d):
        if "*" in digits or int(digits[:9]) > _MAX_WIDTH:
            raise TemplateError("it formats a field that is too wide")
    budget().make(len(text) + len(specs) * (budget().walk(values) + 2 * _MAX_WIDTH))
    return text % values


def format_length(text: str, longest: int) -> int:
    """An upper bound of the length of `text.format(...)`; `longest`: characters of an argument."""
    n_fields = 0
    for _, field, spec, _ in Formatter().parse(text):
        if field is None:
            continue
        n_fields += 1
        widths = re.findall(r"\d+", spec or "")
        if "{" in (spec or "") or any(int(width[:9]) > _MAX_WIDTH for width in widths):
            raise TemplateError("it formats a field that is too wide")
    return len(text) + n_fields * (longest + 2 * _MAX_WIDTH)


def check_short(text: object, what: str) -> str:
    """A text that may not be long, such as a format of dates."""
    if not isinstance(text, str) or len(text) > _MAX_WIDTH:
        raise TemplateError(f"it uses a {what} of more than {_MAX_WIDTH} characters")
    return text


_LOOKS = _names(
    "abs attr capitalize default first float int items last list lower map reject rejectattr "
    "reverse select selectattr title trim upper"
)
"""Filters of jinja2 that pass once over the top level of what they get."""
_WALKS = _names("dictsort groupby max min sort unique")
"""Filters of jinja2 that compare everything in what they get."""
_SHALLOW_TESTS = _names(
    "boolean callable defined divisibleby even false filter float integer iterable lower mapping "
    "none number odd sequence string test true undefined upper"
)


def bounded_filters(environment: Environment, marks: StandIns) -> dict[str, Callable[..., Any]]:
    """The filters by name."""

    def length(value: Any) -> int:
        budget().look_at(value)
        return len(marks.restore_specials(value))

    def replace(value: object, old: object, new: object, count: int = -1) -> str:
        args = [as_text(old), as_text(new), count]
        return cast(str, call_str(marks, as_text(value), "replace", args, {}))

    own: dict[str, Callable[..., Any]] = {
        "center": _center,
        "count": length,
        "escape": lambda value: str(escape(as_text(value))),
        "format": lambda value, *args, **kwargs: format_percent(as_text(value), kwargs or args),
        "indent": _indent,
        "join": partial(_join, environment),
        "length": length,
        "replace": replace,
        "round": _round,
        "safe": as_text,
        "string": as_text,
        "sum": partial(_sum, environment),
        "tojson": _json,
    }
    own |= {n: _bound_filter(FILTERS[n], Budget.look_at) for n in _LOOKS}
    own |= {n: _bound_filter(FILTERS[n], Budget.walk) for n in _WALKS}
    return own | {"e": own["escape"], "d": own["default"]}


def _center(value: object, width: int = 80) -> str:
    text = as_text(value)
    budget().make(max(len(text), width))
    return text.center(width)


def _indent(value: object, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    text = as_text(value)
    lead = check_short(
        width if isinstance(width, str) else " " * min(width, 2 * _MAX_WIDTH), "width"
    )
    lines = text.splitlines(keepends=True)
    budget().make(len(text) + len(lead) * (len(lines) + 1))
    return "".join(
        lead + line if (first if i == 0 else blank or line.strip()) else line
        for i, line in enumerate(lines)
    )


def _join(
    environment: Environment, value: Iterable[Any], d: object = "", attribute: str | None = None
) -> str:
    texts = [as_text(item) for item in _attributes(environment, value, attribute)]
    between = as_text(d)
    budget().make(sum(map(len, texts)) + len(between) * len(texts))
    return between.join(texts)


def _sum(
    environment: Environment, value: Iterable[Any], attribute: str | None = None, start: Any = 0
) -> Any:
    items = [start, *_attributes(environment, value, attribute)]
    if not all(isinstance(item, int | float) for item in items):
        raise TemplateError("it sums what is not a number")
    return sum(items)


def _attributes(
    environment: Environment, values: Iterable[Any], attribute: str | None
) -> list[Any]:
    items = list(values)
    budget().look_at(items)
    if attribute is None:
        return items
    return [environment.getitem(item, attribute) for item in items]


def _round(value: float, precision: int = 0, method: str = "common") -> float:
    if not -20 <= precision <= 20:
        raise TemplateError("it rounds to more than 20 digits")
    return float(cast(Any, FILTERS["round"](value, precision, cast(Any, method))))


def _bound_filter(
    function: Callable[..., Any], pay: Callable[[Budget, object], object]
) -> Callable[..., Any]:
    at = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def call_within_bounds(*args: Any, **kwargs: Any) -> Any:
        value = args[at]
        if pay is Budget.walk and isinstance(value, Iterator):
            value = list(value)
        pay(budget(), value)
        for arg in (*args[at + 1 :], *kwargs.values()):
            budget().walk(arg)
        result = function(*args[:at], value, *args[at + 1 :], **kwargs)
        return _count_items(result) if isinstance(result, Iterator) else result

    return call_within_bounds


def _count_items(values: Iterator[Any]) -> Iterator[Any]:
    for value in values:
        budget().spend(1)
        yield value


def bounded_tests(compare_as_text: Callable[[object], object]) -> dict[str, Callable[..., bool]]:
    """The tests by name; what they compare goes through `compare_as_text` first."""
    return {
        name: _bound_test(name, cast(Any, test), compare_as_text) for name, test in TESTS.items()
    }


def _bound_test(
    name: str, function: Callable[..., bool], compare_as_text: Callable[[object], object]
) -> Callable[..., bool]:
    at = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def call_within_bounds(*args: Any, **kwargs: Any) -> bool:
        budget().spend(1)
        if name in _SHALLOW_TESTS:
            return function(*args, **kwargs)
        return function(*args[:at], *map(compare_as_text, args[at:]), **kwargs)

    return call_within_bounds


def _json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: Sequence[str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as transformers' filter writes it; jinja2's own would escape it for HTML."""
    width = indent if isinstance(indent, int) else len(indent or "")
    if width > 32 or any(len(s) > 32 for s in separators or ()):
        raise TemplateError("it writes JSON with more than 32 characters between its parts")
    encoder = json.JSONEncoder(
        ensure_ascii=False,
        indent=indent,
        separators=None if separators is None else cast(Any, tuple(separators)),
        sort_keys=sort_keys,
    )
    budget().make(2 * budget().walk(value))
    if indent is None:
        text = encoder.encode(value)
    else:
        text = "".join(bound_parts(encoder.iterencode(value)))
    if not ensure_ascii:
        return text
    # Surrogates stand for special tokens and stay (template_marks.py).
    return re.sub(r"[^\x00-\x7f\ud800-\udfff]", lambda m: json.dumps(m[0])[1:-1], text)
