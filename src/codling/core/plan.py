"""What an artefact is made from, and whether unfinished work belongs to it.

Input: kind, stage version, settings, inputs. Output: the id, plan.json in an unfinished folder, and
in words what differs between two plans.

A training run may go on with another length (a field made by `recipe.length`): then the plan keeps
the lengths before. With any other difference it is different work.

Not here: the folders (artifact.py).
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from codling.core.errors import ArtifactError
from codling.core.files import write_json
from codling.core.foreign_json import read_object

PLAN = "plan.json"
_is_fresh: ContextVar[bool] = ContextVar("is_fresh", default=False)
_SHOWN = 3
"""Differences that a message names."""


@contextmanager
def fresh_start() -> Iterator[None]:
    """Within the block unfinished work is dropped and started again."""
    token = _is_fresh.set(True)
    try:
        yield
    finally:
        _is_fresh.reset(token)


def starts_fresh() -> bool:
    """Whether unfinished work is dropped: also for stages that keep some beside their folder."""
    return _is_fresh.get()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an artefact is made from."""

    kind: str
    version: int
    settings: dict[str, Any]
    """The config without what is put aside."""
    inputs: tuple[tuple[str, str], ...]
    """Kind and id of each."""
    lengths: tuple[str, ...] = ()
    """Settings that only say how long to go on."""
    earlier: tuple[dict[str, Any], ...] = ()
    """The lengths with which the work was begun, where they were different."""

    @property
    def id(self) -> str:
        """Hash of what the artefact is made from: 16 hexadecimal digits."""
        what = [self.kind, self.version, self.settings, self.inputs]
        text = json.dumps(what, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def continue_from(self, begun: "Plan") -> "Plan | None":
        """This plan for work that was begun under another one; None if it is other work."""
        if begun.id == self.id:
            return replace(self, earlier=begun.earlier)
        if self._without_length() != begun._without_length() or not self.lengths:
            return None
        before = {name: begun.settings[name] for name in self.lengths}
        return replace(self, earlier=(*begun.earlier, before))

    def differences(self, begun: "Plan") -> str:
        """What differs from the plan that the work was begun with, in words."""
        found = list(_differences(self.settings, begun.settings, ""))
        if self.version != begun.version:
            found.append("another version of the stage")
        if self.inputs != begun.inputs:
            found.append("other inputs")
        more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        return ", ".join(found[:_SHOWN] + more)

    def write(self, folder: Path) -> None:
        """Write plan.json."""
        write_json(folder / PLAN, {"id": self.id, **asdict(self)})

    def _without_length(self) -> tuple[object, ...]:
        kept = {k: v for k, v in self.settings.items() if k not in self.lengths}
        return self.kind, self.version, kept, self.inputs


def read_plan(folder: Path) -> Plan | None:
    """The plan of an unfinished folder, or None where there is none that we can read."""
    try:
        raw = read_object(folder / PLAN, ArtifactError)
        return Plan(
            kind=raw["kind"],
            version=raw["version"],
            settings=raw["settings"],
            inputs=tuple((kind, id_) for kind, id_ in raw["inputs"]),
            lengths=tuple(raw["lengths"]),
            earlier=tuple(raw["earlier"]),
        )
    except (ArtifactError, OSError, ValueError, KeyError, TypeError):
        return None


def _differences(now: Any, begun: Any, name: str) -> Iterator[str]:  # noqa: ANN401  JSON values
    if isinstance(now, dict) and isinstance(begun, dict):
        for key in sorted({*now, *begun}):
            inner = f"{name}.{key}" if name else key
            yield from _differences(now.get(key), begun.get(key), inner)
    elif now != begun:
        yield f"{name} {_shorten(now)} instead of {_shorten(begun)}"


def _shorten(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else text[:39] + "…"
