"""The settings of a config class as flags: their spelling, documentation and defaults.

Input: a frozen dataclass, perhaps with others inside. Output: one `Setting` for each of its
fields, and texts about settings with the flags in place of the fields' names: a docstring says
`drop_factor` and an error says max_tokens, where a user of the command line has
--schedule.drop-factor and --max-tokens.

Not here: the parsing of a command line (cli.py), and values from recipes (recipe.py).
"""

import ast
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Union, get_args, get_origin

from codling.core.recipe import default_of

UNSHOWN = (MISSING, None, (), "")
"""Defaults that say nothing; the documentation says what happens then."""


@dataclass(frozen=True)
class Setting:
    """One field of a config class, or of one that it holds."""

    path: str
    """Its name, after the names of the fields that hold it: `optimizer.betas`."""
    hint: Any
    documentation: str
    default: object
    required: bool

    @property
    def flag(self) -> str:
        """How the command line spells it: --optimizer.betas."""
        return f"--{self.path.replace('_', '-')}"

    @property
    def default_text(self) -> str:
        """The default in words, empty if it says nothing."""
        if any(self.default is each or self.default == each for each in UNSHOWN):
            return ""
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        many = isinstance(self.default, tuple)
        return " ".join(map(str, self.default)) if many else str(self.default)  # type: ignore[call-overload]


def settings_of(config_class: type, prefix: str = "", preset: object = None) -> list[Setting]:
    """Every setting, those of the configs inside in place of the fields that hold them.

    A config's own stand before those that it shares with others. Defaults are those of `preset`, an
    instance of the class, where there is one: a stage may have its own of a config inside.
    """
    hints = typing.get_type_hints(config_class)
    documentation = _attribute_docs(config_class)
    found: list[Setting] = []
    own = inspect.get_annotations(config_class)
    for each in sorted(fields(config_class), key=lambda field: field.name not in own):
        inner = _dataclass_in(hints[each.name])
        if inner is not None:
            inside = default_of(each) if preset is None else getattr(preset, each.name)
            found += settings_of(
                inner, f"{prefix}{each.name}.", inside if isinstance(inside, inner) else None
            )
            continue
        required = each.default is MISSING and each.default_factory is MISSING
        text = documentation.get(each.name, "")
        default = each.default if preset is None else getattr(preset, each.name)
        found.append(
            Setting(prefix + each.name, hints[each.name], text, default, required=required)
        )
    return found


def spell_flags(settings: Iterable[Setting], positional: str | None) -> dict[str, str]:
    """Each name, and its last part -> its flag; the positional one is written as usage lines do."""
    flags: dict[str, str] = {}
    for each in sorted(settings, key=lambda setting: setting.path.count(".")):
        flag = each.path.upper() if each.path == positional else each.flag
        # Of two with the same last name the outer one is meant.
        flags.setdefault(each.path.rpartition(".")[2], flag)
        flags[each.path] = flag
    return flags


def name_flags(text: str, flags: dict[str, str]) -> str:
    """A text about settings with their flags: fields' names in backticks, or with an underscore.

    >>> name_flags("max_tokens or `seed`", {"max_tokens": "--max-tokens", "seed": "--seed"})
    '--max-tokens or --seed'
    """

    def flag(found: re.Match[str]) -> str:
        quoted, bare = found.groups()
        named = flags.get(quoted or bare)
        return named if named and (quoted or "_" in bare) else found[0]

    return re.sub(r"`(\w+)`|(?<![\w./'\"-])([a-z]\w*)(?![\w/'\"=-]|\.\w)", flag, text)


def name_flags_in_error(line: str, flags: dict[str, str]) -> str:
    """As `name_flags`, and a plain name where the message begins with it: `minutes is -1`."""
    line = re.sub(
        r"^((?:[\w -]+: )?)([a-z][\w.]*)(?= (?:is|must|needs)\b)",
        lambda found: found[1] + flags.get(found[2], found[2]),
        line,
    )
    return name_flags(line, flags)


def missing_flags(config_class: type, given: Iterable[str], positional: str | None) -> str:
    """Which required settings are missing, in words; empty if none are."""
    settings = [s for s in settings_of(config_class) if s.required and s.path not in set(given)]
    names: Sequence[str] = list(spell_flags(settings, positional).values())
    if not names:
        return ""
    *first, last = names
    return f"{', '.join(first)} and {last} are missing" if first else f"{last} is missing"


def _dataclass_in(hint: object) -> type | None:
    """The dataclass that a field holds, also where it is optional."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return next((o for o in options if isinstance(o, type) and is_dataclass(o)), None)


def _attribute_docs(config_class: type) -> dict[str, str]:
    """The strings under the fields of a dataclass and of those that it extends."""
    docs: dict[str, str] = {}
    for each in reversed(config_class.__mro__):
        if is_dataclass(each):
            docs |= _own_attribute_docs(each)
    return docs


@cache
def _own_attribute_docs(config_class: type) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(config_class))).body[0]
    assert isinstance(tree, ast.ClassDef)
    docs: dict[str, str] = {}
    for field, after in pairwise(tree.body):
        if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr):
            value = after.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                assert isinstance(field.target, ast.Name)
                docs[field.target.id] = " ".join(value.value.split())
    return docs
