"""The ranges of settings: every number of a config says where it must lie, in its type.

    rank: Annotated[int, Range(1, 65_536)] = 16

Input: a config, made from a recipe, flags or Python. Output: nothing, or a ConfigError that names
the setting, its value and its range. A config is made of `Ranged`, which looks at its numbers
before anything is derived from them.

Not here: types and unknown names (recipe.py), and what one setting asks of another (each config).
"""

import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, get_args, get_origin

from codling.core.errors import ConfigError


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included unless said otherwise.

    >>> str(Range(0, 1, above=True)), str(Range(0, 65_535)), str(Range(0, 1, below=True))
    ('above 0 and up to 1', 'from 0 up to 65,535', 'from 0 and below 1')
    """

    low: float
    high: float
    above: bool = False
    """Without `low` itself."""
    below: bool = False
    """Without `high` itself."""
    why: str = ""
    """What a number outside would break, if that is not plain."""

    def __contains__(self, value: float) -> bool:
        # Written so that nan, which no comparison holds for, lies outside.
        is_high_enough = value > self.low if self.above else value >= self.low
        return is_high_enough and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        low = f"{'above' if self.above else 'from'} {_show(self.low)}"
        high = f"{'below' if self.below else 'up to'} {_show(self.high)}"
        joint = " and " if self.above or self.below else " "
        why = f" ({self.why})" if self.why else ""
        return f"{low}{joint}{high}{why}"


_MANY = 10**15
"""More than anybody has, and far below where whole numbers of 64 bits end."""
_MAX_WORKERS = 4096
_MAX_SECONDS = 366 * 86_400.0

Share = Annotated[float, Range(0, 1)]
PositiveShare = Annotated[float, Range(0, 1, above=True)]
ProperShare = Annotated[float, Range(0, 1, below=True)]
"""Not all of it."""
InnerShare = Annotated[float, Range(0, 1, above=True, below=True)]
"""Neither nothing nor all."""
_BOUNDLESS = 1e12
"""Above what anybody sets: a clip norm far above all gradients is how nothing is clipped."""
Strength = Annotated[float, Range(0, _BOUNDLESS)]
PositiveStrength = Annotated[float, Range(0, _BOUNDLESS, above=True)]
Count = Annotated[int, Range(1, _MANY)]
CountFromZero = Annotated[int, Range(0, _MANY)]
"""0 where none is meant too, or stands for another number."""
Temperature = Annotated[float, Range(0, 100)]
Seed = Annotated[int, Range(0, 2**63 - 1)]
Workers = Annotated[int, Range(1, _MAX_WORKERS)]
WorkersFromZero = Annotated[int, Range(0, _MAX_WORKERS)]
Minutes = Annotated[float, Range(0, _MAX_SECONDS / 60, above=True)]
Seconds = Annotated[float, Range(0, _MAX_SECONDS, above=True)]
SecondsFromZero = Annotated[float, Range(0, _MAX_SECONDS)]
Batch = Annotated[int, Range(1, 65_536)]
MAX_CONTEXT = 1 << 24
Context = Annotated[int, Range(16, MAX_CONTEXT, why="tokens")]
ContextLength = Annotated[int, Range(1, MAX_CONTEXT, why="tokens")]
"""Of one request; a prompt and its answer may be short."""


class Ranged:
    """What every config is made of: its numbers lie in the ranges of their types.

    A config that has relations to check as well calls this first.
    """

    def __post_init__(self) -> None:
        """Raise ConfigError for a number out of its range."""
        made: type = type(self)
        for name, hint in ranged_fields(made).items():
            check_ranges(hint, getattr(self, name), name)


def check_ranges(hint: object, value: object, name: str) -> None:
    """Raise ConfigError, with the setting's `name`, unless all numbers in `value` lie within the
    ranges of `hint`."""
    for where, number, bounds in _numbers(hint, value, name):
        if number not in bounds:
            shown = f"{number:,}" if isinstance(number, int) else f"{number:g}"
            raise ConfigError(f"{where} is {shown}; choose a number {bounds}")


def check_order(config: object, least: str, most: str) -> None:
    """Raise ConfigError if the setting `least` is greater than the setting `most`."""
    low, high = getattr(config, least), getattr(config, most)
    if low > high:
        raise ConfigError(f"{least} is {low:,} and {most} {high:,}; {least} may not be greater")


@cache
def ranged_fields(config_class: type) -> dict[str, Any]:
    """The fields whose types hold ranges, with these types."""
    hints = typing.get_type_hints(config_class, include_extras=True)
    found = {each.name: hints[each.name] for each in fields(config_class)}
    return {name: hint for name, hint in found.items() if any(find_ranges(hint))}


def find_ranges(hint: object) -> Iterator[Range]:
    """The ranges in a type, also inside of tuples, tables and options."""
    if isinstance(hint, Range):
        yield hint
    for part in get_args(hint):
        yield from find_ranges(part)


def _numbers(hint: object, value: object, name: str) -> Iterator[tuple[str, float, Range]]:
    """Every number in `value` with its name and range."""
    if value is None:
        return
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        # A word such as "auto" is another option of the same setting.
        if isinstance(value, int | float):
            yield from ((name, value, each) for each in inner[1:] if isinstance(each, Range))
    elif origin is dict and isinstance(value, Mapping):
        for key, each in value.items():
            yield from _numbers(inner[1], each, f"{name}.{key}")
    elif origin is tuple and isinstance(value, tuple):
        for each in value:
            yield from _numbers(inner[0], each, name)
    else:
        for option in inner:
            yield from _numbers(option, value, name)


def _show(bound: float) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:,g}"
