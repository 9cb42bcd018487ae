"""C and C++ includes: `#include "x"` and `#include <x>`, resolved without knowing the include path.

Input: the paths of a repository's C-like files, and the text of one. Output: the paths it includes.
`"x"` is looked for beside the file, then as the end of any path, the nearest first. `<x>` is not
looked for beside the file; the headers of the C and C++ libraries are never taken from the
repository, and of several candidates only those in folders that builds usually name.

Not here: macros (`#include HEADER`) and conditions other than `#if 0`.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from codling.core.packaged import packaged_table
from codling.corpus import paths

_COMMENT_OR_STRING = re.compile(
    r"//[^\n]*|/\*.*?(?:\*/|\Z)|\"[^\"\\\n]*+(?>(?:\\.[^\"\\\n]*+)*)\"?"
    r"|'[^'\\\n]*+(?>(?:\\.[^'\\\n]*+)*)'?",
    re.DOTALL,
)
_DIRECTIVE = re.compile(
    r"^[ \t]*#[ \t]*(?:(?:include|include_next|import)[ \t]*(?:\"([^\"\n]+)\"|<([^>\n]+)>)"
    r"|(if|ifdef|ifndef|elif|else|endif)\b[ \t]*([^\n]*))",
    re.MULTILINE,
)
_INCLUDE_DIRS = ("include", "inc", "includes", "src", "source", "lib")

STANDARD_HEADERS = frozenset(
    name
    for names in packaged_table("codling.corpus.dependencies", "standard_headers.toml").values()
    for name in names
)
"""Without `.h`: names in `<>` that mean the system's header, never one of the repository."""


def c_includes(text: str) -> Iterator[tuple[str, bool]]:
    """The included names, each with whether it is in quotes; comments and `#if 0` are left out.

    >>> list(c_includes('#include "a.h"\\n/* #include "b.h" */\\n#include <c/d.h>\\n'))
    [('a.h', True), ('c/d.h', False)]
    """
    if "#" not in text:
        return
    if "/*" in text:
        text = _COMMENT_OR_STRING.sub(_without_comment, text)
    dead: list[bool] = []
    for quoted, angled, condition, rest in _DIRECTIVE.findall(text):
        if condition:
            _follow_condition(dead, condition, rest)
        elif not any(dead):
            yield (quoted or angled).strip().replace("\\", "/"), bool(quoted)


class CResolver:
    """Finds the files of one repository that a C-like file includes."""

    def __init__(self, files: Sequence[str], _read: Callable[[str], str]) -> None:
        self._files = frozenset(files)
        self._by_name: dict[str, list[str]] = {}
        for path in files:
            self._by_name.setdefault(paths.name(path), []).append(path)

    def targets(self, path: str, text: str) -> set[str]:
        """The paths that the file at `path` includes, as far as they lie in the repository."""
        found = (self._find(path, name, quoted) for name, quoted in c_includes(text))
        return {target for target in found if target}

    def _find(self, path: str, name: str, quoted: bool) -> str | None:
        here = paths.parent(path)
        if quoted:
            beside = paths.resolve(here, name)
            if beside in self._files:
                return beside
        elif name.removesuffix(".h") in STANDARD_HEADERS:
            return None
        tail = name
        while tail.startswith(("../", "./")):
            tail = tail.partition("/")[2]
        candidates = [
            p
            for p in self._by_name.get(paths.name(tail), ())
            if p == tail or p.endswith("/" + tail)
        ]
        if not quoted and "/" not in tail and len(candidates) > 1:
            candidates = [p for p in candidates if self._is_include_dir(paths.parent(p), here)]
        return paths.find_nearest(candidates, path)

    @staticmethod
    def _is_include_dir(folder: str, here: str) -> bool:
        return folder in ("", here) or paths.name(folder) in _INCLUDE_DIRS


def _follow_condition(dead: list[bool], condition: str, rest: str) -> None:
    """Keep the stack of open conditions, each True while its present branch is `#if 0`."""
    if condition in ("if", "ifdef", "ifndef"):
        dead.append(condition == "if" and rest.split("//")[0].strip() in ("0", "(0)"))
    elif dead and condition == "endif":
        dead.pop()
    elif dead:
        dead[-1] = False


def _without_comment(match: re.Match[str]) -> str:
    found = match.group()
    return " " if found[0] == "/" else found
