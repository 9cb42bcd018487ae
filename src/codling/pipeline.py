"""The whole path as one list: `codling grow` runs it from sources to report and skips what is done.

Input: sources, or none for the standard library of the running interpreter. Output: a run folder
with one artefact per station, and a summary. Each station is a stage of its own that can be run
alone; a recipe's table of the same name sets it.

Not here: which stations there are (stations.py), and any stage's work.
"""

import importlib
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_origin

from codling.core.artifact import MANIFEST, Artifact
from codling.core.errors import ConfigError, SourceError
from codling.core.log import say
from codling.core.ranges import Minutes, Ranged, Seed, Workers
from codling.core.recipe import (
    aside,
    build,
    build_partial,
    check_tables,
    config_class,
    explain_unknown_key,
    name_recipe,
    read_recipe,
)
from codling.core.shards import read_rows
from codling.corpus.sources.archives import stem
from codling.corpus.sources.commits import reason_not_to_cut
from codling.report.run_summary import summarise
from codling.stations import (
    DOCUMENTS,
    LEARNING,
    LEARNING_TABLES,
    PATH,
    TABLES,
    Station,
    stations_of,
)
from codling.train.config import TrackerName
from codling.verbs import TARGETS


@dataclass(frozen=True, kw_only=True)
class GrowConfig(Ranged):
    """Settings of `codling grow`."""

    sources: tuple[Path, ...] = ()
    """Git repositories, folders or archives; by default this Python's standard library."""
    base: str = "none"
    """Model to adapt: a folder, a .gguf file or ORGANISATION/MODEL; by default from scratch."""
    run_dir: Path | None = aside(None)
    """Folder of the run, by default runs/NAME, of three sources runs/NAME+2; the same folder
    again goes on where it stopped."""
    own: bool = False
    """The code is yours: files without any licence are kept, declared as LicenseRef-own."""
    heldout_by: Literal["commits", "package"] | None = None
    """With --base: what the model is asked about. commits: lines that the last tenth of the commits
    added, of which nothing is learned; the default for git repositories of at least 50 commits.
    package: whole packages, as without --base."""
    replay: Path | None = None
    """With --base: other code, mixed in against forgetting; a repository, folder or archive."""
    minutes: Minutes = 5.0
    """Minutes of training."""
    seed: Seed = 0
    """Seed of every random choice on the way."""
    skip: tuple[str, ...] = ()
    """Stations to leave out: decontaminate, dedup, screen (repeatable)."""
    set: tuple[str, ...] = ()
    """Settings of single stages, for example --set pretrain.max_steps=100 (repeatable)."""
    workers: Workers | None = aside(None)
    """Processes or threads of every data stage; by default each stage's own."""
    ray: str | None = aside(None)
    """Address of a Ray cluster for the data stages, or auto; by default this machine."""
    report_to: tuple[TrackerName, ...] = aside(())
    """Who is told the training's metrics (repeatable). tensorboard: event files in the checkpoint's
    folder; wandb, trackio: an extra of that name."""
    recipe: Path | None = aside(None)
    """TOML file with a table of settings per stage, or the name of one of ours: tiny."""


@dataclass(frozen=True)
class StationRun:
    """A station of one run, ready to go, or the reason why it is left out."""

    station: Station
    stage: Callable[[Any], Artifact]
    config: object
    left_out: str = ""


def grow(config: GrowConfig) -> str:
    """From repositories to a code model with report: the whole path in one command.

    Runs collect, clean, decontaminate (if benchmarks are given), dedup, screen, arrange, tokenizer,
    pack, pretrain, score and report; stations that are complete are skipped, and an interrupted
    one goes on where it stopped. With --base the base's own tokenizer is taken over (adopt), adapt
    takes the place of pretrain, and memory and score-commits that of score: base and adapted model
    are asked for lines that later commits added. Without such commits it is compare: lines of
    held-out packages.

    A recipe with a table [grpo], such as coder-v2-tiny, takes another path from a base: tasks,
    adopt, dialogues, tune, merge, grpo, score-tasks, reward-model, grpo twice more, and
    learning-report. Sources are then what `codling data tasks` reads.

    Example:
        codling grow ~/src/app ~/src/lib --own --minutes 30
    """
    started = time.monotonic()
    run_dir = config.run_dir or _default_run_dir(config.sources, config.recipe)
    # Every station's settings are read before the first one starts: a mistake costs no work.
    steps = prepare(config, run_dir)
    for step in steps:
        if step.station.table == "adapt":
            say(_foresee(step, steps))
        if step.station.table == "score_commits" and not _is_made(step):
            say(_foresee_questions(step))
    for number, step in enumerate(steps, 1):
        began = time.time()
        name = f"[{number}/{len(steps)}] {step.station.table}"
        if step.left_out:
            say(f"{name}: left out, {step.left_out}")
            continue
        say(f"{name} ...")
        artifact = step.stage(step.config)
        say(f"{name}: {_line(artifact, began)}")
        if artifact.kind == "documents" and not artifact.counts.get("documents"):
            raise SourceError(_explain_nothing_kept(artifact))
    ending = f"The whole path took {time.monotonic() - started:.0f} s."
    return f"{_describe(run_dir, steps)}\n\n{ending}"


