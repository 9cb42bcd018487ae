"""Shares of error, and the stage that drops what does not parse or is hard to read."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from codling.core.artifact import Draft, produce
from codling.core.errors import ConfigError
from codling.core.languages.table import LANGUAGES
from codling.core.shards import Shard, read_rows
from codling.corpus.filters.syntax import GRAMMARS, _parser, error_share, has_grammar
from codling.corpus.screen import ScreenConfig, screen
from codling.corpus.selection.quality import QualityConfig, quality
from codling.corpus.tables.schemas import DOCUMENT_SCHEMA, Document

VALID = {
    "c": "int main(void) { return 0; }\n",
    "cpp": "template <class T> struct A { T x; };\n",
    "java": "class A { int x = 1; }\n",
    "javascript": "const f = (a) => a + 1;\n",
    "typescript": "let x: number = 1;\n",
    "c-sharp": "class A { int X => 1; }\n",
    "css": "a { color: red; }\n",
    "dart": "void main() { print(1); }\n",
    "elixir": "defmodule A do\n  def f(x), do: x\nend\n",
    "fortran": "program a\n  integer :: x\nend program a\n",
    "go": "package a\n\nfunc f() int { return 1 }\n",
    "haskell": "module A where\n\nf x = x + 1\n",
    "html": "<html><body><p>a</p></body></html>\n",
    "json": '{"a": [1, 2]}\n',
    "julia": "f(x) = x + 1\n",
    "kotlin": "fun f(x: Int): Int = x + 1\n",
    "lua": "local function f(x) return x end\n",
    "ocaml": "let f x = x + 1\n",
    "perl": "my $x = 1;\nprint $x;\n",
    "php": "<?php\nfunction f($x) { return $x; }\n",
    "powershell": "function F {\n    $x = 1\n    $x + 1\n}\n",
    "ruby": "def f(x)\n  x + 1\nend\n",
    "rust": "fn f(x: i32) -> i32 { x + 1 }\n",
    "scala": "object A { def f(x: Int) = x + 1 }\n",
    "shell": "for i in 1 2; do echo $i; done\n",
    "solidity": "contract A { uint x; }\n",
    "sql": "SELECT a FROM b WHERE c = 1;\n",
    "verilog": "module a(input b, output c); assign c = b; endmodule\n",
    "yaml": "a:\n  - b\n  - c: 1\n",
    "zig": "pub fn f(x: i32) i32 {\n    return x + 1;\n}\n",
}
COMPLETE = ("c", "java", "javascript", "go", "rust", "ruby", "kotlin", "c-sharp", "scala", "lua")


def test_grammars_are_named_like_languages() -> None:
    assert len(GRAMMARS) >= 25
    assert set(GRAMMARS) - set(LANGUAGES) <= {"objective-c", "swift"}  # Coder-V2's, not the 89


@pytest.mark.parametrize("language", VALID)
def test_valid_code_has_no_error(language: str) -> None:
    if not has_grammar(language):
        pytest.skip(f"tree-sitter-{language} is not installed (extra `grammars`)")
    assert error_share(language, "file", VALID[language]) == 0


@pytest.mark.parametrize("language", COMPLETE)
def test_broken_code_has_errors(language: str) -> None:
    if not has_grammar(language):
        pytest.skip(f"tree-sitter-{language} is not installed (extra `grammars`)")
    share = error_share(language, "file", "((( ]] ^ %% def {{ " * 5)
    assert share is not None
    assert share > 0.05


def test_one_bad_line_in_a_long_file_is_a_small_share() -> None:
    text = VALID["c"] * 50 + "int x = = 3;\n"
    share = error_share("c", "a.c", text)
    assert share is not None
    assert 0 < share < 0.01


def test_tsx_has_a_grammar_of_its_own() -> None:
    text = "const a = <div>{b as string}</div>;\n"
    assert error_share("typescript", "a.tsx", text) == 0
    assert error_share("typescript", "a.ts", text) != 0


def test_what_has_no_grammar_is_not_judged() -> None:
    assert error_share("cobol", "a.cob", "anything (((") is None


def documents(folder: Path, texts: dict[str, str]) -> Path:
    language = {"py": "python", "java": "java", "c": "c", "txt": "text", "rs": "rust"}
    rows = [
        Document(
            source="s", repo="r", path=path, language=language.get(path.split(".")[1], "python"),
            license="MIT", license_from="none", split="train", n_bytes=len(text), sha256=path,
            content=text,
        )
        for path, text in texts.items()
    ]  # fmt: skip

    def work(draft: Draft) -> None:
        Shard(draft.path, 0).write_rows("documents", [asdict(r) for r in rows], DOCUMENT_SCHEMA)

    made = produce(folder, kind="documents", version=1, config={}, inputs=[], work=work)
    return made.path


def test_what_does_not_parse_is_dropped_with_its_share(tmp_path: Path) -> None:
    texts = {
        "a.py": "x = 1\n",
        "b.py": "x = (\n",
        "a.pyx": "cdef int x = 1\n",
        "a.java": VALID["java"],
        "b.java": VALID["java"] * 100 + "class B { int x = = 3; }\n",
        "a.c": VALID["c"] * 100 + "int x = = 3;\n",
        "b.c": "]]] ((( int",
        "a.txt": "(((",
    }
    folder = documents(tmp_path / "in", texts)
    config = ScreenConfig(documents_dir=folder, out_dir=tmp_path / "out", readable=False)
    made = screen(config)
    dropped = {r["path"]: (r["rule"], float(r["value"])) for r in read_rows(made, "dropped")}
    assert sorted(dropped) == ["b.c", "b.java", "b.py"]
    assert dropped["b.py"] == ("syntax", 1.0)
    assert 0 < dropped["b.java"][1] < 0.05
    assert made.counts["without_grammar"] == {"text": 1, "python": 1}
    tools = {i.path for i in made.manifest.inputs if i.kind == "tool"}
    assert tools == {"python", "tree-sitter", "tree-sitter-c", "tree-sitter-java"}


@pytest.mark.long
def test_what_nobody_reads_is_dropped_with_rule_and_value(tmp_path: Path) -> None:
    texts = {"a.py": "x = 1\n", "b.py": "call_something(first, second)\n" * 30}
    folder = documents(tmp_path / "in", texts)
    made = screen(ScreenConfig(documents_dir=folder, out_dir=tmp_path / "out"))
    rows = [(r["path"], r["rule"], r["value"]) for r in read_rows(made, "dropped")]
    assert rows == [("b.py", "repeated-lines", "0.97")]
    off = ScreenConfig(documents_dir=folder, out_dir=tmp_path / "off", readable=False)
    assert screen(off).counts["dropped"] == 0


@pytest.mark.long
def test_what_a_quality_model_scores_low_is_dropped(tmp_path: Path) -> None:
    good = "def total(first, second):\n    return first + second\n"
    bad = "todo stuff junk lorem = ipsum\n"
    rows = [{"text": t * n, "label": int(t is good)} for t in (good, bad) for n in range(1, 9)]
    examples = tmp_path / "examples.jsonl"
    examples.write_text("\n".join(map(json.dumps, rows)))
    model = quality(QualityConfig(examples=(examples,), out_dir=tmp_path / "model"))
    folder = documents(tmp_path / "in", {"a.py": good * 9, "b.txt": bad * 9})
    config = ScreenConfig(
        documents_dir=folder, out_dir=tmp_path / "out", quality_model=model.path, readable=False
    )
    made = screen(config)
    assert [(r["path"], r["rule"]) for r in read_rows(made, "dropped")] == [
        ("b.txt", "low-quality")
    ]
    assert model.id in {i.id for i in made.manifest.inputs}


def test_a_grammar_that_could_be_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    folder = documents(tmp_path / "in", {"a.rs": "fn f() {}\n", "a.txt": "x"})
    monkeypatch.setitem(GRAMMARS, "rust", ("not_installed", "language"))
    _parser.cache_clear()
    config = ScreenConfig(documents_dir=folder, out_dir=tmp_path / "out", workers=1)
    made = screen(config)
    _parser.cache_clear()
    assert made.counts["without_grammar"] == {"rust": 1, "text": 1}
    assert "no grammar for rust 1 files; pip install 'codling[grammars]'" in capsys.readouterr().err


def test_a_share_above_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_error_share"):
        ScreenConfig(documents_dir=tmp_path, out_dir=tmp_path, max_error_share=5)
