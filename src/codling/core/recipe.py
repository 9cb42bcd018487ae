"""Recipes: TOML files with one table per stage, read into the stages' typed configs.

Input: a recipe's path, a table name, a config class. Output: a frozen config. Later wins: default,
then recipe, then command-line flag (the flags are cli.py's work). An unknown key is an error that
names the key, the file and the nearest valid key. Nothing writes back into a config.

Not here: what the settings mean (each stage's config).
"""

import difflib
import math
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from codling.core.errors import ConfigError
from codling.core.foreign_files import read_text
from codling.core.packaged import packaged_dir
from codling.core.ranges import check_ranges, ranged_fields

Config = TypeVar("Config")
_MAX_RECIPE_BYTES = 1_000_000


def aside(  # what dataclasses.field returns has no useful type either
    default: object = MISSING, *, factory: Callable[[], object] | None = None
) -> Any:  # noqa: ANN401
    """A config field that says where or how fast, not what: it does not enter the artefact's id."""
    if factory is not None:
        return field(default_factory=factory, metadata={"aside": True})
    if default is not MISSING:
        return field(default=default, metadata={"aside": True})
    return field(metadata={"aside": True})


def length(default: object) -> Any:  # noqa: ANN401  as dataclasses.field
    """A config field that only says how long to go on: unfinished work goes on with another one."""
    return field(default=default, metadata={"length": True})


def config_class(stage: Callable[..., object]) -> type[Any]:
    """The class of a stage's one parameter, its config."""
    hints = typing.get_type_hints(stage)
    hints.pop("return", None)
    (found,) = hints.values()
    assert isinstance(found, type)
    assert is_dataclass(found)
    return found


