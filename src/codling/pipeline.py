"""The whole path as one list: `codling grow` runs it from sources to report and skips what is done.

Input: sources, or none for the standard library of the running interpreter. Output: a run folder
with one artefact per station, and a summary. Each station is a stage of its own that can be run
alone; a recipe's table of the same name sets it.

Not here: any stage's work.
"""

import importlib
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from codling.core.artifact import MANIFEST, Artifact
from codling.core.errors import ConfigError, SourceError
from codling.core.log import say
from codling.core.recipe import aside, build, check_tables, config_class, read_recipe
from codling.core.shards import read_rows
from codling.evaluate.summary import summarise


@dataclass(frozen=True, kw_only=True)
class GrowConfig:
    """Settings of `codling grow`."""

    sources: tuple[Path, ...] = ()
    """Git repositories, folders or archives; none means this Python's standard library."""
    run_dir: Path | None = aside(None)
    """Folder of the run, runs/NAME by default; the same folder again goes on where it stopped."""
    own: bool = False
    """The code is yours: files without any licence are kept, declared as LicenseRef-own."""
    minutes: float = 5.0
    """Minutes of training."""
    seed: int = 0
    """Seed of every random choice on the way."""
    set: tuple[str, ...] = ()
    """Settings of single stages, for example --set pretrain.max_steps=100 (repeatable)."""
    recipe: Path | None = aside(None)
    """TOML file with a table of settings per stage."""


@dataclass(frozen=True)
class Station:
    """One stage on the path: its recipe table, its function, and which artefacts it takes."""

    table: str
    stage: str
    makes: str
    """Name of the artefact's folder in the run."""
    takes: Mapping[str, str]
    """Config field -> name of an artefact made before."""


PATH = (
    Station("collect", "codling.corpus.collect:collect", "raw", {}),
    Station("clean", "codling.corpus.clean:clean", "documents", {"raw_dir": "raw"}),
    # Between `clean` and `arrange` come the stations that take and give documents:
    # near-duplicates, syntax screening, decontamination.
    Station("arrange", "codling.corpus.arrange:arrange", "samples", {"documents_dir": "documents"}),
    Station(
        "tokenizer",
        "codling.tokens.bpe:learn_tokenizer",
        "tokenizer",
        {"samples_dir": "samples"},
    ),
    Station(
        "pack",
        "codling.tokens.pack:pack",
        "tokens",
        {"samples_dir": "samples", "tokenizer_dir": "tokenizer"},
    ),
    Station(
        "pretrain",
        "codling.train.pretrain:pretrain",
        "checkpoint",
        {"tokens_dir": "tokens", "tokenizer_dir": "tokenizer"},
    ),
    Station(
        "score",
        "codling.evaluate.heldout:score",
        "scores",
        {"checkpoint_dir": "checkpoint", "samples_dir": "samples", "tokens_dir": "tokens"},
    ),
    Station("report", "codling.evaluate.report:report", "report", {"run_dir": ""}),
)


def grow(config: GrowConfig) -> str:
    """From repositories to a code model with report: the whole path in one command.

    Runs collect, clean, arrange, tokenizer, pack, pretrain, score and report; stations that are
    complete are skipped, and an interrupted one goes on where it stopped.

    Example:
        codling grow ~/src/app ~/src/lib --own --minutes 30
    """
    started = time.monotonic()
    run_dir = config.run_dir or _default_run_dir(config.sources)
    # Every station's settings are read before the first one starts: a mistake costs no work.
    stages = zip(PATH, prepare(config, run_dir), strict=True)
    for number, (station, (stage, stage_config)) in enumerate(stages, 1):
        begun = time.time()
        say(f"[{number}/{len(PATH)}] {station.table} ...")
        artifact = stage(stage_config)
        say(f"[{number}/{len(PATH)}] {station.table}: {_line(artifact, begun)}")
        if artifact.kind == "documents" and not artifact.counts.get("documents"):
            raise SourceError(_nothing_kept(artifact))
    return summarise(run_dir) + f"\n\nThe whole path took {time.monotonic() - started:.0f} s."


def prepare(config: GrowConfig, run_dir: Path) -> list[tuple[Callable[[Any], Artifact], object]]:
    """The function and the config of every station; ConfigError for the first mistake in them."""
    tables = _tables(config)
    return [_prepare(s, run_dir, tables.get(s.table, {}), config) for s in PATH]


def _prepare(
    station: Station, run_dir: Path, table: Mapping[str, Any], config: GrowConfig
) -> tuple[Callable[[Any], Artifact], object]:
    """The station's function and its config."""
    module, _, name = station.stage.partition(":")
    stage: Callable[[Any], Artifact] = getattr(importlib.import_module(module), name)
    stage_config = config_class(stage)
    known = {f.name for f in fields(stage_config)}
    general = {
        "sources": config.sources,
        "own": config.own,
        "seed": config.seed,
        "minutes": config.minutes,
    }
    values = {k: v for k, v in general.items() if k in known}
    values |= {k.replace("-", "_"): v for k, v in table.items()}
    values |= {field: run_dir / made for field, made in station.takes.items()}
    values["out_dir"] = run_dir / station.makes
    where = f"{config.recipe} [{station.table}]" if config.recipe else f"[{station.table}]"
    return stage, build(stage_config, values, where)


def _nothing_kept(artifact: Artifact) -> str:
    rules = Counter(row["rule"] for row in read_rows(artifact, "dropped", ["rule"]))
    why = ", ".join(f"{rule} {n:,}" for rule, n in rules.most_common(3))
    cure = "if the code is yours, add --own" if "license-unknown" in rules else "add sources"
    return f"no file was kept ({why or 'no source files found'}); {cure}"


def _tables(config: GrowConfig) -> dict[str, dict[str, Any]]:
    """Every stage's settings: the recipe's tables, then what --set says."""
    tables: dict[str, dict[str, Any]] = {}
    known = {station.table: object for station in PATH}
    if config.recipe is not None:
        tables = read_recipe(config.recipe)
        check_tables(tables, known | {"grow": GrowConfig}, str(config.recipe))
    for setting in config.set:
        target, equals, text = setting.partition("=")
        table, dot, key = target.partition(".")
        if not (equals and dot and key):
            raise ConfigError(f"--set {setting}: write it as TABLE.KEY=VALUE")
        check_tables({table: {}}, known, "--set")
        place = tables.setdefault(table, {})
        *parents, last = key.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = _value(text)
    return tables


def _value(text: str) -> object:
    """A TOML value, or the text itself where it is none."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _default_run_dir(sources: tuple[Path, ...]) -> Path:
    if not sources:
        return Path("runs/stdlib")
    name = sources[0].resolve().name
    for suffix in (".gz", ".tar", ".tgz", ".zip", ".whl", ".git"):
        name = name.removesuffix(suffix)
    return Path("runs") / (name or "grown")


def _line(artifact: Artifact, begun: float) -> str:
    made_before = (artifact.path / MANIFEST).stat().st_mtime < begun
    how = "already there" if made_before else f"{time.time() - begun:.1f} s"
    counts = ", ".join(f"{k} {v:,}" for k, v in artifact.counts.items() if isinstance(v, int))
    return f"{how}; {counts}" if counts else how
