"""corpus/selection: the linear model learns; recall in rounds reaches further than the seeds."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from codling.core.artifact import Artifact
from codling.core.errors import ConfigError, SourceError
from codling.core.shards import read_rows
from codling.corpus.clean import clean
from codling.corpus.collect import collect
from codling.corpus.config import CleanConfig, CollectConfig
from codling.corpus.selection.quality import QualityConfig, open_quality, quality
from codling.corpus.selection.recall import RecallConfig, domain, recall
from codling.corpus.selection.rows import read_slice, read_texts, slices

CODE = [
    "def",
    "return",
    "import",
    "class",
    "self",
    "for",
    "in",
    "print",
    "list",
    "dict",
    "len",
    "range",
]
TALK = [
    "the",
    "garden",
    "and",
    "kitchen",
    "were",
    "warm",
    "with",
    "soup",
    "bread",
    "flowers",
    "summer",
    "holiday",
]
STACK = ["segfault", "compiler", "pointer", "malloc", "linker", "header", "struct"]


def words(rng: random.Random, *vocabularies: list[str]) -> str:
    return " ".join(rng.choice(rng.choice(vocabularies)) for _ in range(60))


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def urls(artifact: Artifact) -> set[str]:
    return {row["url"] for row in read_rows(artifact, "pages")}


def crawl(folder: Path) -> RecallConfig:
    rng = random.Random(0)
    pages = [{"url": f"https://cook.org/{i}", "text": words(rng, TALK)} for i in range(60)]
    pages += [{"url": f"https://www.code.io/{i}", "text": words(rng, CODE)} for i in range(10)]
    pages += [{"url": f"https://code.io/m{i}", "text": words(rng, CODE, STACK)} for i in range(10)]
    pages += [{"url": f"https://c.dev/{i}", "text": words(rng, STACK, CODE)} for i in range(10)]
    seeds = [{"text": words(rng, CODE)} for _ in range(8)]
    return RecallConfig(
        pages=(write(folder / "pages.jsonl", pages),),
        seeds=(write(folder / "seeds.jsonl", seeds),),
        out_dir=folder / "out",
        rounds=3,
        negatives=1.0,
        workers=1,
    )


@pytest.mark.long
def test_a_crawl_gives_back_its_pages_about_code_and_their_domains(tmp_path: Path) -> None:
    made = recall(crawl(tmp_path))
    found = {row["domain"] for row in read_rows(made, "pages")}
    assert "cook.org" not in found
    assert {"code.io", "c.dev"} <= found
    domains = json.loads((made.path / "domains.json").read_text())
    assert domains["seeds"] == ["c.dev", "code.io"]
    assert len(domains["rounds"]) == 3
    assert made.counts["recalled"] == 30


def test_a_page_without_text_is_one_line(tmp_path: Path) -> None:
    config = crawl(tmp_path)
    write(tmp_path / "pages.jsonl", [{"url": "x"}])
    with pytest.raises(SourceError, match="row 1 must have url and text"):
        recall(config)


@pytest.mark.long
def test_the_pages_do_not_depend_on_workers_and_slices(tmp_path: Path) -> None:
    config = replace(crawl(tmp_path), rounds=1)
    one = recall(replace(config, workers=1, slice_bytes=4000))
    two = recall(replace(config, workers=2, slice_bytes=4000, out_dir=tmp_path / "two"))
    assert len(one.files("pages-*.parquet")) > 5
    assert [f.sha256 for f in one.manifest.files] == [f.sha256 for f in two.manifest.files]
    whole = recall(replace(config, out_dir=tmp_path / "whole"))
    assert urls(whole) == urls(one)
    table = pa.Table.from_pylist([json.loads(x) for x in config.pages[0].read_text().splitlines()])
    pq.write_table(table, tmp_path / "pages.parquet", row_group_size=7)
    packed = replace(config, pages=(tmp_path / "pages.parquet",), slice_bytes=1000)
    assert urls(recall(replace(packed, out_dir=tmp_path / "packed"))) == urls(one)


def test_tokens_of_a_tokenizer_can_be_the_features(tmp_path: Path) -> None:
    config = crawl(tmp_path)
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    texts = [json.loads(line)["text"] for line in config.pages[0].read_text().splitlines()]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, show_progress=False, special_tokens=[]
    )
    core.train_from_iterator(texts, trainer)
    (tmp_path / "tokenizer").mkdir()
    core.save(str(tmp_path / "tokenizer" / "tokenizer.json"))
    made = recall(replace(config, tokenizer_dir=tmp_path / "tokenizer", workers=2))
    assert {row["domain"] for row in read_rows(made, "pages")} == {"code.io", "c.dev"}
    assert made.counts["recalled"] == 30
    assert [i.path for i in made.manifest.inputs][-1].endswith("tokenizer.json")
    with pytest.raises(ConfigError, match="no tokenizer at"):
        recall(replace(config, tokenizer_dir=tmp_path / "nowhere"))


def test_slices_hold_every_line_once(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [{"text": "ü" * (i % 40)} for i in range(200)])
    whole = [row["text"] for row in read_texts((path,), ("text",))]
    for n_bytes in (1, 7, 100, 10**6):
        parts = slices((path,), n_bytes)
        assert [row["text"] for part in parts for row in read_slice(part, ("text",))] == whole


def test_a_broken_line_far_behind_is_one_line(tmp_path: Path) -> None:
    config = crawl(tmp_path)
    with config.pages[0].open("a") as file:
        file.write('{"url": "https://x.org", "text": \n')
    with pytest.raises(SourceError, match="the line at byte 36044 is not valid JSON"):
        recall(replace(config, slice_bytes=4000, workers=1))
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(SourceError, match="at least one page and one seed"):
        recall(replace(config, pages=(tmp_path / "empty.jsonl",), out_dir=tmp_path / "e"))


def test_domains_are_hosts_without_www() -> None:
    assert domain("https://www.a.org:80/x") == "a.org"
    assert domain("a.org/x") == "a.org"


def test_quality_is_learned_from_labels_and_the_same_after_reading(tmp_path: Path) -> None:
    rng = random.Random(1)
    rows = [{"text": words(rng, CODE), "label": 1} for _ in range(40)]
    rows += [{"text": words(rng, TALK), "label": 0} for _ in range(40)]
    examples = write(tmp_path / "labelled.jsonl", rows)
    made = quality(QualityConfig(examples=(examples,), out_dir=tmp_path / "q"))
    assert made.counts["tested"] > 5
    assert made.counts["right"] == made.counts["tested"]
    good, bad = open_quality(made.path).score([words(rng, CODE), words(rng, TALK)])
    assert good > 0.7 > 0.3 > bad


@pytest.mark.long
def test_documents_are_scored_by_any_number_of_workers(tmp_path: Path) -> None:
    rng = random.Random(1)
    rows = [{"text": words(rng, CODE), "label": 1} for _ in range(30)]
    rows += [{"text": words(rng, TALK), "label": 0} for _ in range(30)]
    examples = write(tmp_path / "labelled.jsonl", rows)
    root = tmp_path / "app"
    root.mkdir()
    for i in range(12):
        (root / f"good{i}.py").write_text(words(rng, CODE).replace(" ", "()\n"))
        (root / f"bad{i}.py").write_text(words(rng, TALK).replace(" ", "()\n"))
    places: dict[str, Any] = {"out_dir": tmp_path / "raw", "shard_bytes": 4000, "workers": 1}
    raw = collect(CollectConfig(sources=(root,), own=True, **places)).path
    config = CleanConfig(raw_dir=raw, out_dir=tmp_path / "d", workers=1)
    settings: dict[str, Any] = {"examples": (examples,), "documents_dir": clean(config).path}
    one = quality(QualityConfig(**settings, out_dir=tmp_path / "1", workers=1))
    two = quality(QualityConfig(**settings, out_dir=tmp_path / "2", workers=2))
    assert [f.sha256 for f in one.manifest.files] == [f.sha256 for f in two.manifest.files]
    scores = {row["path"]: row["score"] for row in read_rows(one, "scores")}
    assert one.counts["scored"] == len(scores) == 24
    assert all((score > 0.5) == path.startswith("good") for path, score in scores.items())


def test_quality_needs_both_labels(tmp_path: Path) -> None:
    examples = write(tmp_path / "x.jsonl", [{"text": "a b", "label": 1}] * 3)
    with pytest.raises(ConfigError, match="examples of both kinds"):
        quality(QualityConfig(examples=(examples,), out_dir=tmp_path / "q", test_share=0.0))
