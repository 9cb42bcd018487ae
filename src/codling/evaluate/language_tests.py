"""Programs of HumanEval-X and HumanEvalPack: an answer and the row's tests, in six languages.

Input: language, answer, tests. Output: a Program. What their authors take from outside is brought
in small: Go's testify (`assert.Equal`), JavaScript's `console.assert` that throws, Rust's test
modules as a main function; Rust's `use` of crates that are not installed is left out. Strict
verdicts run Python's tests where the answer does not reach (grading/isolated_tests.py).

Not here: prompts (tasks/humaneval_x.py).
"""

import re
from collections.abc import Callable

from codling.evaluate.config import BenchmarkConfig
from codling.grading.isolated_tests import isolate_tests
from codling.sandbox.executor import Program

OUR_NAMES = {"rust": "rs", "python": "python", "cpp": "cpp", "go": "go", "java": "java", "js": "js"}
"""Their folders: our languages."""
_CALLS = {"python": re.compile(r"^check\((\w+)\)\s*\Z", re.M)}
"""With what tests end that can run apart from the answer."""
_GO_ASSERT = """
type asserted struct{ t *testing.T }
func newAsserted(t *testing.T) asserted { return asserted{t} }
func (a asserted) Equal(expected, actual interface{}, _ ...interface{}) bool {
    if !reflect.DeepEqual(expected, actual) {
        a.t.Fatalf("expected %v, got %v", expected, actual)
    }
    return true
}
"""
_JS_ASSERT = "console.assert = (ok) => { if (!ok) throw new Error('assertion failed'); };\n"
_CRATES = re.compile(r"^use (?:rand|regex|md5)\b[^;]*;\n?", re.M)


def language_program(
    language: str, answer: str, test: str, config: BenchmarkConfig, setup: str = ""
) -> Program:
    """The answer and its tests; `setup` is what a row of Go brings before both."""
    strict = config.verdicts == "strict"
    call = _CALLS.get(language) if strict else None
    called = call and call.search(test)
    if called:
        source = isolate_tests(answer, test[: called.start()], called[1])
    else:
        source = _SOURCES[language](answer, test, setup)
    return Program(
        language=OUR_NAMES[language],
        source=source,
        answer=answer,
        seconds=config.timeout or 15.0,
        strict=strict,
    )


def _rust_source(answer: str, test: str) -> str:
    answer = _CRATES.sub("", answer).replace("fn main(){}", "").replace("fn main() {}", "")
    names = re.findall(r"#\[test\]\s*(?:pub\s+)?fn\s+(\w+)", test)
    module = re.search(r"mod\s+(\w+)", test)
    tests = re.sub(r"#\[cfg\(test\)\]|#\[test\]", "", _CRATES.sub("", test))
    tests = re.sub(
        r"(?m)^(\s*)fn\s+(?=" + "|".join(map(re.escape, names or ["$"])) + ")", r"\1pub fn ", tests
    )
    inside = f"{module[1]}::" if module else ""
    calls = "".join(f"    {inside}{name}();\n" for name in names)
    return f"{answer}\n{tests}\nfn main() {{\n{calls}}}\n"


def _go_source(answer: str, test: str, setup: str) -> str:
    """One file: the package, all imports once, the answer, the tests with their own assert."""
    text = f"{setup}\n{answer}\n{test}"
    names = set(re.findall(r'^\s*(?:import\s+)?("[\w/.]+")\s*$', text, re.M))
    names = {n for n in names if "testify" not in n} | {'"testing"', '"reflect"'}
    body = re.sub(
        r"^import\s+\((?:.|\n)*?^\)\s*$|^import\s+\"[^\"]+\"\s*$",
        "",
        f"{answer}\n{test}",
        flags=re.M,
    )
    body = re.sub(r"^package \w+\s*$", "", body, flags=re.M)
    body = body.replace("assert.New(t)", "newAsserted(t)")
    used = [
        n
        for n in sorted(names)
        if re.search(rf"\b{n.strip(chr(34)).rpartition('/')[2]}\.", body + _GO_ASSERT)
    ]
    imports = "\n".join(f"    {n}" for n in used)
    return f"package main\n\nimport (\n{imports}\n)\n{_GO_ASSERT}\n{body}\n"


_SOURCES: dict[str, Callable[[str, str, str], str]] = {
    "python": lambda answer, test, _: f"{answer}\n{test}\n",
    "cpp": lambda answer, test, _: f"#undef NDEBUG\n#include <cassert>\n{answer}\n{test}\n",
    "java": lambda answer, test, _: re.sub(r"\bMain\b", "Problem", f"{answer}\n{test}\n"),
    "js": lambda answer, test, _: f"{answer}\n{_JS_ASSERT}{test}\n",
    "go": _go_source,
    "rust": lambda answer, test, _: _rust_source(answer, test),
}
"""How an answer, its tests and a row's setup become one file."""
