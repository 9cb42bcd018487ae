"""Rust's moved and nested modules and own library; Go's blank and dot imports and other modules."""

from codling.corpus.dependencies.graph import Dependencies
from codling.corpus.dependencies.rust import rust_names


def found(path: str, files: dict[str, str]) -> list[str]:
    languages = {name: "rust" if name.endswith(".rs") else "go" for name in files}
    return Dependencies(languages, files.__getitem__).of(path)


CRATE = {
    "src/lib.rs": "pub mod text;\npub fn start() {}\n",
    "src/main.rs": """mod count;
#[path = "other/odd.rs"]
mod odd;
pub(crate) mod inner {
    pub mod deep;
    mod tests { use super::super::count::c; }
}
use words::start;
use serde::Deserialize;
fn main() { let brace = '{'; }
""",
    "src/text.rs": '// use crate::count;\npub fn t() { let s = "use crate::count;"; }\n',
    "src/count.rs": "use crate::odd::x;\npub fn c() {}\n",
    "src/other/odd.rs": "mod below;\nuse super::count;\n",
    "src/other/below.rs": "",
    "src/inner/deep.rs": "use super::super::count;\n",
    "tests/all.rs": "use words::text::t;\nuse words::absent;\n",
}


def test_path_attributes_move_a_module_with_what_is_below_it() -> None:
    assert found("src/count.rs", CRATE) == ["src/other/odd.rs"]
    assert found("src/other/odd.rs", CRATE) == ["src/count.rs", "src/other/below.rs"]


def test_modules_written_in_place_are_folders_and_lead_to_the_own_library() -> None:
    expected = ["src/count.rs", "src/inner/deep.rs", "src/lib.rs", "src/other/odd.rs"]
    assert found("src/main.rs", CRATE) == expected
    assert found("src/inner/deep.rs", CRATE) == ["src/count.rs"]
    assert found("src/text.rs", CRATE) == []


def test_integration_tests_reach_the_library_of_their_crate() -> None:
    assert found("tests/all.rs", CRATE) == ["src/text.rs"]


def test_path_attributes_under_conditions_name_each_file() -> None:
    files = {
        "src/lib.rs": '#[cfg_attr(unix, path = "unix.rs")]\n#[cfg_attr(windows, path = "win.rs")]\n'
        "mod system;\nmod plain;\n",
        "src/unix.rs": "",
        "src/win.rs": "",
        "src/plain.rs": "",
    }
    assert found("src/lib.rs", files) == ["src/plain.rs", "src/unix.rs", "src/win.rs"]


def test_a_path_in_a_nested_module_counts_from_its_folder() -> None:
    files = {
        "src/a.rs": 'mod inner {\n    #[path = "x.rs"]\n    mod y;\n}\n',
        "src/a/inner/x.rs": "",
        "src/x.rs": "",
        "src/lib.rs": "mod a;\n",
    }
    assert found("src/a.rs", files) == ["src/a/inner/x.rs"]


def test_super_in_a_module_written_in_place_is_the_file() -> None:
    text = "mod tests { use super::b; mod c { use super::super::super::d; use self::e; } }"
    named = sorted(name.parts for name in rust_names(text))
    assert named == [("self", "b"), ("self", "tests", "c", "e"), ("super", "d")]


def test_members_of_a_workspace_reach_one_another() -> None:
    files = {
        "crates/word-count/src/lib.rs": "pub mod parts;\n",
        "crates/word-count/src/parts.rs": "",
        "crates/app/src/main.rs": "use word_count::parts::Part;\nuse word_count::total;\n",
    }
    expected = ["crates/word-count/src/lib.rs", "crates/word-count/src/parts.rs"]
    assert found("crates/app/src/main.rs", files) == expected


MODULE = {
    "main.go": """package main

import (
	c "acme.dev/words/count"
	_ "acme.dev/words/side"
	. "acme.dev/words/dot"
	"acme.dev/text"
	"github.com/other/log"
	"acme.dev/absent"
)

func main() { c.Run(); Dot(); text.T(); log.Print() }
""",
    "count/count.go": "package count\n\nfunc Run() {}\n",
    "side/side.go": "package side\n\nfunc init() {}\n",
    "side/more.go": "package side\n\nfunc More() {}\n",
    "dot/dot.go": "package dot\n\nfunc Dot() {}\n",
    "dot/other.go": "package dot\n\nfunc Other() {}\nfunc small() {}\n",
    "text/text.go": "package text\n\nfunc T() {}\n",
    "log/log.go": "package log\n\nfunc Print() {}\n",
    "absent/a.go": "package absent\n\nfunc Elsewhere() {}\n",
}


def test_blank_dot_and_replaced_imports_lead_to_files() -> None:
    expected = ["count/count.go", "dot/dot.go", "side/side.go", "text/text.go"]
    assert found("main.go", MODULE) == expected


def test_a_blank_import_without_an_init_leads_to_the_whole_package() -> None:
    files = MODULE | {"side/side.go": "package side\n\nvar Count = register()\n"}
    assert {"side/side.go", "side/more.go"} <= set(found("main.go", files))


def test_a_module_of_a_workspace_and_a_vendored_one_are_found() -> None:
    files = {
        "app/main.go": 'package main\n\nimport (\n\t"acme.dev/app/run"\n\t"acme.dev/tools/cut"\n'
        '\t"github.com/other/log"\n)\n\nfunc main() { run.All(); cut.Off(); log.Print() }\n',
        "app/run/run.go": "package run\n\nfunc All() {}\n",
        "tools/cut/cut.go": "package cut\n\nfunc Off() {}\n",
        "vendor/github.com/other/log/log.go": "package log\n\nfunc Print() {}\n",
    }
    expected = ["app/run/run.go", "tools/cut/cut.go", "vendor/github.com/other/log/log.go"]
    assert found("app/main.go", files) == expected
