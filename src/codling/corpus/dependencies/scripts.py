"""Files that name each other by path: Ruby's `require`, the shell's `source`, PHP's `include`.

Input: the paths of a repository's files, and the text of one. Output: the paths it loads. A name is
looked for beside the file, then as the end of any path, the nearest first; what precedes it
as a variable or a call (`$DIR/x.sh`, `__DIR__ . '/x.php'`) is skipped.

Not here: Ruby's constants that a framework loads by name, and names put together at run time.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from codling.corpus import paths

_RUBY = re.compile(
    r"^\s*(?:(require_relative)|require|load|autoload\s*\(?\s*:\w+\s*,)\s*\(?\s*[\"']([^\"'#\n]+)[\"']",
    re.MULTILINE,
)
_SHELL = re.compile(
    r"(?:^|[;&|{(]|\bthen|\bdo|\belse)[ \t]*(?:source|\.)[ \t]+"
    r"((?:\$\([^)\n]*\)|[^\s;&|<>])+)",
    re.MULTILINE,
)
_PHP = re.compile(
    r"\b(?:require|include)(?:_once)?\b\s*\(?\s*([^;\n]*?)[\"']([^\"'\n]+\.(?:php|inc))[\"']"
)
_VARIABLE = re.compile(r"^.*(?:\$\{?\w+\}?|\)|`)(?=/)")


class RubyResolver:
    """Finds the files of one repository that a Ruby file requires."""

    def __init__(self, files: Sequence[str], _read: Callable[[str], str]) -> None:
        self._places = _Places(files)

    def targets(self, path: str, text: str) -> Iterator[str]:
        """The paths of the files that the file at `path` requires."""
        for relative, name in _RUBY.findall(text):
            stem = name.removesuffix(".rb") + ".rb"
            # `require "a"` is a gem as likely as lib/a.rb: one part must lie in a load path.
            hit = self._places.find(path, stem, beside=bool(relative) or name.startswith("."))
            if hit and (relative or "/" in name or paths.name(paths.parent(hit)) in ("lib", "")):
                yield hit


class ShellResolver:
    """Finds the files of one repository that a shell script reads in."""

    def __init__(self, files: Sequence[str], _read: Callable[[str], str]) -> None:
        self._places = _Places(files)

    def targets(self, path: str, text: str) -> Iterator[str]:
        """The paths of the scripts that the file at `path` sources."""
        for word in _SHELL.findall(text):
            name = _VARIABLE.sub("", word.replace('"', "").replace("'", "")).lstrip("/")
            if name and "$" not in name and (hit := self._places.find(path, name, beside=True)):
                yield hit


class PhpResolver:
    """Finds the files of one repository that a PHP file includes by path."""

    def __init__(self, files: Sequence[str], _read: Callable[[str], str]) -> None:
        self._places = _Places(files)

    def targets(self, path: str, text: str) -> Iterator[str]:
        """The paths of the files that the file at `path` includes."""
        for before, name in _PHP.findall(text):
            folder = path
            for _ in range(before.count("dirname") - before.count("dirname(__FILE__")):
                folder = paths.parent(folder)
            if hit := self._places.find(folder, name.lstrip("/"), beside=True):
                yield hit


class _Places:
    """The files of a repository by their last name."""

    def __init__(self, files: Sequence[str]) -> None:
        self._files = frozenset(files)
        self._by_name: dict[str, list[str]] = {}
        for path in files:
            self._by_name.setdefault(paths.name(path), []).append(path)

    def find(self, path: str, name: str, *, beside: bool) -> str | None:
        """The file that `name`, written in `path`, means: beside it, or the nearest such end."""
        target = paths.resolve(paths.parent(path), name) if beside else None
        if target in self._files:
            return target
        tail = name
        while tail.startswith(("../", "./")):
            tail = tail.partition("/")[2]
        named = self._by_name.get(paths.name(tail), ())
        return paths.find_nearest([p for p in named if p == tail or p.endswith("/" + tail)], path)
