# ruff: noqa: ANN401 -- the values of a foreign program
"""The jinja2 environment in which foreign chat templates run: nothing but text, in counted work.

Input: expressions of a template, one operation at a time. Output: their values, or a TemplateError
once they exceed the budget. Every loop turn, call, operator, filter, comparison and piece of output
is paid from a budget that grows with the conversation; the size of a result is computed before
the result is made. So an endless loop, `' ' * 2000000000` or `|center(10**9)` ends with a one-line
error, on any machine at the same place, without a thread to kill.

What is not listed here (a filter, a method of a string) is refused: the lists hold what published
templates use.

Not here: reading a template and placing its special tokens (template_marks.py).
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from types import BuiltinMethodType, MethodType
from typing import Any, NoReturn, cast

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Namespace

from codling.tokens.template_budget import MAX_BITS, as_text, budget
from codling.tokens.template_filters import (
    STR_METHODS,
    bounded_filters,
    bounded_tests,
    call_str,
    check_short,
    format_length,
    format_percent,
)
from codling.tokens.template_marks import StandIns

_OF_JINJA = ("_loop_vars", "_block_vars")
"""What compiled templates pass to every call inside a loop or a block, for jinja2 itself."""
_METHODS: dict[type, frozenset[str]] = {
    str: STR_METHODS,
    dict: frozenset({"get", "items", "keys", "values", "copy"}),
    list: frozenset({"index", "count", "copy"}),
    tuple: frozenset({"index", "count"}),
    int: frozenset(),
    float: frozenset(),
    range: frozenset(),
}
"""What a template may call of each kind of value."""


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja2 under the settings of published templates, as transformers sets them."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self, marks: StandIns, now: Callable[[], datetime]) -> None:
        """`marks` stand for the template's special tokens; `now` is asked for the date."""
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            finalize=_finish,
            extensions=[loopcontrols, _GenerationTag],
        )
        self.marks = marks
        self.filters = cast(Any, bounded_filters(self, marks))
        self.tests = cast(Any, bounded_tests(self.compare_as_text))
        del self.globals["lipsum"]
        self.globals |= {
            "range": safe_range,
            "dict": partial(_construct, dict),
            "namespace": partial(_construct, _Names),
            "raise_exception": self._raise,
            "strftime_now": lambda format: now().strftime(
                check_short(marks.restore_specials(format), "format")
            ),
        }

    def concat(self, parts: Iterable[str]) -> str:
        """What a macro or a block has written."""
        texts = list(parts)
        budget().make(sum(map(len, texts)))
        return "".join(texts)

    def tick(self, n_chars: int = 0) -> bool:
        """One turn of a loop, or one call of a macro, that writes `n_chars` of its own."""
        budget().make(n_chars)
        return True

    def weigh(self, value: object) -> object:
        """A value of which a slice is taken."""
        budget().look_at(value)
        return value

    def compare_as_text(self, value: object) -> object:
        """A value that is compared: as the text that it stands for."""
        if isinstance(value, str):
            budget().look_at(value)
            return self.marks.restore_specials(value)
        budget().walk(value)
        return value

    def join_parts(self, *parts: object) -> str:
        """`a ~ b ~ c`."""
        return self.concat([as_text(p) for p in parts])

    def role_token(self, before: str, role: object, after: str) -> object:
        """A special token that the template writes around a role, such as `<|user|>`."""
        return self.marks.around(before, as_text(role), after)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """See jinja2: a key is text, whatever it looks like."""
        return super().getitem(obj, self.compare_as_text(argument))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may see this: of text, numbers and lists only what is listed."""
        for kind, names in _METHODS.items():
            if isinstance(obj, kind):
                return attr in names
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """See jinja2; with its widths and its result computed first."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def call_within_bounds(*args: Any, **kwargs: Any) -> str:
            longest = max([budget().walk(a) for a in (*args, *kwargs.values())], default=0)
            budget().make(format_length(value.__self__, longest))
            return wrapped(*args, **kwargs)

        return call_within_bounds

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """See jinja2; built-in methods only of what _METHODS lists."""
        budget().spend(1 + len(args) + len(kwargs))
        if isinstance(__obj, BuiltinMethodType):
            owner = __obj.__self__
            if isinstance(owner, str):
                own = {name: value for name, value in kwargs.items() if name not in _OF_JINJA}
                return call_str(__self.marks, owner, __obj.__name__, args, own)
            if not isinstance(owner, list | tuple | dict):
                raise SecurityError(f"{__obj.__name__} of {type(owner).__name__} is refused")
            budget().look_at(owner)
            for arg in args:
                budget().walk(arg)
        elif isinstance(__obj, MethodType) and isinstance(__obj.__self__, LoopContext):
            for arg in args:
                budget().walk(arg)
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """See jinja2; the size of the result is computed first."""
        if isinstance(left, int) and isinstance(right, int):
            budget().spend(1)
            _check_number(operator, left, right)
        elif operator == "%" and isinstance(left, str):
            return format_percent(left, right)
        elif operator == "+" and _is_sized(left) and _is_sized(right):
            _make_sized(left, len(left) + len(right))
        elif operator == "*" and (_is_sized(left) or _is_sized(right)):
            many, n = (left, right) if _is_sized(left) else (right, left)
            _make_sized(many, len(many) * n if isinstance(n, int) else 0)
        else:
            budget().spend(1)
        return super().call_binop(context, operator, left, right)

    def _raise(self, message: object) -> NoReturn:
        raise TemplateError(str(self.marks.restore_specials(as_text(message))))


def _finish(value: object) -> str:
    """What an expression writes."""
    text = as_text(value)
    budget().make(len(text))
    return text


class _GenerationTag(Extension):
    """`{% generation %}` marks what the assistant says, for training; here it is only a scope."""

    tags = {"generation"}  # noqa: RUF012 -- jinja2's own shape

    def parse(self, parser: Parser) -> nodes.Node:
        """See jinja2."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)


def _construct(kind: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A dict or a namespace of what is given."""
    for arg in args:
        budget().walk(arg)
    return kind(*args, **kwargs)


class _Names(Namespace):
    """`namespace()` without names that begin with an underscore."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise SecurityError(f"a namespace may not hold {name}")
        super().__setitem__(name, value)


def _is_sized(value: object) -> bool:
    return isinstance(value, str | list | tuple)


def _make_sized(value: object, length: int) -> None:
    budget().make(length if isinstance(value, str) else length * 16)


def _check_number(operator: str, left: int, right: int) -> None:
    bits = left.bit_length() + right.bit_length()
    if operator == "**":
        bits = left.bit_length() * max(1, right)
    if operator in ("*", "**") and bits > MAX_BITS:
        raise TemplateError("it computes with numbers that are too large")
