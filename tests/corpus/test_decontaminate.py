"""Parts of benchmarks in documents: what is found in any dress, and what is left alone."""

import gzip
import json
import re
import sysconfig
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codling.core.artifact import Draft, produce
from codling.core.errors import ConfigError, SourceError
from codling.core.shards import Shard, read_rows
from codling.corpus.contamination import ngrams
from codling.corpus.contamination.benchmark_texts import (
    BenchmarkText,
    benchmark_files,
    join_insertion,
    read_texts,
)
from codling.corpus.decontaminate import DecontaminateConfig, decontaminate, make_index
from codling.corpus.tables.schemas import DOCUMENT_SCHEMA, Document

SOLUTION = "def add_all(values):\n    total = 0\n    for value in values:\n        total += value\n"
SHORT = "return values"  # two words: too short to be looked for
LINE = "return sorted(values, key=len)"


def config(tmp_path: Path, **settings: Any) -> DecontaminateConfig:
    given = {"documents_dir": tmp_path / "in", "out_dir": tmp_path / "out", "benchmarks": ()}
    return DecontaminateConfig(**{**given, **settings})


def index_of(tmp_path: Path, *texts: str) -> ngrams.Index:
    rows = [BenchmarkText("b.jsonl", "solution", i, text) for i, text in enumerate(texts)]
    return make_index(rows, config(tmp_path))


def is_found(index: ngrams.Index, text: str) -> bool:
    return ngrams.find(index, np.frombuffer(text.encode(), np.uint8)) is not None


def test_tokens_equal_plain_python() -> None:
    text = "Größe = f(x_1) + 中文字\t# ÄÖ\n".encode() + b"\x80\xff"
    for symbols, read in ((False, ngrams.words), (True, ngrams.symbols)):
        expected = ngrams.tokens_reference(text, symbols=symbols)
        found = read(text)
        assert [
            text[s : s + len(e)].lower() for s, e in zip(found.starts, expected, strict=True)
        ] == expected
        assert len(set(found.hashes.tolist())) == len(set(expected))


@pytest.mark.long
def test_a_solution_is_found_reindented_recased_and_split_over_lines(tmp_path: Path) -> None:
    index = index_of(tmp_path, SOLUTION)
    for dressed in (
        SOLUTION.replace("    ", "\t\t"),
        SOLUTION.upper(),
        re.sub(r" ", "\n", SOLUTION),
        SOLUTION.replace("\n", ";"),
        "x = 1\n" * 50 + SOLUTION + "y = 2\n" * 50,
    ):
        assert is_found(index, dressed)
    assert not is_found(index, SOLUTION.replace("value", "item").replace("total", "sum_"))


@pytest.mark.long
def test_a_short_text_is_looked_for_as_a_whole_with_its_punctuation(tmp_path: Path) -> None:
    index = index_of(tmp_path, LINE, SHORT)
    assert is_found(index, f"def f(values):\n\t{LINE.upper()}")
    assert not is_found(index, "return sorted(values), key, len")
    assert not is_found(index, f"x\n{SHORT}")


def test_numbers_and_single_letters_are_no_evidence(tmp_path: Path) -> None:
    table = "[" + ", ".join(map(str, range(30))) + "]"
    index = index_of(
        tmp_path,
        table + " is the answer to all of the questions",
        "while a b c d e f g h i j return k",
    )
    assert not is_found(index, f"x = {table}")
    assert is_found(index, "28, 29 IS the answer to all of the questions")
    assert not is_found(index, "while a(b) c d e f g h i j return k")
    assert is_found(index, "while a b c d e f g h i j return k")  # compared as a whole


def test_the_search_equals_plain_python(tmp_path: Path) -> None:
    index = index_of(tmp_path, SOLUTION, LINE)
    own = ngrams.tokens_reference(SOLUTION.encode(), symbols=False)
    grams = [own[i : i + 10] for i in range(len(own) - 9)]
    for text in (SOLUTION, LINE, SOLUTION[:50], "sorted(values", LINE[:-1], ""):
        expected = ngrams.find_reference(grams, [LINE.encode()], 10, text.encode())
        assert is_found(index, text) == expected


