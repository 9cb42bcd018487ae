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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from codling.core.artifact import MANIFEST, Artifact
from codling.core.errors import ConfigError, SourceError
from codling.core.log import say
from codling.core.recipe import (
    aside,
    build,
    build_partial,
    check_tables,
    config_class,
    read_recipe,
    unknown_key,
)
from codling.core.shards import read_rows
from codling.report.run_summary import summarise


@dataclass(frozen=True, kw_only=True)
class GrowConfig:
    """Settings of `codling grow`."""

    sources: tuple[Path, ...] = ()
    """Git repositories, folders or archives; by default this Python's standard library."""
    base: str = "none"
    """Model to adapt: a folder, a .gguf file or ORGANISATION/MODEL; by default from noise."""
    run_dir: Path | None = aside(None)
    """Folder of the run, by default runs/NAME, of three sources runs/NAME+2; the same folder
    again goes on where it stopped."""
    own: bool = False
    """The code is yours: files without any licence are kept, declared as LicenseRef-own."""
    minutes: float = 5.0
    """Minutes of training."""
    seed: int = 0
    """Seed of every random choice on the way."""
    skip: tuple[str, ...] = ()
    """Stations to leave out: decontaminate, dedup, screen (repeatable)."""
    set: tuple[str, ...] = ()
    """Settings of single stages, for example --set pretrain.max_steps=100 (repeatable)."""
    workers: int | None = aside(None)
    """Processes or threads of every data stage; by default each stage's own."""
    ray: str | None = aside(None)
    """Address of a Ray cluster for the data stages, or auto; by default this machine."""
    recipe: Path | None = aside(None)
    """TOML file with a table of settings per stage, or the name of one of ours: tiny."""


@dataclass(frozen=True)
class Station:
    """One stage on the path: its recipe table, its function, and which artefacts it takes."""

    table: str
    stage: str
    makes: str
    """Name of the artefact's folder in the run."""
    takes: Mapping[str, str]
    """Config field -> name of an artefact made before; DOCUMENTS: the last one of documents."""
    optional: bool = False
    """Takes and gives documents, and may be left out."""
    needs: str = ""
    """A setting without which there is nothing to do."""


@dataclass(frozen=True)
class Step:
    """A station of one run, ready to go, or the reason why it is left out."""

    station: Station
    stage: Callable[[Any], Artifact]
    config: object
    left_out: str = ""


DOCUMENTS = "*documents"

PATH = (
    Station("collect", "codling.corpus.collect:collect", "raw", {}),
    Station("clean", "codling.corpus.clean:clean", "documents", {"raw_dir": "raw"}),
    # Benchmarks go before near-duplicates, so that a clean copy survives a contaminated one;
    # parsing costs the most and comes last (docs/decisions/003).
    Station(
        "decontaminate",
        "codling.corpus.decontaminate:decontaminate",
        "decontaminated",
        {"documents_dir": DOCUMENTS},
        optional=True,
        needs="benchmarks",
    ),
    Station(
        "dedup",
        "codling.corpus.dedup:dedup",
        "unique",
        {"documents_dir": DOCUMENTS},
        optional=True,
    ),
    Station(
        "screen",
        "codling.corpus.screen:screen",
        "screened",
        {"documents_dir": DOCUMENTS},
        optional=True,
    ),
    Station("arrange", "codling.corpus.arrange:arrange", "samples", {"documents_dir": DOCUMENTS}),
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
        "codling.evaluate.heldout.score:score",
        "scores",
        {"checkpoint_dir": "checkpoint", "samples_dir": "samples", "tokens_dir": "tokens"},
    ),
    Station("report", "codling.report.run_page:report", "report", {"run_dir": ""}),
)
"""From noise."""
ADAPTING = {
    "tokenizer": Station("adopt", "codling.posttrain.adopt:adopt", "tokenizer", {}),
    "pretrain": Station(
        "adapt", "codling.posttrain.adapt:adapt", "adapted", {"tokens_dir": "tokens"}
    ),
    "score": Station(
        "compare",
        "codling.evaluate.heldout.compare:compare",
        "scores",
        {"checkpoint_dir": "adapted", "samples_dir": "samples", "tokens_dir": "tokens"},
    ),
}
"""What takes the place of stations where a published model is adapted."""


def path_of(config: GrowConfig) -> list[Station]:
    """The stations of a run, in order."""
    if config.base == "none":
        return list(PATH)
    return [ADAPTING.get(station.table, station) for station in PATH]


def grow(config: GrowConfig) -> str:
    """From repositories to a code model with report: the whole path in one command.

    Runs collect, clean, decontaminate (if benchmarks are given), dedup, screen, arrange, tokenizer,
    pack, pretrain, score and report; stations that are complete are skipped, and an interrupted
    one goes on where it stopped. With --base the base's own tokenizer is taken over (adopt), adapt
    takes the place of pretrain, and compare that of score.

    Example:
        codling grow ~/src/app ~/src/lib --own --minutes 30
    """
    started = time.monotonic()
    run_dir = config.run_dir or _default_run_dir(config.sources)
    # Every station's settings are read before the first one starts: a mistake costs no work.
    steps = prepare(config, run_dir)
    for step in steps:
        if step.station.table == "adapt":
            say(_foresee(step, steps))
    for number, step in enumerate(steps, 1):
        begun = time.time()
        name = f"[{number}/{len(steps)}] {step.station.table}"
        if step.left_out:
            say(f"{name}: left out, {step.left_out}")
            continue
        say(f"{name} ...")
        artifact = step.stage(step.config)
        say(f"{name}: {_line(artifact, begun)}")
        if artifact.kind == "documents" and not artifact.counts.get("documents"):
            raise SourceError(_nothing_kept(artifact))
    return summarise(run_dir) + f"\n\nThe whole path took {time.monotonic() - started:.0f} s."


