"""Programs that run an exercise's hidden tests on edited files, in the languages that this sandbox
has: Python (unittest), C++ (Catch, in one translation unit), Go (all files as one), JavaScript
(what tests use of Jest, in small: jest.js), Java (JUnit) and Rust (compiled_tests.py).

Input: an exercise, its files after the edits. Output: a Program, or why there is none.

Not here: exercises themselves (exercises.py).
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from codling.evaluate.compiled_tests import java_tests, rust_crates, rust_tests
from codling.evaluate.exercises import EditExercise
from codling.evaluate.task import Verdict
from codling.sandbox.executor import Program
from codling.sandbox.toolchains import toolchains, version

_RUN = """
import sys, unittest
sys.path.insert(0, ".")
_tests = unittest.TestSuite(
    unittest.defaultTestLoader.loadTestsFromName(name) for name in {names!r}
)
_result = unittest.TextTestRunner(verbosity=1).run(_tests)
assert _result.testsRun and _result.wasSuccessful(), "tests failed"
"""
_CATCH = """#define EXERCISM_RUN_ALL_TESTS
#define CATCH_CONFIG_MAIN
#include "catch.hpp"
"""
_NEEDS = re.compile(r"^\s*implementation \"([^\"]+)\"", re.M)
_BEYOND = {
    "java/bank-account": "starts 1000 threads at once; the sandbox allows 128",
    "java/mazy-mice": "asks AssertJ for hasDimensions, which Debian's 3.14 does not have",
    "rust/macros": "its tests start cargo",
}
_GO_IMPORTS = re.compile(r"^import\s+(?:\(([^)]*)\)|((?:[\w.]+\s+)?\"[^\"]+\"))\s*$", re.M)
_GO_ORDER = re.compile(r"^//(?:go:| \+build).*$", re.M)
"""Orders to the compiler stand before the package."""
_GO_PACKAGE = re.compile(r"^package\s+(\w+)\s*$", re.M)
_JS_IMPORT = re.compile(
    r"""^import\s+(?:([^'";]*?)\s*from\s*)?(['"][^'"]+['"])\s*;?[ \t]*$""", re.M
)
_JS_EXPORT = re.compile(
    r"^export\s+(default\s+|\*\s*from\s*(['\"][^'\"]+['\"])\s*;?|\{([^}]*)\}\s*;?"
    r"|(?=(?:const|let|var|class|(?:async\s+)?function\s*\*?)\s*(\w+)))",
    re.M,
)


def test_program(
    exercise: EditExercise, edited: Mapping[str, str], seconds: float, strict: bool
) -> Program | Verdict:
    """The tests of `exercise` on the files `edited`."""
    make = _MAKERS.get(exercise.language)
    if make is None:
        return Verdict(skipped=True, detail="not a language here")
    if absent := _absent(exercise):
        return Verdict(skipped=True, detail=absent)
    made = make(exercise, edited)
    chain = toolchains().get(made["language"])
    if chain and chain.of and version(chain.language) is None:
        return Verdict(skipped=True, detail=f"needs: apt-get install {chain.packages}")
    answer = "\n".join(edited.values())
    return Program(answer=answer, seconds=seconds, strict=strict, **made)


def _absent(exercise: EditExercise) -> str:
    """What the exercise itself needs and is not here."""
    libraries = _NEEDS.findall(exercise.others.get("build.gradle", ""))
    libraries += rust_crates(exercise.stubs.get("Cargo.toml", ""))
    if libraries:
        return f"needs libraries that are not here: {', '.join(libraries)}"
    return _BEYOND.get(f"{exercise.language}/{exercise.name}", "")


def _python(exercise: EditExercise, edited: Mapping[str, str]) -> dict[str, Any]:
    files = {**exercise.others, **edited, **exercise.tests}
    names = [name.removesuffix(".py") for name in exercise.tests if name.endswith(".py")]
    kept = {name: text for name, text in files.items() if "/" not in name}
    return {"language": "python", "source": _RUN.format(names=names), "files": kept}


def _cpp(exercise: EditExercise, edited: Mapping[str, str]) -> dict[str, Any]:
    """Catch's main, the solution and the tests, each included."""
    files = {**exercise.others, **edited, **exercise.tests}
    parts = [name for name in (*edited, *exercise.tests) if name.endswith((".cpp", ".cc"))]
    parts = [name for name in parts if "tests-main" not in name]
    included = "".join(f'#include "{name.rpartition("/")[2]}"\n' for name in parts)
    flat = {name.rpartition("/")[2]: _flat(text) for name, text in files.items()}
    return {"language": "cpp", "source": f"{_CATCH}{included}", "files": flat}


def _flat(text: str) -> str:
    return re.sub(r'#include "(?:[\w.]+/)+', '#include "', text)


def _go(exercise: EditExercise, edited: Mapping[str, str]) -> dict[str, Any]:
    """One file: the package, all imports once, then what the files hold."""
    files = {**exercise.others, **edited, **exercise.tests}
    texts = [text for name, text in sorted(files.items()) if name.endswith(".go")]
    imports = {
        line.strip()
        for text in texts
        for block, single in _GO_IMPORTS.findall(text)
        for line in (block or single).splitlines()
        if line.strip() and not line.strip().startswith("//")
    }
    package = next((m[1] for m in map(_GO_PACKAGE.search, texts) if m), "main")
    bodies = [
        _GO_PACKAGE.sub("", _GO_IMPORTS.sub("", _GO_ORDER.sub("", text)), count=1) for text in texts
    ]
    head = "".join(f"import {each}\n" for each in sorted(imports))
    return {"language": "go", "source": f"package {package}\n\n{head}\n" + "\n".join(bodies)}


def _javascript(exercise: EditExercise, edited: Mapping[str, str]) -> dict[str, Any]:
    """The tests behind Jest's small stand-in; the other files as modules of CommonJS."""
    files = {**exercise.others, **edited}
    modules = {
        name: common_js(text) if name.endswith(".js") else text
        for name, text in files.items()
        if not name.startswith((".", "babel", "jest", "package"))
    }
    specs = [common_js(text) for name, text in exercise.tests.items() if name.endswith(".js")]
    tests = "".join(f"{{\n{spec}\n}}\n" for spec in specs)
    source = f"{_jest()}\n{tests}\nmodule.exports = finish();\n"
    return {"language": "js", "source": source, "files": modules}


def _java(exercise: EditExercise, edited: Mapping[str, str]) -> dict[str, Any]:
    files = {**exercise.others, **edited, **exercise.tests}
    sources = {
        path.partition("/java/")[2]: text for path, text in files.items() if "/java/" in path
    }
    tests = [path.partition("/java/")[2] for path in exercise.tests]
    classes = [path.removesuffix(".java").replace("/", ".") for path in tests]
    return java_tests(sources, [name for name in classes if name.endswith("Test")] or classes)


def _rust(exercise: EditExercise, edited: Mapping[str, str]) -> dict[str, Any]:
    files = {**exercise.others, **edited}
    sources = {p.removeprefix("src/"): text for p, text in files.items() if p.endswith(".rs")}
    named = re.search(r'^name\s*=\s*"([\w-]+)"', exercise.stubs.get("Cargo.toml", ""), re.M)
    crate = (named[1] if named else exercise.name).replace("-", "_")
    return rust_tests(crate, sources, exercise.tests)


@cache
def _jest() -> str:
    return (Path(__file__).parent / "jest.js").read_text()


def common_js(text: str) -> str:
    """A module of ECMAScript in the form of CommonJS, by the lines that begin its statements.

    >>> common_js("import { a as b } from './a';\\nexport const c = b;")
    "'use strict';\\nconst { a: b } = require('./a');\\nconst c = b;\\nexports.c = c;\\n"
    """
    names: list[str] = []

    def export(found: re.Match[str]) -> str:
        if found[2]:
            return f"Object.assign(exports, require({found[2]}));"
        if found[3] is not None:
            pairs = (each.split(" as ") for each in found[3].split(",") if each.strip())
            names.extend(f"exports.{pair[-1].strip()} = {pair[0].strip()};" for pair in pairs)
            return ""
        if found[4]:
            names.append(f"exports.{found[4]} = {found[4]};")
            return ""
        return "exports.default = "

    body = _JS_EXPORT.sub(export, _JS_IMPORT.sub(_require, text))
    return "\n".join(["'use strict';", body, *names]) + "\n"


def _require(found: re.Match[str]) -> str:
    what, where = found[1], found[2]
    if not what:
        return f"require({where});"
    if star := re.fullmatch(r"\*\s*as\s+(\w+)", what):
        return f"const {star[1]} = require({where});"
    default, _, rest = what.partition("{")
    lines = []
    if name := default.strip().rstrip(",").strip():
        lines.append(f"const {name} = ((each) => each.default ?? each)(require({where}));")
    if rest:
        lines.append(f"const {{{re.sub(r' as ', ': ', rest)} = require({where});")
    return " ".join(lines)


_MAKERS: dict[str, Callable[[EditExercise, Mapping[str, str]], dict[str, Any]]] = {
    "python": _python,
    "cpp": _cpp,
    "go": _go,
    "javascript": _javascript,
    "java": _java,
    "rust": _rust,
}
