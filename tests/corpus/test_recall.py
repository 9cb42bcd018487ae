"""corpus/recall and corpus/quality: the linear model learns; rounds reach further than seeds."""

import json
import random
from pathlib import Path

import pytest

from codling.core.errors import ConfigError, SourceError
from codling.core.shards import read_rows
from codling.corpus.quality import QualityConfig, open_quality, quality
from codling.corpus.recall import RecallConfig, domain, recall

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
    )


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


def test_quality_needs_both_labels(tmp_path: Path) -> None:
    examples = write(tmp_path / "x.jsonl", [{"text": "a b", "label": 1}] * 3)
    with pytest.raises(ConfigError, match="examples of both kinds"):
        quality(QualityConfig(examples=(examples,), out_dir=tmp_path / "q", test_share=0.0))