def test_every_format_gives_the_same_texts(tmp_path: Path) -> None:
    rows = [{"id": 1, "text": "a", "tests": ["b", {"c": "d\u2028e"}]}]
    line = json.dumps(rows[0], ensure_ascii=False)
    (tmp_path / "a.jsonl").write_text(line + "\n")
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(line.encode()))
    for name in ("a.jsonl", "a.json", "a.jsonl.gz"):
        assert [t.text for t in read_texts(tmp_path / name, ())] == ["a", "b", "d\u2028e"]
        assert [t.text for t in read_texts(tmp_path / name, ("text",))] == ["a"]


SPAN = {"prompt": SOLUTION[:30], "canonical_solution": SOLUTION[30:50], "suffix": SOLUTION[50:]}
HOLED = {"eval_prompt": "x = {{completion}}\n", "ground_truth": "f(y)", "lang": "python"}


def read_rows_of(tmp_path: Path, *rows: object) -> list[BenchmarkText]:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(read_texts(path, ()))


def test_an_insertion_task_is_looked_for_as_the_text_that_it_was_cut_from(tmp_path: Path) -> None:
    (text,) = read_rows_of(tmp_path, SPAN)
    assert (text.field, text.text) == ("prompt+canonical_solution+suffix", SOLUTION)
    assert join_insertion(HOLED) == {"eval_prompt": "x = f(y)\n", "lang": "python"}
    assert join_insertion({"prompt": "p", "canonical_solution": "s"}).keys() == {
        "prompt", "canonical_solution",
    }  # fmt: skip


def test_a_random_span_alone_is_no_evidence_and_the_task_is(tmp_path: Path) -> None:
    span = {"prompt": SOLUTION, "canonical_solution": "for i in range(n):", "suffix": "\n    x()\n"}
    index = make_index(read_rows_of(tmp_path, span), config(tmp_path))
    assert not is_found(index, "for i in range(n):\n    print(i)\n")
    assert is_found(index, SOLUTION)


def test_the_arguments_of_a_test_are_no_evidence_while_they_are_short(tmp_path: Path) -> None:
    long = " ".join(f"word{'abcdefghij'[i]}" for i in range(10))
    row = {"task": "t", "plus_input": [["This is a test"], [long]], "test_list": [LINE]}
    index = make_index(read_rows_of(tmp_path, row), config(tmp_path))
    assert not is_found(index, "# This is a test")
    assert is_found(index, long)
    assert is_found(index, LINE)


@pytest.mark.parametrize(
    "line",
    [
        "import java.util.{};",
        "import os.{}",
        "from typing.{} import List, Any",
        "#include <sys/{}.h>",
        "using System.{};",
        "use std::collections::{};",
        'import {} from "lodash";',
    ],
)
def test_lines_that_import_are_no_evidence_and_what_stands_between_is(
    tmp_path: Path, line: str
) -> None:
    imports = "\n".join(line.format(name) for name in ("alpha", "beta", "gamma", "delta", "eps"))
    index = index_of(tmp_path, f"{imports}\n{SOLUTION}{imports}", imports)
    assert not is_found(index, f"{imports}\nx = 1\n")
    assert is_found(index, SOLUTION)


def write_documents(out_dir: Path, texts: list[str]) -> Path:
    rows = [
        Document(
            source="s", repo="r", path=f"{i}.py", language="python", license="MIT",
            license_from="none", split="train", n_bytes=len(text), sha256=str(i), content=text,
        )
        for i, text in enumerate(texts)
    ]  # fmt: skip

    def work(draft: Draft) -> None:
        for i in range(2):
            part = [asdict(row) for row in rows[i::2]]
            Shard(draft.path, i).write_rows("documents", part, DOCUMENT_SCHEMA)

    produce(out_dir, kind="documents", version=1, config={"t": texts}, inputs=[], work=work)
    return out_dir


