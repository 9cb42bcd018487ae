"""The stage score-commits on a small history; a line of a later commit that nothing has read."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codling.core.artifact import Artifact, open_artifact
from codling.core.errors import CodlingError, ConfigError
from codling.core.shards import read_rows
from codling.corpus.arrange import ArrangeConfig, arrange
from codling.corpus.clean import clean
from codling.corpus.collect import collect
from codling.corpus.config import CleanConfig, CollectConfig
from codling.engine.remember import MemoryConfig, memory
from codling.evaluate.heldout import score_commits as stage
from codling.evaluate.heldout.arms import ArmAnswer
from codling.evaluate.heldout.score_commits import ScoreCommitsConfig, score_commits
from codling.tokens.bpe import TokenizerConfig, learn_tokenizer
from codling.tokens.pack import PackConfig, pack
from codling.tokens.token_files import open_stream
from codling.tokens.tokenizer import Tokenizer
from git_repositories import git, history, repository
from later_project import CANARY, CANARY_WORDS, NOTICE, project
from serve.tiny_server import save_model


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("repo") / "app")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "tiny")


def settings(repo: Path, model: Path, out_dir: Path) -> ScoreCommitsConfig:
    return ScoreCommitsConfig(
        repo=repo,
        model=model,
        out_dir=out_dir,
        n_places=6,
        fit_tokens=0,
        max_length=512,
        precision="float32",
    )


def read(made: Artifact) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    rows = [json.loads(line) for line in (made.path / "answers.jsonl").read_text().splitlines()]
    page = (made.path / "before-after.html").read_text()
    return json.loads((made.path / "scores.json").read_text()), rows, page


@pytest.mark.long
def test_every_arm_answers_the_same_places(repo: Path, model: Path, tmp_path: Path) -> None:
    config = replace(settings(repo, model, tmp_path / "scores"), arms="all", tuned=model)
    made = score_commits(replace(config, foreign=repo, foreign_tokens=300, cutoff="2020-09-15"))
    scores, rows, page = read(made)
    arms = {"n-gram", "memory alone"}
    arms |= {f"base{more}" for more in ("", " + context", " + memory", " + context + memory")}
    arms |= {"tuned", "tuned + context", "tuned + context + memory"}
    assert set(scores["arms"]) == arms
    assert made.kind == "commit-scores"
    assert len(rows) == 6
    assert all(set(row["answers"]) == arms for row in rows)
    # The tuned model is the base: nothing can show.
    same = scores["differences"]["tuned + context"]["bits_per_byte"]
    assert same == {"value": 0, "low": 0, "high": 0}
    assert scores["forgetting"]["base"] == scores["forgetting"]["tuned"]
    assert scores["asked_with"] == "fim"
    assert all(str(row["path"]) in page for row in rows)
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.long
def test_the_memory_of_the_tree_repeats_what_a_random_model_cannot(
    repo: Path, model: Path, tmp_path: Path
) -> None:
    scores, _, _ = read(score_commits(settings(repo, model, tmp_path / "scores")))
    change = scores["differences"]["base + context + memory"]["bits_per_byte"]
    assert change["high"] < 0
    assert "Too few commits" in scores["verdict"]["text"]


@pytest.mark.long
def test_answers_and_page_hold_no_secret_of_a_later_commit(model: Path, tmp_path: Path) -> None:
    before = {"LICENSE": NOTICE, "app/a.py": "def ask():\n    return 1\n"}
    line = 'owner = send_letter("jo.do@acme.org")'
    after = before | {"app/a.py": f"{before['app/a.py']}\n\n{line}\n"}
    history(tmp_path / "app", [before, after])
    config = settings(tmp_path / "app", model, tmp_path / "scores")
    made = score_commits(replace(config, at=git(tmp_path / "app", "rev-parse", "HEAD~1").strip()))
    _, (row,), page = read(made)
    assert row["truth"] == 'owner = send_letter("<EMAIL>")'
    assert "acme" not in page
    assert not any(b"acme" in p.read_bytes() for p in made.path.rglob("*") if p.is_file())


@pytest.mark.long
def test_interrupted_it_goes_on_with_the_answers_that_are_there(
    repo: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(repo, model, tmp_path / "scores")
    asked: list[str] = []
    real = stage.answer

    def counted(*given: object) -> ArmAnswer:
        if len(asked) == 7:
            raise KeyboardInterrupt
        asked.append("")
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(stage, "answer", counted)
    with pytest.raises(KeyboardInterrupt):
        score_commits(config)
    asked.clear()
    asked.append("")

    def counted_on(*given: Any) -> Any:
        asked.append("")
        return real(*given)

    monkeypatch.setattr(stage, "answer", counted_on)
    _, rows, _ = read(score_commits(config))
    assert len(asked) == 1 + 18 - 7
    again = settings(repo, model, tmp_path / "again")
    assert [r["answers"] for r in rows] == [r["answers"] for r in read(score_commits(again))[1]]


@pytest.mark.long
def test_a_model_without_fim_is_asked_with_the_prefix_and_the_page_says_so(
    repo: Path, tmp_path: Path
) -> None:
    plain = save_model(tmp_path / "plain", fim=False)
    scores, _, page = read(score_commits(settings(repo, plain, tmp_path / "scores")))
    assert scores["asked_with"] == "prefix only"
    assert "no fill-in-the-middle tokens" in page


@pytest.mark.long
def test_a_tuned_model_with_other_tokens_gets_a_memory_of_its_own(
    repo: Path, model: Path, tmp_path: Path
) -> None:
    plain = save_model(tmp_path / "plain", fim=False)
    config = replace(settings(repo, model, tmp_path / "scores"), tuned=plain, n_places=2)
    scores, _, _ = read(score_commits(config))
    assert scores["subject"] == "tuned + context + memory"
    assert open_artifact(tmp_path / "scores.at-cut" / "memory-tuned").kind == "memory"


@pytest.mark.long
def test_a_memory_that_has_read_later_commits_is_refused(
    repo: Path, model: Path, tmp_path: Path
) -> None:
    made = memory(
        MemoryConfig(path=repo, own=True, model=model, out_dir=tmp_path / "m", fit_tokens=0)
    )
    config = replace(settings(repo, model, tmp_path / "scores"), memory=made.path)
    with pytest.raises(ConfigError, match="has read later commits"):
        score_commits(config)


def test_without_later_code_there_is_one_line(model: Path, tmp_path: Path) -> None:
    history(tmp_path / "app", [{"a.txt": str(i), "LICENSE": NOTICE} for i in range(60)])
    with pytest.raises(CodlingError, match="no line of code that can be asked"):
        score_commits(settings(tmp_path / "app", model, tmp_path / "scores"))
    with pytest.raises(CodlingError, match="has 1 commits, too few"):
        score_commits(settings(repository(tmp_path / "one"), model, tmp_path / "s2"))
    with pytest.raises(CodlingError, match="not a git repository"):
        score_commits(settings(model, model, tmp_path / "s3"))


@pytest.mark.long
def test_a_line_of_a_later_commit_is_nowhere_in_what_is_learned_from(
    repo: Path, model: Path, tmp_path: Path
) -> None:
    assert CANARY in git(repo, "show", "HEAD:app/c.py")
    raw = collect(
        CollectConfig(
            sources=(repo,), out_dir=tmp_path / "raw", heldout_by="commits", heldout_fraction=0.0
        )
    )
    documents = clean(CleanConfig(raw_dir=raw.path, out_dir=tmp_path / "documents"))
    samples = arrange(ArrangeConfig(documents_dir=documents.path, out_dir=tmp_path / "samples"))
    words = learn_tokenizer(
        TokenizerConfig(samples_dir=samples.path, out_dir=tmp_path / "tokenizer", vocab_size=400)
    )
    tokens = pack(
        PackConfig(
            samples_dir=samples.path,
            tokenizer_dir=words.path,
            out_dir=tmp_path / "tokens",
            context=64,
            fim_rate=0.0,
        )
    )
    made = memory(
        MemoryConfig(path=documents.path, model=model, out_dir=tmp_path / "memory", fit_tokens=0)
    )
    texts = [row["content"] for row in read_rows(raw, "documents")]
    texts += [row["content"] for row in read_rows(documents, "documents")]
    texts += [row["content"] for row in read_rows(samples, "samples")]
    own = Tokenizer.open(words.path)
    texts.append(own.decode([int(i) for i in np.asarray(open_stream(tokens.path, "train"))]))
    stored = np.load(made.path / "tokens.npy")
    inside = [int(i) for i in stored if i < Tokenizer.open(model).vocab_size]
    texts.append(Tokenizer.open(model).decode(inside))
    texts += [p.read_text("utf-8", "ignore") for p in tmp_path.rglob("*") if p.is_file()]
    assert any("step_29" in text for text in texts)
    for word in CANARY_WORDS:
        assert not [text[:80] for text in texts if word in text]
    assert open_artifact(raw.path).counts["learned_at"]["app"] == git(repo, "rev-parse", "HEAD~30")
