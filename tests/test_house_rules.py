"""Rules of the house that no linter knows."""

import ast
import importlib
import re
import subprocess
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from codling.core.recipe import config_class
from codling.verbs import VERBS, Verb
from package_trees import SOURCE, called, trees

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 500
PARSES_JSON = {
    "core/foreign_json.py": "the one place",
    "core/files.py": "lines that this program wrote itself",
    "core/shards.py": "records of the stage that is running",
    "report/watched.py": "rows that this program writes while they are read, the last cut short",
    "sandbox/box.py": "the wire to the sandbox, bounded by the length before each message",
    "sandbox/inside/server.py": "the other end of that wire",
    "sandbox/interpreter.py": "what our own question printed",
    "train/shared_state.py": "the training state that processes which share a model wrote",
    "train/state.py": "the training state that this program wrote",
}
"""Modules that call json's parser themselves, and why."""


def own_python_files() -> list[Path]:
    return [
        p for top in ("src", "tests", "benchmarks", "examples") for p in (ROOT / top).rglob("*.py")
    ]


def test_no_file_is_longer_than_500_lines() -> None:
    counts = {p: p.read_text().count("\n") for p in own_python_files()}
    assert {str(p): n for p, n in counts.items() if n > MAX_LINES} == {}


@pytest.mark.parametrize("word", ["utils", "helpers", "common", "manager", "base"])
def test_no_module_has_a_name_that_says_nothing(word: str) -> None:
    assert not [p for p in SOURCE.rglob("*.py") if p.stem == word]
    assert not [p for p in SOURCE.rglob("*") if p.is_dir() and p.name == word]


def test_every_package_folder_stands_in_the_readme_tree() -> None:
    readme = (ROOT / "README.md").read_text()
    folders = {p.parent.name for p in SOURCE.rglob("__init__.py")} - {"codling"}
    assert {f for f in folders if f"{f}/" not in readme} == set()


def test_every_module_says_what_it_does_not_do() -> None:
    # A benchmark's file is one entry of a table: the folder's docstring speaks for it.
    modules = [p for p in SOURCE.rglob("*.py") if p.parent.name != "tasks"]
    silent = [
        str(p.relative_to(SOURCE))
        for p in modules
        if p.name != "__init__.py"
        and not re.search(r"\b(not|no)\b", p.read_text().split('"""')[1], re.IGNORECASE)
    ]
    assert silent == []


def test_every_folder_says_what_does_not_belong_there() -> None:
    folders = [p for p in SOURCE.rglob("__init__.py") if p.parent != SOURCE]
    said = {p: p.read_text(encoding="utf-8").split('"""')[1] for p in folders}
    assert [
        str(p.relative_to(SOURCE)) for p, text in said.items() if "Not here: " not in text
    ] == []


def test_a_file_to_which_a_docstring_points_is_there() -> None:
    # "Not here: the search (contamination/ngrams.py)": beside the module, above it, or by its path.
    missing = set()
    for name, tree in trees().items():
        module = SOURCE / name
        places = (module.parent, module.parent.parent, SOURCE, ROOT)
        pointers = (ast.get_docstring(tree) or "").partition("Not here:")[2].partition("\n\n")[0]
        for path in re.findall(r"[\w./]*\w\.(?:py|toml|md)\b", pointers):
            folders = [*places, *(each for each in module.parent.iterdir() if each.is_dir())]
            if not any((folder / path).is_file() for folder in folders):
                missing.add((name, path))
    assert missing == set()


def test_nothing_from_the_shared_folder_is_committed() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert not [f for f in listed.stdout.split() if f.startswith("shared/")]