@pytest.mark.long
def test_hits_are_dropped_and_reported(tmp_path: Path) -> None:
    (tmp_path / "bench.jsonl").write_text(json.dumps({"id": "x", "solution": SOLUTION}) + "\n")
    write_documents(tmp_path / "in", ["import os\n", "# mine\n" + SOLUTION, "y = 1\n"])
    made = decontaminate(config(tmp_path, benchmarks=(tmp_path / "bench.jsonl",)))
    assert sorted(r["path"] for r in read_rows(made, "documents")) == ["0.py", "2.py"]
    (dropped,) = read_rows(made, "dropped")
    assert (dropped["path"], dropped["rule"], dropped["value"]) == (
        "1.py", "benchmark", "bench.jsonl:0:solution",
    )  # fmt: skip
    (hit,) = read_rows(made, "hits")
    assert hit["excerpt"].startswith("def add_all(values)")
    assert made.counts["hits"] == {"bench.jsonl": 1}


def test_bad_input_is_refused(tmp_path: Path) -> None:
    write_documents(tmp_path / "in", ["x"])
    with pytest.raises(SourceError, match="no benchmark at"):
        decontaminate(config(tmp_path, benchmarks=(tmp_path / "absent",)))
    (tmp_path / "b.jsonl").write_text("{not json\n")
    with pytest.raises(SourceError, match=r"b\.jsonl line 1 is not valid JSON"):
        decontaminate(config(tmp_path, benchmarks=(tmp_path / "b.jsonl",)))
    with pytest.raises(ConfigError, match="min_words"):
        config(tmp_path, min_words=11)


@pytest.mark.long
def test_all_planted_humaneval_and_mbpp_solutions_are_found(
    shared_data: Path, tmp_path: Path
) -> None:
    folder = shared_data / "benchmarks"
    files = [folder / "humaneval/HumanEval.jsonl.gz", folder / "mbpp-deepseek/mbpp.jsonl.gz"]
    texts = [t for path in files for t in read_texts(path, ())]
    index = make_index(texts, config(tmp_path))
    solutions = {
        (t.file, t.row): t.text for t in texts if t.field in ("canonical_solution", "code")
    }
    silent = [place for place, text in solutions.items() if not is_found(index, text)]
    bodies = sorted(solutions[place].strip() for place in silent)
    assert bodies == ["return a * h / 2.0", "return n**2", "return x + y"]
    for place in silent:  # too little by themselves: found with the question that they answer
        prompt = next(t.text for t in texts if (t.file, t.row) == place and t.field == "prompt")
        solutions[place] = prompt + solutions[place]
    for text in solutions.values():
        for dressed in (
            text,
            text.upper(),
            re.sub(r"\s+", "\n\t", text),
            text.replace("\n", "\n  "),
        ):
            assert is_found(index, f"import os\n{dressed}\nprint(1)\n")


@pytest.mark.long
def test_clean_files_are_left_alone(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "benchmarks"
    files = [folder / "humaneval/HumanEval.jsonl.gz", folder / "mbpp-deepseek/mbpp.jsonl.gz"]
    index = make_index([t for path in files for t in read_texts(path, ())], config(tmp_path))
    library = Path(sysconfig.get_path("stdlib"))
    clean = [p for p in library.rglob("*.py") if not re.search("test|site-packages", str(p))]
    hits = [p for p in clean if is_found(index, p.read_text("utf-8", "replace"))]
    assert len(clean) > 500
    assert len(hits) <= 3, hits


@pytest.mark.slow
def test_the_pieces_of_infilling_benchmarks_take_no_file_of_the_standard_library(
    shared_data: Path, tmp_path: Path
) -> None:
    folders = [shared_data / "benchmarks" / name for name in ("humaneval-infilling", "evalplus")]
    texts = [t for path in benchmark_files(folders) for t in read_texts(path, ())]
    index = make_index(texts, config(tmp_path))
    library = Path(sysconfig.get_path("stdlib"))
    clean = [p for p in library.rglob("*.py") if not re.search("test|site-packages", str(p))]
    hits = [p for p in clean if is_found(index, p.read_text("utf-8", "replace"))]
    assert len(clean) > 500
    assert len(hits) <= 3, hits
    human_eval = shared_data / "benchmarks/humaneval/HumanEval.jsonl.gz"
    prompts = [t.text for t in read_texts(human_eval, ("prompt",))]
    assert [p for p in prompts if not is_found(index, p)] == []
