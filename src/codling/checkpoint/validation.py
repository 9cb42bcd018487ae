"""Settings that others wrote, read one by one with their type and range.

Input: the parsed contents of a config.json, or the metadata of a GGUF file. Output: numbers that a
model can be built from. A setting that is absent or null takes its default; one of the wrong type
or out of range is a CheckpointError that names file, setting and value.

Not here: which settings there are (settings.py, gguf.py), and whether the weights fit (load.py).
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any, NoReturn

from codling.core.errors import CheckpointError

_SHOWN = 60


class Settings:
    """One table of settings; `where` names the file, `prefix` stands before every key."""

    def __init__(self, values: Mapping[str, Any], where: str, prefix: str = "") -> None:
        self.values, self.where, self.prefix = values, where, prefix

    def get(self, key: str) -> Any:  # noqa: ANN401 -- of any type
        """The value unchanged, None where there is none."""
        return self.values.get(self.prefix + key)

    def read_integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number from `low` to `high`; without a default it must be there."""
        value = self.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int):
            self.refuse(key, "must be a whole number")
        if not low <= value <= high:
            self.refuse(key, f"must be from {low:,} to {high:,}")
        return value

    def read_optional_integer(self, key: str, low: int, high: int) -> int | None:
        """The same, or None where the setting is absent."""
        return None if self.get(key) is None else self.read_integer(key, low, high)

    def read_number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """A finite number from `low` to `high`; without a default it must be there."""
        value = self.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.refuse(key, "must be a number")
        if not (low <= value <= high and isfinite(value)):
            self.refuse(key, f"must be from {low:g} to {high:g}")
        return float(value)

    def read_flag(self, key: str, default: bool = False) -> bool:
        """True or false."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.refuse(key, "must be true or false")
        return value

    def read_text(self, key: str, default: str) -> str:
        """A string."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            self.refuse(key, "must be a string")
        return value

    def read_table(self, key: str) -> "Settings":
        """The settings inside a setting; none where it is absent."""
        value = self.get(key)
        if not isinstance(value, Mapping | None):
            self.refuse(key, "must be an object")
        return Settings(value or {}, f"{self.where}: {key}")

    def check_token_id(self, key: str, n_tokens: int, *, none: tuple[int, ...] = ()) -> None:
        """Refuse ids that no token has; `none` lists the numbers that stand for no token."""
        value = self.get(key)
        for each in value if isinstance(value, list) else [value]:
            if each is None or each in none:
                continue
            if isinstance(each, bool) or not isinstance(each, int) or not 0 <= each < n_tokens:
                self.refuse(key, f"must be ids from 0 to {n_tokens - 1:,}")

    def refuse(self, key: str, rule: str) -> NoReturn:
        """Raise CheckpointError: the setting breaks `rule`."""
        shown = repr(self.get(key))
        shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
        raise CheckpointError(f"{self.where}: {self.prefix}{key} is {shown}, but {rule}")
