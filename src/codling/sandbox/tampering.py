"""Answers that reach for the tests instead of solving the problem.

Input: a language and the text of an answer. Output: the first thing in it that no solution needs
and a forged verdict does, or "". It is a list of names (tampering.toml), so it is not a complete
defence: what it misses is said in docs/evaluation.md, language by language. Only strict verdicts
ask it.

Not here: what the sandbox itself holds (inside/notary.py, runners/).
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from codling.core.packaged import packaged_table


@dataclass(frozen=True)
class Signs:
    """tampering.toml."""

    names: frozenset[str]
    modules: frozenset[str]
    by_name: frozenset[str]
    free_to_set: frozenset[str]
    comparisons: frozenset[str]
    patterns: dict[str, re.Pattern[str]]
    """By language."""
    idioms: re.Pattern[str]
    awk: re.Pattern[str]
    awk_in: frozenset[str]

    @property
    def told(self) -> frozenset[str]:
        """Strings that are names for getattr or __import__."""
        return (self.names | self.modules | {"__builtins__"}) - {"mock", "inside", "__main__"}


@cache
def signs() -> Signs:
    """The table, read at the first strict verdict."""
    return read_signs(packaged_table("codling.sandbox", "tampering.toml"))


def read_signs(table: Mapping[str, Any]) -> Signs:
    """A table as tampering.toml has it; ValueError names a wrong row."""
    text, patterns = table["text"], dict(table["patterns"])
    for language, other in table["like"].items():
        if other not in patterns:
            raise ValueError(f"tampering.toml, {language}: there is no language {other}")
        patterns[language] = patterns[other]
    own_files = _join(text["own_files"])
    try:
        compiled = {
            language: re.compile(f"{_join(pattern)}|{own_files}", re.M)
            for language, pattern in patterns.items()
        }
    except re.error as error:
        raise ValueError(f"tampering.toml: no regular expression: {error}") from None
    return Signs(
        patterns=compiled,
        idioms=re.compile(_join(text["idioms"])),
        awk=re.compile(text["awk"]),
        awk_in=frozenset(text["awk_in"]),
        **{name: frozenset(words) for name, words in table["python"].items()},
    )


def _join(pattern: str | list[str]) -> str:
    return pattern if isinstance(pattern, str) else "|".join(pattern)


def find_tampering(language: str, answer: str) -> str:
    """What `answer` uses that a solution does not need; "" if nothing is found.

    >>> find_tampering("python", "import sys\\nsys._getframe(1)")
    '_getframe'
    """
    if search := _BY_SYNTAX_TREE.get(language):
        return next(search(answer), "")
    answer = signs().idioms.sub("", answer)
    if language in signs().awk_in:
        answer = signs().awk.sub(lambda call: _without_lines(call[0]), answer)
    pattern = signs().patterns.get(language)
    found = pattern.search(answer) if pattern else None
    return " ".join(found[0].split()) if found else ""


def _without_lines(call: str) -> str:
    """A call of awk without its program's $0, which bash does not replace between these quotes or
    after a backslash."""
    quoted = re.sub(r"'[^']*'", lambda part: part[0].replace("$0", ""), call)
    return quoted.replace("\\$0", "")


def _find_in_python(answer: str) -> Iterator[str]:
    try:
        tree = ast.parse(answer)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # running it reports the syntax error
    nodes = list(ast.walk(tree))
    imports = [node for node in nodes if isinstance(node, ast.Import)]
    modules = {(a.asname or a.name).split(".")[0] for node in imports for a in node.names}
    told = signs().told if _asks_by_name(nodes, modules) else signs().told - signs().modules
    alone = signs().names | {"__builtins__"}
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _import(node)
        elif isinstance(node, ast.Attribute):
            yield from _attribute(node, modules)
        elif isinstance(node, ast.Name) and node.id in alone:
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from [node.value] if node.value in told or "/proc/" in node.value else []
        elif isinstance(node, ast.Call):
            yield from _set_by_name(node, modules)
        elif isinstance(node, ast.FunctionDef | ast.Assign):
            yield from _find_always_true(node)


def _asks_by_name(nodes: list[ast.AST], modules: set[str]) -> bool:
    """Whether a string may be the name of a module here, and is not just a word."""
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    froms = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    return bool(names & signs().by_name or {"importlib", "sys"} & (modules | froms))


def _set_by_name(node: ast.Call, modules: set[str]) -> Iterator[str]:
    """`setattr` of a module."""
    said = [each.id for each in (node.func, *node.args[:1]) if isinstance(each, ast.Name)]
    if said[:1] == ["setattr"] and modules & set(said[1:]):
        yield f"setattr of {said[1]}"


def _import(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    names = [alias.name for alias in node.names]
    names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    yield from (name for name in names if signs().modules & set(name.split(".")))


def _attribute(node: ast.Attribute, modules: set[str]) -> Iterator[str]:
    if node.attr in signs().names:
        yield node.attr
    owner = node.value.id if isinstance(node.value, ast.Name) else ""
    if owner == "sys" and node.attr == "modules":
        yield "sys.modules"
    is_set = isinstance(node.ctx, ast.Store) and owner in modules
    if is_set and node.attr not in signs().free_to_set:
        yield f"{owner}.{node.attr} replaced"


def _find_always_true(node: ast.FunctionDef | ast.Assign) -> Iterator[str]:
    """A comparison that is true of anything."""
    if isinstance(node, ast.FunctionDef):
        names = [node.name]
        said = [each.value for each in ast.walk(node) if isinstance(each, ast.Return)]
    else:
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        said = [node.value.body] if isinstance(node.value, ast.Lambda) else []
    always = said and all(isinstance(v, ast.Constant) and v.value is True for v in said)
    found = signs().comparisons.intersection(names) if always else ()
    yield from (f"{name} that is always true" for name in names if name in found)


_BY_SYNTAX_TREE: dict[str, Callable[[str], Iterator[str]]] = {"python": _find_in_python}
"""Languages whose answers are parsed; those of the others are searched by patterns."""