def prepare(config: GrowConfig, run_dir: Path) -> list[StationRun]:
    """The function and the config of every station; ConfigError for the first mistake in them."""
    tables = _tables(config)
    if _learns_from_tests(tables):
        return _prepare_learning(config, run_dir, tables)
    may_go = {station.table for station in PATH if station.optional}
    for name in config.skip:
        if name not in may_go:
            raise ConfigError(explain_unknown_key(name, may_go, "skip", what="station"))
    has_base = config.base != "none"
    asked = _find_asked(config, tables.get("collect", {}))
    _check_replay(config, asked)
    steps: list[StationRun] = []
    of_base = _settings_of_base(config)
    for station in stations_of(has_base=has_base, asked=asked, replayed=config.replay):
        table = of_base.get(station.table, {}) | tables.get(station.table, {})
        steps.append(_prepare(station, run_dir, table, config, steps))
    return steps


def _learns_from_tests(tables: Mapping[str, Any]) -> bool:
    return "grpo" in tables


def _prepare_learning(
    config: GrowConfig, run_dir: Path, tables: Mapping[str, dict[str, Any]]
) -> list[StationRun]:
    """The path that learns from tests."""
    if config.base == "none":
        raise ConfigError("learning from tests begins with a published base; add --base MODEL")
    for name in ("replay", "heldout_by", "skip"):
        if getattr(config, name):
            raise ConfigError(f"{name} is not for recipes that learn from tests; leave it out")
    from codling.checkpoint.hub import local_path

    model = {"model": local_path(Path(config.base))}
    asking = dict.fromkeys(("adopt", "tune", "merge", "score_tasks"), model)
    steps: list[StationRun] = []
    for station in LEARNING:
        table = asking.get(station.table, {}) | tables.get(station.table, {})
        steps.append(_prepare(station, run_dir, table, config, steps))
    return steps


def _describe(run_dir: Path, steps: Sequence[StationRun]) -> str:
    """The end of a run in the terminal."""
    if steps[-1].station.table != "learning_report":
        return summarise(run_dir)
    from codling.posttrain.learning_report import describe

    return describe(run_dir)


def _find_asked(config: GrowConfig, collect: Mapping[str, Any]) -> tuple[Path, ...]:
    """The sources whose later commits are asked about; says which split it is, and why."""
    wanted = config.heldout_by or collect.get("heldout_by")
    if config.base == "none":
        if config.heldout_by == "commits":
            raise ConfigError("--heldout-by commits asks a base before and after; add --base MODEL")
        return ()
    if wanted not in (None, "commits"):
        return ()
    at = collect.get("at")
    reasons = {source: reason_not_to_cut(source, at) for source in config.sources}
    asked = tuple(source for source, reason in reasons.items() if not reason)
    if asked:
        names = ", ".join(str(source) for source in asked)
        say(f"split by commits: what later commits added to {names} is asked, and not learned from")
        return asked
    why = next(iter(reasons.values()), "the standard library comes without commits")
    if wanted == "commits" or at is not None:
        raise SourceError(why)
    say(f"split by package, not by commits: {why.partition(';')[0]}")
    return ()


def _check_replay(config: GrowConfig, asked: Sequence[Path]) -> None:
    """Nothing of later commits may come in by way of what is replayed."""
    if config.replay is None:
        return
    if config.base == "none":
        raise ConfigError("--replay is for adapting a base; add --base MODEL")
    replayed = config.replay.resolve()
    if not replayed.exists():
        raise SourceError(f"--replay: no file or folder at {config.replay}")
    for each in (source.resolve() for source in asked):
        if each.is_relative_to(replayed) or replayed.is_relative_to(each):
            raise ConfigError(
                f"--replay names {config.replay}, which holds the later commits of {each} that are "
                "asked about; name other code"
            )


def _settings_of_base(config: GrowConfig) -> dict[str, dict[str, Any]]:
    """What follows from the base: who asks for it, and insertion tasks in its own order if any."""
    if config.base == "none":
        return {}
    from codling.checkpoint.tokenizer_files import open_tokenizer  # which loads torch

    model = {"model": Path(config.base)}
    tokenizer = open_tokenizer(model["model"])
    fim = {"fim_spm_share": 1.0 if tokenizer.fim_mode == "spm" else 0.0}
    if not tokenizer.can_insert:
        say(
            f"{config.base} has no FIM tokens: plain text is learned, and it is asked with the "
            "text before the cursor alone"
        )
        fim["fim_rate"] = 0.0
    asking = dict.fromkeys(("adopt", "adapt", "compare", "memory", "score_commits"), model)
    return asking | {"pack": fim}