VERBS_IN_ED = {"embed", "feed", "seed", "need", "read", "shed"}
VERBS_OF_USERS = {"accepted"}
"""Stages that are named as the command line names them: `codling data accepted`."""
IRREGULAR_PARTICIPLES = {
    "found",
    "made",
    "given",
    "taken",
    "drawn",
    "shown",
    "said",
    "told",
    "held",
    "kept",
}
"""Irregular ones; the others end in -ed, or in -ing where they are present ones."""
NOUNS_IN_ING = {"sampling", "mapping", "opening", "beginning", "ending", "string", "padding"}


def is_participle(name: str) -> bool:
    """Whether a name is one word that ends as a participle does: `stretched`, `_drawn`."""
    word = name.strip("_")
    return "_" not in word and (
        word in IRREGULAR_PARTICIPLES
        or (word.endswith("ed") and word not in VERBS_IN_ED)
        or (word.endswith("ing") and word not in NOUNS_IN_ING)
    )


def is_property(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("property" in ast.unparse(decorator) for decorator in function.decorator_list)


def test_functions_are_verbs_not_participles() -> None:
    found = [
        f"{path.relative_to(SOURCE)}: {node.name}"
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and is_participle(node.name)
        and node.name not in VERBS_OF_USERS
        and not is_property(node)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("stretched", True),
        ("_drawn", True),
        ("_unpacking", True),
        ("embed", False),
        ("sampling", False),
        ("extend_positions", False),
    ],
)
def test_the_search_for_participles_knows_verbs(name: str, found: bool) -> None:
    assert is_participle(name) == found


def test_no_two_classes_have_the_same_name() -> None:
    names = Counter(
        node.name.strip("_")
        for tree in trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, n in names.items() if n > 1] == []


def test_torch_is_pinned_so_that_a_fresh_machine_takes_the_cpu_build() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "torch~=2.13.0" in project["dependencies"]


def parses_json(source: str) -> bool:
    """Whether a module calls json.load, json.loads, a JSONDecoder, or a response's .json()."""
    calls = [n.func for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)]
    names = [f.attr if isinstance(f, ast.Attribute) else getattr(f, "id", "") for f in calls]
    owners = [getattr(getattr(f, "value", None), "id", "") for f in calls]
    return any(
        (name in ("load", "loads") and owner.strip("_") in ("json", "orjson", ""))
        or name == "JSONDecoder"
        or (name == "json" and owner)
        for name, owner in zip(names, owners, strict=True)
        if (name, owner) != ("load", "")
    )


@pytest.mark.long
def test_only_one_module_parses_foreign_json() -> None:
    modules = {p.relative_to(SOURCE).as_posix(): p.read_text() for p in SOURCE.rglob("*.py")}
    assert {name for name, text in modules.items() if parses_json(text)} == set(PARSES_JSON)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import json\nx = json.loads(y)", True),
        ("from json import loads\nx = loads(y)", True),
        ("x = json.load(file)", True),
        ("x = reply.json()", True),
        ("x = json.dumps(y)", False),
        ("x = tomllib.loads(y)", False),
        ("x = parse_row(y, 'there')", False),
    ],
)
def test_the_search_for_parsers_of_json_finds_all_spellings(source: str, found: bool) -> None:
    assert parses_json(source) == found


def test_no_address_of_a_package_registry_stands_in_the_repository() -> None:
    hosts = ["pypi.org", "files.pythonhosted", "registry.npmjs", "deb.debian", "proxy.golang"]
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    texts = {name: (ROOT / name).read_bytes() for name in listed.stdout.splitlines()}
    found = [name for name, data in texts.items() for host in hosts if f"//{host}".encode() in data]
    assert found == []


def callers(name: str) -> set[str]:
    """The modules that call a function of this name."""
    return {
        module
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and called(node) == name
    }


def test_every_stage_stands_in_the_one_frame() -> None:
    assert callers("produce") == {"core/stage.py", "train/run.py"}


def test_what_comes_from_outside_becomes_an_input_in_one_place() -> None:
    named = {
        module
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword)
        and node.arg == "kind"
        and isinstance(node.value, ast.Constant)
        and node.value.value == "source"
    }
    assert named == {"core/inputs.py"}


