"""How `grow` joins its stations: who takes what, what is left out, and mistakes before any work."""

from pathlib import Path
from typing import Any

import pytest

from codling.core.errors import ConfigError
from codling.corpus.arrange import ArrangeConfig
from codling.corpus.decontaminate import DecontaminateConfig
from codling.corpus.dedup import DedupConfig
from codling.pipeline import GrowConfig, StationRun, _default_run_dir, prepare

RUN = Path("runs/x")


def steps(**settings: Any) -> dict[str, StationRun]:
    return {s.station.table: s for s in prepare(GrowConfig(**settings), RUN)}


def arranged(found: dict[str, StationRun]) -> ArrangeConfig:
    config = found["arrange"].config
    assert isinstance(config, ArrangeConfig)
    return config


def test_each_station_takes_the_documents_of_the_last_one_that_runs(tmp_path: Path) -> None:
    benchmark = tmp_path / "humaneval.jsonl"
    benchmark.write_text('{"a": "b"}\n')
    whole = steps(set=(f"decontaminate.benchmarks={benchmark}",))
    taken = [getattr(s.config, "documents_dir", None) for s in whole.values()]
    assert [p.name for p in taken if p] == ["documents", "decontaminated", "unique", "screened"]
    assert arranged(whole).left_out == ()
    none = steps(skip=("screen", "dedup"))
    assert arranged(none).documents_dir == RUN / "documents"


def test_what_is_left_out_is_noted_where_the_samples_are_made() -> None:
    found = steps(skip=("screen",))
    assert found["screen"].left_out == "as --skip says"
    assert arranged(found).left_out == (
        "decontaminate: no benchmarks given (--set decontaminate.benchmarks=PATH)",
        "screen: as --skip says",
    )


@pytest.mark.parametrize("form", ["{a}", '["{a}", "{b}"]', "[{a}, {b}]", "[{a},{b}]"])
def test_benchmarks_are_one_path_or_a_list_with_or_without_quotes(
    tmp_path: Path, form: str
) -> None:
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    a.touch()
    b.touch()
    found = steps(set=(f"decontaminate.benchmarks={form.format(a=a, b=b)}",))
    config = found["decontaminate"].config
    assert isinstance(config, DecontaminateConfig)
    assert config.benchmarks == ((a, b) if "[" in form else (a,))


def test_workers_and_ray_reach_every_data_station() -> None:
    found = steps(workers=7, ray="10.0.0.1:6379")
    for name in ("collect", "clean", "dedup", "screen", "arrange"):
        config: Any = found[name].config
        assert (config.workers, config.ray) == (7, "10.0.0.1:6379")
    own = steps(workers=7, set=("dedup.workers=1",))["dedup"].config
    assert isinstance(own, DedupConfig)
    assert own.workers == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"skip": ("dedupe",)}, "skip: unknown station dedupe; did you mean dedup?"),
        ({"skip": ("collect",)}, "valid stations: decontaminate, dedup, screen"),
        ({"set": ("decontaminate.benchmarks=/no/such",)}, "benchmarks names /no/such, which does"),
        ({"set": ("decontaminate.benchmrks=a",)}, "unknown key benchmrks; did you mean benchmarks"),
        ({"set": ("dedup.stars=/no/such",)}, "stars names /no/such"),
        ({"set": ("screen.quality_model=/no/such",)}, "quality_model names /no/such"),
        ({"set": ("screen.readability.max_nam=3",)}, "did you mean max_name?"),
        ({"set": ("dedup.level=repo",)}, "choose one of file, repository"),
        ({"set": ("dedup=3",)}, "write it as TABLE.KEY=VALUE"),
    ],
)
def test_a_mistake_in_a_station_is_found_before_the_first_one_starts(
    settings: dict[str, tuple[str, ...]], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        steps(**settings)
    assert message in str(caught.value)


def test_a_station_that_is_left_out_still_has_its_settings_checked() -> None:
    with pytest.raises(ConfigError, match="did you mean min_words"):
        steps(set=("decontaminate.min_wrds=3",))


@pytest.mark.parametrize(
    ("sources", "name"),
    [
        ((), "stdlib"),
        (("a/httpx",), "httpx"),
        (("a/httpx", "a/flask", "a/click"), "httpx+2"),
        (("a/app.tar.gz", "b"), "app+1"),
    ],
)
def test_a_run_is_called_after_its_sources_and_says_how_many_more_there_are(
    sources: tuple[str, ...], name: str
) -> None:
    assert _default_run_dir(tuple(Path(s) for s in sources)) == Path("runs") / name
