"""The frame of a stage: what runs on every call, and what only where there is work."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from codling.core.artifact import Draft
from codling.core.flags import settings_of
from codling.core.inputs import source_input
from codling.core.recipe import aside
from codling.core.shards import Parallel
from codling.core.stage import Work, stage


@dataclass(frozen=True, kw_only=True)
class ToyConfig(Parallel):
    """Settings of a stage that copies a word."""

    word: str = "a"
    """What is written."""
    source: Path = aside()
    """A file that is read."""
    out_dir: Path = aside()
    """Where it goes."""


CALLS: list[str] = []


@stage("toy", version=1)
def copy(config: ToyConfig) -> Work:
    """Copy a word."""
    CALLS.append("opened")
    try:
        draft = yield [source_input(config.source)]
        CALLS.append("worked")
        draft.file("word.txt").write_text(config.word)
    finally:
        CALLS.append("closed")


@pytest.fixture
def config(tmp_path: Path) -> ToyConfig:
    CALLS.clear()
    source = tmp_path / "source.txt"
    source.write_text("x")
    return ToyConfig(source=source, out_dir=tmp_path / "out")


def test_a_stage_is_a_function_from_config_to_artifact(config: ToyConfig) -> None:
    made = copy(config)
    assert (made.path / "word.txt").read_text() == "a"
    (only,) = made.manifest.inputs
    assert (made.kind, only.kind, only.path) == ("toy", "source", str(config.source))
    assert CALLS == ["opened", "worked", "closed"]


def test_what_is_there_is_opened_and_checked_but_not_made_again(config: ToyConfig) -> None:
    first = copy(config)
    CALLS.clear()
    assert copy(config).id == first.id
    assert CALLS == ["opened", "closed"]


def test_a_mistake_before_the_yield_leaves_nothing_behind(config: ToyConfig) -> None:
    config.source.unlink()
    with pytest.raises(FileNotFoundError):
        copy(config)
    assert [p.name for p in config.out_dir.parent.iterdir()] == []


def test_the_kind_may_follow_from_the_config(config: ToyConfig) -> None:
    def work(config: ToyConfig) -> Work:
        draft = yield []
        draft.counts["words"] = len(config.word)

    made = stage(lambda config: f"of-{config.word}", version=1)(work)(config)
    assert (made.kind, made.counts) == ("of-a", {"words": 1})


def test_work_may_be_done_in_another_way_of_producing(config: ToyConfig) -> None:
    def produce(out_dir: Path, **given: object) -> object:
        given["work"](Draft(out_dir, "toy", ""))  # type: ignore[operator]
        return sorted(given)

    config.out_dir.mkdir()
    framed = stage("toy", version=1, produce=produce)  # type: ignore[arg-type]
    assert framed(copy.__wrapped__)(config) == [  # type: ignore[attr-defined]
        "config",
        "inputs",
        "kind",
        "version",
        "work",
    ]
    assert (config.out_dir / "word.txt").exists()


def test_a_stage_yields_once(config: ToyConfig) -> None:
    def twice(config: ToyConfig) -> Work:
        assert config.word == "a"
        yield []
        yield []

    with pytest.raises(AssertionError, match="yields once"):
        stage("toy", version=1)(twice)(config)


def test_a_stage_s_own_settings_stand_before_those_that_all_share() -> None:
    names = [setting.path for setting in settings_of(ToyConfig)]
    assert names == ["word", "source", "out_dir", "workers", "ray"]