REPLACES_FILES = {
    "core/files.py": "the one place",
    "core/artifact.py": "whole folders, which are moved into place",
    "sandbox/toolchains.py": "what a compiler wrote, which may be absent",
}
"""Modules that give a file its name only when it is whole, and why."""


def replaces_files(tree: ast.Module) -> bool:
    """Whether a module calls os.replace, Path.rename, or Path.replace, which takes one value."""
    return any(
        isinstance(node, ast.Call)
        and (
            called(node) == "rename"
            or ast.unparse(node.func) == "os.replace"
            or (
                getattr(node.func, "attr", "") == "replace"
                and len(node.args) == 1
                and not node.keywords
            )
        )
        for node in ast.walk(tree)
    )


def test_only_one_module_writes_a_file_and_then_replaces_it() -> None:
    found = {module for module, tree in trees().items() if replaces_files(tree)}
    assert found == set(REPLACES_FILES)


READS_ROWS = {
    "core/foreign_json.py": "parse_lines and read_rows, the ones to use",
    "corpus/selection/rows.py": "slices of a file, which workers read for themselves",
}
"""Modules that parse one row of JSON after another, and why."""


def test_there_is_no_second_reader_of_json_lines() -> None:
    loops = (ast.For, ast.While, ast.ListComp, ast.GeneratorExp)
    found = {
        module
        for module, tree in trees().items()
        for loop in ast.walk(tree)
        if isinstance(loop, loops)
        for node in ast.walk(loop)
        if isinstance(node, ast.Call) and called(node) == "parse_row"
    }
    assert found == set(READS_ROWS)


def test_there_is_one_way_to_keep_answers_that_a_stopped_run_goes_on_with() -> None:
    assert callers("append_json") == {"core/log.py", "evaluate/rows.py"}  # log.py has measurements


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.table)
def test_the_settings_of_a_verb_stand_beside_it(verb: Verb) -> None:
    """In its own file; in the folder's config.py only where other files read them too."""
    module, _, name = verb.target.partition(":")
    config = config_class(getattr(importlib.import_module(module), name))
    if config.__module__ == module:
        return
    assert config.__module__ == f"{module.rpartition('.')[0]}.config"
    readers = {
        found
        for found, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == config.__module__
        if config.__name__ in {alias.name for alias in node.names}
    }
    folder = module.split(".", 1)[1].replace(".", "/").rpartition("/")[0]
    own = f"{module.split('.', 1)[1].replace('.', '/')}.py"
    assert [r for r in readers - {own} if r.startswith(f"{folder}/")]


def born_outside_init(source: ast.AST) -> set[tuple[str, str]]:
    """(class, attribute) where a method sets what neither the class nor __init__ names."""
    found = set()
    for cls in (node for node in ast.walk(source) if isinstance(node, ast.ClassDef)):
        methods = {n.name: n for n in cls.body if isinstance(n, ast.FunctionDef)}
        fields = {n.target.id for n in cls.body if isinstance(n, ast.AnnAssign)}  # type: ignore[union-attr]
        fields |= {t.id for n in cls.body if isinstance(n, ast.Assign) for t in n.targets}  # type: ignore[attr-defined]
        known = fields | set(methods) | stored(methods.get("__init__"))
        later = set().union(*map(stored, methods.values()))
        found |= {(cls.name, name) for name in later - known}
    return found


def stored(method: ast.FunctionDef | None) -> set[str]:
    """The attributes of `self` that a method sets."""
    return {
        node.attr
        for node in ast.walk(method or ast.Module([], []))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        if getattr(node.value, "id", "") == "self"
    }


def test_no_attribute_is_born_outside_init() -> None:
    found = {module: born for module, tree in trees().items() if (born := born_outside_init(tree))}
    assert found == {}