def prepare(config: GrowConfig, run_dir: Path) -> list[Step]:
    """The function and the config of every station; ConfigError for the first mistake in them."""
    tables = _tables(config)
    may_go = {station.table for station in PATH if station.optional}
    for name in config.skip:
        if name not in may_go:
            raise ConfigError(unknown_key(name, may_go, "skip", what="station"))
    steps: list[Step] = []
    of_base = _settings_of_base(config)
    for station in path_of(config):
        table = of_base.get(station.table, {}) | tables.get(station.table, {})
        steps.append(_prepare(station, run_dir, table, config, steps))
    return steps


def _settings_of_base(config: GrowConfig) -> dict[str, dict[str, Any]]:
    """What follows from the base: who asks for it, and insertion tasks in its own order if any."""
    if config.base == "none":
        return {}
    from codling.posttrain.adopt import open_tokenizer  # which loads torch

    model = {"model": Path(config.base)}
    tokenizer = open_tokenizer(model["model"])
    fim = {"fim_spm_share": 1.0 if tokenizer.fim_mode == "spm" else 0.0}
    if not tokenizer.can_insert:
        say(f"{config.base} has no FIM tokens: plain text is learned, and insertion not offered")
        fim["fim_rate"] = 0.0
    return {"adopt": model, "adapt": model, "compare": model, "pack": fim}


def _foresee(step: Step, steps: Sequence[Step]) -> str:
    """What adapting will take, before anything begins; ConfigError if the memory is too small."""
    from codling.posttrain.adapt import foresee

    (pack,) = (s.config for s in steps if s.station.table == "pack")
    return foresee(step.config, pack.context)  # type: ignore[arg-type, attr-defined]


def _prepare(
    station: Station,
    run_dir: Path,
    table: Mapping[str, Any],
    config: GrowConfig,
    before: Sequence[Step],
) -> Step:
    module, _, name = station.stage.partition(":")
    stage: Callable[[Any], Artifact] = getattr(importlib.import_module(module), name)
    stage_config = config_class(stage)
    where = f"{config.recipe} [{station.table}]" if config.recipe else f"[{station.table}]"
    given = build_partial(stage_config, table, where)
    _check_paths(given, where)
    if reason := _reason_to_leave_out(station, given, config):
        return Step(station, stage, None, reason)
    known = {f.name for f in fields(stage_config)}
    general = {
        "sources": config.sources,
        "own": config.own,
        "seed": config.seed,
        "minutes": config.minutes,
        "workers": config.workers,
        "ray": config.ray,
        "left_out": tuple(f"{s.station.table}: {s.left_out}" for s in before if s.left_out),
    }
    values = {k: v for k, v in general.items() if k in known and v is not None}
    values |= {k.replace("-", "_"): v for k, v in table.items()}
    documents = [s.station.makes for s in before if not s.left_out and _gives_documents(s.station)]
    for field, made in station.takes.items():
        values[field] = run_dir / (documents[-1] if made == DOCUMENTS else made)
    values["out_dir"] = run_dir / station.makes
    return Step(station, stage, build(stage_config, values, where))


def _gives_documents(station: Station) -> bool:
    return station.optional or station.makes == "documents"


def _reason_to_leave_out(station: Station, given: Mapping[str, object], config: GrowConfig) -> str:
    """Why a station does not run, in words, or nothing."""
    if station.table in config.skip:
        return "as --skip says"
    if station.needs and not given.get(station.needs):
        return f"no {station.needs} given (--set {station.table}.{station.needs}=PATH)"
    return ""


def _check_paths(given: Mapping[str, object], where: str) -> None:
    """Files that settings name must be there before the first stage starts."""
    for key, value in given.items():
        for path in value if isinstance(value, tuple) else (value,):
            if isinstance(path, Path) and not path.exists():
                raise ConfigError(f"{where}: {key} names {path}, which does not exist")


def _nothing_kept(artifact: Artifact) -> str:
    rules = Counter(row["rule"] for row in read_rows(artifact, "dropped", ["rule"]))
    why = ", ".join(f"{rule} {n:,}" for rule, n in rules.most_common(3))
    cure = "if the code is yours, add --own" if "license-unknown" in rules else "add sources"
    return f"no file was kept ({why or 'no source files found'}); {cure}"


def _tables(config: GrowConfig) -> dict[str, dict[str, Any]]:
    """Every stage's settings: the recipe's tables, then what --set says."""
    tables: dict[str, dict[str, Any]] = {}
    known = {station.table: object for station in (*PATH, *ADAPTING.values())}
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
        # The shell takes the quotes off a list of texts.
        if text.startswith("[") and text.endswith("]"):
            return [_value(part.strip()) for part in text[1:-1].split(",")]
        return text


def _default_run_dir(sources: tuple[Path, ...]) -> Path:
    if not sources:
        return Path("runs/stdlib")
    name = sources[0].resolve().name
    for suffix in (".gz", ".tar", ".tgz", ".zip", ".whl", ".git"):
        name = name.removesuffix(suffix)
    more = f"+{len(sources) - 1}" if len(sources) > 1 else ""
    return Path("runs") / ((name or "grown") + more)


def _line(artifact: Artifact, begun: float) -> str:
    made_before = (artifact.path / MANIFEST).stat().st_mtime < begun
    how = "already there" if made_before else f"{time.time() - begun:.1f} s"
    counts = ", ".join(f"{k} {v:,}" for k, v in artifact.counts.items() if isinstance(v, int))
    return f"{how}; {counts}" if counts else how
