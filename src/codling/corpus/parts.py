"""Parts of a repository: its code proper, and what stands beside it.

Input: a path. Output: "code", "tests", "examples", "docs" or "scripts", told by the names of
folders and files alone. Not here: what is made of the parts (heldout.py, evaluate/heldout).
"""

import re
from typing import Literal, get_args

Part = Literal["code", "tests", "examples", "docs", "scripts"]
PARTS: tuple[Part, ...] = get_args(Part)

_ANYWHERE: dict[str, Part] = {
    **dict.fromkeys(("tests", "test", "__tests__", "spec", "specs", "e2e"), "tests"),
    **dict.fromkeys(("testdata", "test_data", "test-data", "fixtures", "__fixtures__"), "tests"),
    **dict.fromkeys(("__mocks__", "__snapshots__"), "tests"),
    **dict.fromkeys(("examples", "samples", "demos", "tutorials"), "examples"),
    "docs": "docs",
}
_AT_THE_TOP: dict[str, Part] = {
    # Not below: com/example/App.java is code.
    **dict.fromkeys(("example", "sample", "demo", "tutorial"), "examples"),
    **dict.fromkeys(("doc", "documentation", "website", "site"), "docs"),
    **dict.fromkeys(("scripts", "script", "tools", "tool", "ci", "hack", "contrib"), "scripts"),
    **dict.fromkeys(("bench", "benches", "benchmark", "benchmarks", "build", "dev"), "scripts"),
}
_TEST_FILE = re.compile(
    r"test_.*\.py|conftest\.py|.*_test\.\w+|.*[.-](?:test|spec)\.\w+|.*Tests?\.(?:java|kt|cs)"
)
_SETTINGS_FILE = re.compile(
    r"(?:setup|noxfile|tasks|fabfile|manage|build)\.\w+|(?:gulp|grunt|make|rake|docker)file.*"
    r"|.*\.config\.\w+|\..*|[^.]*\.(?:sh|bat|ps1|toml|ya?ml|json|cfg|ini)",
    re.IGNORECASE,
)


def part_of(path: str) -> Part:
    """The part that a file belongs to.

    >>> [part_of(p) for p in ("src/app/a.py", "tests/a.py", "docs/conf.py", "com/example/A.java")]
    ['code', 'tests', 'docs', 'code']
    >>> part_of("doc/man_docs.go"), part_of("doc/man_docs_test.go"), part_of("doc/conf.py")
    ('code', 'tests', 'docs')
    """
    return _place_file(path)[0]


def place_in_part(path: str) -> str:
    """The folder or file that represents a file's surroundings in a part that is not code.

    >>> place_in_part("pkg/tests/unit/test_a.py"), place_in_part("pkg/a_test.go")
    ('pkg/tests/unit', 'pkg/a_test.go')
    """
    return "/".join(path.split("/")[: _place_file(path)[1] + 2])


def _place_file(path: str) -> tuple[Part, int]:
    """(part, number of the folder that says so, or of the file)."""
    *folders, name = path.split("/")
    for number, folder in enumerate(folders):
        if folder.startswith("."):
            return "scripts", number
        if number == 0 and folder == "doc" and name.endswith(".go"):
            continue  # a package, as every folder of Go's is
        if part := _ANYWHERE.get(folder) or (_AT_THE_TOP.get(folder) if number == 0 else None):
            return part, number
    if _TEST_FILE.fullmatch(name):
        return "tests", len(folders)
    is_setting = not folders and _SETTINGS_FILE.fullmatch(name)
    return ("scripts" if is_setting else "code"), len(folders)