def test_the_search_for_attributes_knows_fields_and_init() -> None:
    source = """
class A:
    field: int
    def __init__(self): self.a = 1
    def grow(self): self.a = self.field = self.late = 2
"""
    assert born_outside_init(ast.parse(source)) == {("A", "late")}


def test_no_group_is_repeated_possessively() -> None:
    # Python 3.11.2, Debian 12's, matches some of them wrongly; `(?>(?:a|b)*)` says the same.
    repeated = re.compile(r"(?<!\\)\)(?:[*+?]|\{[\d,]+\})\+")
    found = [
        f"{path.relative_to(ROOT)}: {text.value!r}"
        for path in SOURCE.rglob("*.py")
        for text in ast.walk(ast.parse(path.read_text()))
        if isinstance(text, ast.Constant) and isinstance(text.value, str | bytes)
        if repeated.search(
            text.value if isinstance(text.value, str) else text.value.decode("latin-1")
        )
    ]
    assert found == []


def test_a_test_that_waits_for_a_program_gives_a_busy_machine_ten_minutes() -> None:
    # A limit in a test ends what hangs; a shorter one fails where others work beside it.
    limit = re.compile(
        r"\b(?:timeout=|settimeout\()([\d_]+)(?![\d_.])|monotonic\(\) \+ (\d+)$", re.MULTILINE
    )
    own_limits = {"tests/sandbox/test_attacks.py"}  # of the programs that are run
    short = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in (ROOT / "tests").rglob("*.py")
        if str(path.relative_to(ROOT)) not in own_limits
        for found in limit.finditer(path.read_text())
        if int(found[1] or found[2]) < 600
    ]
    assert short == []


def test_a_test_says_how_long_it_waits_for_an_answer() -> None:
    # httpx gives up after five seconds where nobody says otherwise.
    asking = {"Client", "AsyncClient", "stream", "request", "get", "post", "put", "delete"}
    silent = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in (ROOT / "tests").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        if isinstance(call.func, ast.Attribute) and call.func.attr in asking
        if isinstance(call.func.value, ast.Name) and call.func.value.id == "httpx"
        if not {"timeout", None} & {keyword.arg for keyword in call.keywords}
    ]
    assert silent == []


MAX_FUNCTION_LINES = 50


def test_no_function_is_longer_than_50_lines() -> None:
    long = {
        f"{module}: {node.name}": length
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (length := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    }
    assert long == {}


PLAIN_TWINS = ("_reference", "_plain")
"""Ends of the names of plain versions, which only tests and benchmarks compare with."""


def mentions(tree: ast.AST) -> Counter[str]:
    """How often each name is read or imported, or is a word of a string that is no docstring."""
    docstrings = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    found: Counter[str] = Counter()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                found[name] += 1
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                found.update(re.findall(r"\w+", text))
    return found


@pytest.mark.long
def test_every_public_function_and_class_has_a_caller() -> None:
    outside = [p for top in ("tools", "benchmarks", "examples") for p in (ROOT / top).rglob("*.py")]
    every = [*trees().values(), *(ast.parse(p.read_text()) for p in outside)]
    total = sum(map(mentions, every), Counter[str]())
    for page in (ROOT / "docs").rglob("*.md"):  # what a page imports is promised to readers
        imported = re.findall(r"^from codling[\w.]* import (.+)$", page.read_text(), re.MULTILINE)
        total.update(re.findall(r"\w+", " ".join(imported)))
    without = [
        f"{module}: {node.name}"
        for module, tree in trees().items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if not node.name.startswith("_") and not node.name.endswith(PLAIN_TWINS)
        if total[node.name] <= mentions(node)[node.name]
    ]
    assert without == []


def test_the_search_for_callers_knows_names_imports_and_strings() -> None:
    source = 'def f():\n    "h"\n    return a.g("m:i") + j\nfrom x import k as l'
    found = mentions(ast.parse(source))
    assert [found[name] for name in "afghijkl"] == [1, 0, 1, 0, 1, 1, 1, 0]