def read_recipe(path: Path) -> dict[str, Any]:
    """The tables of a TOML recipe; ConfigError names the file and the line that does not parse.

    A plain name that is not a file here, such as `tiny`, is a recipe that comes with codling.
    """
    found = find_recipe(path)
    if found is None:
        raise ConfigError(explain_no_recipe(path))
    path = found
    try:
        return tomllib.loads(_read(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def find_recipe(path: Path) -> Path | None:
    """The file of a recipe, or of one that comes with codling; None if there is neither."""
    ours = packaged_dir("recipes") / f"{name_recipe(path)}.toml"
    if path.name == str(path) and not path.is_file() and ours.is_file():
        return ours
    return path if path.exists() else None


def name_recipe(path: Path) -> str:
    """A recipe's name: its file's without the ending. A point may be part of it.

    >>> name_recipe(Path("mine/6.7b.toml")), name_recipe(Path("6.7b"))
    ('6.7b', '6.7b')
    """
    return path.name.removesuffix(".toml")


def explain_no_recipe(path: Path) -> str:
    """The message for a recipe that `find_recipe` does not find, with those that are there."""
    names = sorted(name_recipe(each) for each in packaged_dir("recipes").glob("*.toml"))
    return f"no recipe at {path}; codling comes with {', '.join(names)}"


def _read(path: Path) -> str:
    # Windows editors begin a file with a byte-order mark.
    return read_text(path, ConfigError, max_bytes=_MAX_RECIPE_BYTES, encoding="utf-8-sig")


def build(cls: type[Config], values: Mapping[str, Any], where: str) -> Config:
    """An instance of dataclass `cls` from plain values; `where` names their origin in messages.

    Nested dataclasses take nested mappings; their `where` ends in the field's name and a point.
    Raises ConfigError for an unknown key, a missing one, or a value of the wrong type or out of its
    range.
    """
    made = build_partial(cls, values, where)
    for each in fields(cls):  # type: ignore[arg-type]
        if each.name not in made and each.default is MISSING and each.default_factory is MISSING:
            raise ConfigError(f"{where.rstrip('.')}: {each.name.replace('_', '-')} is missing")
    return cls(**made)


def build_partial(cls: type, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The checked and converted fields that `values` sets; fields may still be missing."""
    assert is_dataclass(cls)
    if not isinstance(values, Mapping):  # from a recipe anything may come
        raise ConfigError(f"{where.rstrip('.')} must be a table of settings, not {values!r}")
    hints = typing.get_type_hints(cls)
    ranged = ranged_fields(cls)
    known = {f.name: f for f in fields(cls)}
    made: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in known:
            raise ConfigError(
                explain_former_name(cls, key, where)
                or explain_unknown_key(key, known, where.rstrip("."))
            )
        label = f"{where}{key}" if where.endswith(".") else f"{where}: {key}"
        if name in made:
            raise ConfigError(f"{label} is set twice, with - and with _ in its name; leave one out")
        preset = default_of(known[name])
        if is_dataclass(preset) and not isinstance(preset, type) and isinstance(value, Mapping):
            # What is not set stays as this stage has it, not as the inner class does elsewhere.
            made[name] = replace(preset, **build_partial(type(preset), value, f"{label}."))
        else:
            made[name] = _convert(hints[name], value, label)
        if name in ranged:
            check_ranges(ranged[name], made[name], label)
    return made


def default_of(setting: Field[Any]) -> object:
    """The value of a field that is not set; MISSING if it must be."""
    if setting.default_factory is not MISSING:
        return setting.default_factory()
    return setting.default


def explain_former_name(cls: type, key: str, where: str) -> str | None:
    """The message for a setting's (or --flag's) former name, which its class keeps in RENAMED."""
    former: Mapping[str, str] = getattr(cls, "RENAMED", {})
    dashes = "--" if key.startswith("--") else ""
    now = former.get(key.removeprefix("--").replace("-", "_"))
    return f"{where}: {key} is now called {dashes}{now.replace('_', '-')}" if now else None


def check_tables(recipe: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Raise ConfigError unless every table of the recipe is that of a known stage."""
    for table, values in recipe.items():
        if table not in known:
            raise ConfigError(explain_unknown_key(table, known, where))
        if not isinstance(values, Mapping):
            raise ConfigError(f"{where}: {table} must be a table, written [{table}]")


def explain_unknown_key(key: str, known: Iterable[str], where: str, what: str = "key") -> str:
    """The message for an unknown key, with the nearest valid one.

    >>> explain_unknown_key("learning_rte", ["learning_rate", "seed"], "tiny.toml [pretrain]")
    'tiny.toml [pretrain]: unknown key learning_rte; did you mean learning_rate?'
    """
    names = sorted(known)
    near = difflib.get_close_matches(key.replace("-", "_"), names, n=1, cutoff=0.5)
    cure = f"did you mean {near[0]}?" if near else f"valid {what}s: {', '.join(names)}"
    return f"{where}: unknown {what} {key}; {cure}"


def _convert(hint: object, value: object, where: str) -> object:
    origin, choices = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(choices, value, where)
    if origin is Literal:
        if value not in choices:
            raise ConfigError(f"{where} is {value!r}; choose one of {', '.join(map(str, choices))}")
        return value
    if origin is tuple and isinstance(value, (list, tuple, str, Path)):
        # One name alone is a list of one.
        values = value if isinstance(value, (list, tuple)) else (value,)
        return _convert_tuple(choices, values, where)
    if origin is dict and isinstance(value, Mapping):
        return {str(k): _convert(choices[1], v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, Mapping):
        return build(hint, value, f"{where}.")
    return _convert_scalar(hint, value, where)


def _convert_tuple(
    choices: tuple[object, ...], values: Sequence[object], where: str
) -> tuple[object, ...]:
    if len(choices) == 2 and choices[1] is Ellipsis:
        choices = (choices[0],) * len(values)
    if len(choices) != len(values):
        raise ConfigError(f"{where} needs {len(choices)} values, not {len(values)}")
    return tuple(_convert(c, v, where) for c, v in zip(choices, values, strict=True))


def _convert_union(choices: tuple[object, ...], value: object, where: str) -> object:
    if value is None and type(None) in choices:
        return None
    refused: ConfigError | None = None
    for choice in choices:
        if choice is type(None):
            continue
        try:
            return _convert(choice, value, where)
        except ConfigError as error:
            # What is wrong with a number is said by the numbers, which stand before the words.
            is_number = isinstance(value, int | float)
            refused = refused if refused and is_number else error
    assert refused is not None
    raise refused


def _convert_scalar(hint: object, value: object, where: str) -> object:
    if hint is Path and isinstance(value, (str, Path)):
        if any(not c.isprintable() for c in str(value) if c < "\xa0"):
            raise ConfigError(
                f"{where} is {str(value)!r}; a path without control characters is needed"
            )
        return Path(value)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        # Settings are amounts: every comparison with nan is false, and inf never ends.
        if not math.isfinite(value):
            raise ConfigError(f"{where} is {value}; a finite number is needed")
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint):
        if hint is int and isinstance(value, bool):
            raise ConfigError(f"{where} must be int, not {value!r}")
        return value
    raise ConfigError(f"{where} must be {_name_type(hint)}, not {value!r}")


def _name_type(hint: object) -> str:
    """A type in the words of a recipe, where it has others."""
    if is_dataclass(hint):
        return "a table of settings"
    if get_origin(hint) in (tuple, list):
        return "a list"
    return "a table" if get_origin(hint) is dict else getattr(hint, "__name__", str(hint))