def _foresee(step: StationRun, steps: Sequence[StationRun]) -> str:
    """What adapting will take, before anything begins; ConfigError if the memory is too small."""
    from codling.posttrain.adapt import foresee

    (pack,) = (s.config for s in steps if s.station.table == "pack")
    return foresee(step.config, pack.context)  # type: ignore[arg-type, attr-defined]


def _foresee_questions(step: StationRun) -> str:
    from codling.evaluate.heldout.score_commits import foresee_questions

    return foresee_questions(step.config)  # type: ignore[arg-type]


def _is_made(step: StationRun) -> bool:
    out_dir: Path = step.config.out_dir  # type: ignore[attr-defined]
    return (out_dir / MANIFEST).is_file()


def _prepare(
    station: Station,
    run_dir: Path,
    table: Mapping[str, Any],
    config: GrowConfig,
    before: Sequence[StationRun],
) -> StationRun:
    module, _, name = TARGETS[station.table].partition(":")
    stage: Callable[[Any], Artifact] = getattr(importlib.import_module(module), name)
    stage_config = config_class(stage)
    table = {**station.sets, **table}
    where = f"{config.recipe} [{station.table}]" if config.recipe else f"[{station.table}]"
    given = build_partial(stage_config, table, where)
    _check_paths(given, where)
    if reason := _reason_to_leave_out(station, given, config):
        return StationRun(station, stage, None, reason)
    known = {f.name for f in fields(stage_config)}
    general = {
        "sources": config.sources,
        "own": config.own,
        "seed": config.seed,
        "minutes": config.minutes,
        "workers": config.workers,
        "ray": config.ray,
        "report_to": config.report_to,
        "left_out": tuple(f"{s.station.table}: {s.left_out}" for s in before if s.left_out),
    }
    alike = next((s.config for s in before if s.station.table == station.like), None)
    values = {k: getattr(alike, k) for k in known if hasattr(alike, k)}
    values |= {k: v for k, v in general.items() if k in known and v is not None}
    values |= {k.replace("-", "_"): v for k, v in table.items()}
    documents = [s.station.makes for s in before if not s.left_out and _gives_documents(s.station)]
    several = {f.name for f in fields(stage_config) if get_origin(f.type) is tuple}
    for field, made in station.takes.items():
        path = run_dir / (documents[-1] if made == DOCUMENTS else made)
        values[field] = (path,) if field in several else path
    values["out_dir"] = run_dir / station.makes
    return StationRun(station, stage, build(stage_config, values, where))


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


def _explain_nothing_kept(artifact: Artifact) -> str:
    rules = Counter(row["rule"] for row in read_rows(artifact, "dropped", ["rule"]))
    why = ", ".join(f"{rule} {n:,}" for rule, n in rules.most_common(3))
    cure = "if the code is yours, add --own" if "license-unknown" in rules else "add sources"
    return f"no file was kept ({why or 'no source files found'}); {cure}"


def _tables(config: GrowConfig) -> dict[str, dict[str, Any]]:
    """Every stage's settings: the recipe's tables, then what --set says."""
    tables: dict[str, dict[str, Any]] = {}
    if config.recipe is not None:
        tables = read_recipe(config.recipe)
    known = dict.fromkeys(LEARNING_TABLES if _learns_from_tests(tables) else TABLES, object)
    if config.recipe is not None:
        # A recipe may also say how its model is to read further: codling extend.
        others = {"grow": GrowConfig, "extend": object}
        check_tables(tables, known | others, str(config.recipe))
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


def _default_run_dir(sources: tuple[Path, ...], recipe: Path | None = None) -> Path:
    if recipe is not None and _learns_from_tests(read_recipe(recipe)):
        return Path("runs") / name_recipe(recipe)
    if not sources:
        return Path("runs/stdlib")
    name = stem(sources[0].resolve().name).removesuffix(".git")
    more = f"+{len(sources) - 1}" if len(sources) > 1 else ""
    return Path("runs") / ((name or "grown") + more)


def _line(artifact: Artifact, began: float) -> str:
    made_before = (artifact.path / MANIFEST).stat().st_mtime < began
    how = "already there" if made_before else f"{time.time() - began:.1f} s"
    counts = ", ".join(f"{k} {v:,}" for k, v in artifact.counts.items() if type(v) is int)
    return f"{how}; {counts}" if counts else how
