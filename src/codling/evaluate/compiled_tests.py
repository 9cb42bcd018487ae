"""Tests of Java (JUnit 3 to 5) and Rust (cargo's) as one program, without Gradle, Maven and cargo.

Input: sources by their paths in a project. Output: what a Program needs. Java's sources lie below
their packages, and RunTests.java runs the classes of tests. A Rust crate and its tests become one
crate, in which the tests see it by its name, and a main function that calls each test.

Not here: which exercises or bugs are tested (exercise_tests.py).
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

_OWN = ("RunTests.java", "sources.txt", "main.rs")
"""Names of files that no answer may bring."""
_RUST_ITEM = re.compile(r"^([ \t]*)(?:pub )?(mod|fn) (\w+)\b(.*)$")
_RUST_MAIN = """
extern crate self as {crate};
{modules}
fn fails_the_test(name: &str, test: fn(), panics: bool) -> bool {{
    let failed = std::thread::spawn(test).join().is_err() != panics;
    if failed {{ eprintln!("test {{name}} failed"); }}
    failed
}}
fn main() {{
    let failures = [{calls}].iter().filter(|&&failed| failed).count();
    if failures > 0 {{ eprintln!("{{failures}} tests failed"); std::process::exit(101); }}
}}
"""


def java_tests(sources: Mapping[str, str], classes: Iterable[str]) -> dict[str, Any]:
    """`classes` with their packages; paths of `sources` begin with the package."""
    names = ", ".join(f'"{name}"' for name in classes)
    tests = [f"{name.replace('.', '/')}.java" for name in classes]
    files = {name: text for name, text in sources.items() if name not in _OWN}
    files["sources.txt"] = "\n".join(name for name in tests if name in sources)
    source = _java_runner().replace("/* classes */", names)
    return {"language": "java-junit", "source": source, "files": files}


@cache
def _java_runner() -> str:
    return (Path(__file__).parent / "RunTests.java").read_text()


def rust_tests(crate: str, sources: Mapping[str, str], tests: Mapping[str, str]) -> dict[str, Any]:
    """`sources` relative to src (lib.rs is the crate), `tests` by the names of their files."""
    modules, calls = [], []
    files = {name: text for name, text in sources.items() if name not in _OWN}
    for number, (name, text) in enumerate(sorted(tests.items())):
        module = f"tests_of_the_exercise_{number}"
        modules.append(f'#[path = "{name}"]\nmod {module};')
        files[name], found = _open_tests(text, module)
        calls += found
    root = files.pop("lib.rs", "")
    main = _RUST_MAIN.format(crate=crate, modules="\n".join(modules), calls=", ".join(calls))
    return {"language": "rs-2021", "source": f"{root}\n{main}", "files": files}


def _open_tests(text: str, module: str) -> tuple[str, list[str]]:
    """Tests as functions that main can call, and the calls; lines are indented as rustfmt does."""
    lines, calls, attributes = [], [], []
    inside: list[tuple[str, str, list[str]]] = [("", module, [])]
    for line in text.splitlines():
        if line.strip().startswith("#["):
            attributes.append(line.strip())
            lines.append("" if re.match(r"\s*#\[(?:test|ignore|should_panic)\b", line) else line)
            continue
        if item := _RUST_ITEM.match(line):
            indent, kind, name, rest = item.groups()
            is_module = kind == "mod" and rest.strip() == "{"
            if is_module:
                inside.append((indent, name, attributes))
            elif "#[test]" in attributes:
                calls.append(_rust_call(name, rest, attributes, inside))
            if is_module or "#[test]" in attributes:
                line = f"{indent}pub {kind} {name}{rest}"
        elif len(inside) > 1 and line.rstrip() == inside[-1][0] + "}":
            inside.pop()
        attributes = attributes if not line.strip() else []
        lines.append(line)
    return "\n".join(lines) + "\n", calls


def _rust_call(
    name: str, rest: str, attributes: list[str], inside: list[tuple[str, str, list[str]]]
) -> str:
    path = "::".join([*(module for _, module, _ in inside), name])
    known = [each for _, _, around in inside for each in around] + attributes
    where = "".join(f"{each} " for each in known if each.startswith("#[cfg("))
    test = f"|| {path}().unwrap()" if "->" in rest else path
    panics = any("should_panic" in each for each in attributes)
    return f'{where}fails_the_test("{name}", {test}, {str(panics).lower()})'


def rust_crates(manifest: str) -> list[str]:
    """The names of other crates that a Cargo.toml asks for.

    >>> rust_crates('[dependencies]\\nrand = "0.8"\\n[features]\\nio = []')
    ['rand']
    """
    part = re.search(r"^\[dependencies\][ \t]*\n((?:(?!\[).*\n?)*)", manifest, re.M)
    return re.findall(r"^([\w-]+)\s*=", part[1] if part else "", re.M)
