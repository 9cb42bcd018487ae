"""What a run of `codling grow` made, read from its artefacts for the summary and the report.

Input: a run folder. Output: one RunView. A station that is missing leaves its part empty.
Not here: how any of it is shown (run_summary.py, run_page.py).
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from codling.core.adapted import ADAPTED, COMMIT_SCORES, tuning_helped
from codling.core.artifact import MANIFEST, Artifact, open_artifact, read_own
from codling.core.files import read_json_lines
from codling.core.lineage import walk
from codling.core.shards import read_rows
from codling.report.drawing import Subgraph
from codling.report.tallies import count_redactions, read_drops
from codling.stations import FOLDERS

CORPUS = ("raw", "documents")
"""Kinds of the artefacts that hold files."""
N_SUBGRAPHS = 3
"""Samples whose dependencies are drawn."""


@dataclass(frozen=True)
class Tally:
    """Files and bytes of one group."""

    name: str
    n_files: int
    n_bytes: int
    example: str = ""
    station: str = ""
    """Folder of the artefact that counted it."""


@dataclass(frozen=True)
class CommitScores:
    """Scores on the later commits of one repository."""

    repo: str
    scores: dict[str, Any]
    page: Path


@dataclass(frozen=True, kw_only=True)
class RunView:
    """Everything that a report shows."""

    run_dir: Path
    artifacts: dict[str, Artifact]
    kept: list[Tally] = field(default_factory=list)
    """Documents by language, largest first."""
    licenses: list[Tally] = field(default_factory=list)
    dropped: list[Tally] = field(default_factory=list)
    """Dropped files by station and rule, each with one example and its value."""
    left_out: tuple[str, ...] = ()
    """Stations that did not run, and why."""
    redactions: list[tuple[str, int]] = field(default_factory=list)
    heldout: Tally = Tally("heldout", 0, 0)
    subgraphs: list[Subgraph] = field(default_factory=list)
    """The training samples with the most files, with their dependencies."""
    curve: list[dict[str, Any]] = field(default_factory=list)
    """Rows of metrics.jsonl that have a loss."""
    expert_load: list[list[float]] = field(default_factory=list)
    """For each layer with routed experts, how busy each was; 1 is an even share."""
    scores: dict[str, Any] = field(default_factory=dict)
    insertions: list[dict[str, Any]] = field(default_factory=list)
    commits: list[CommitScores] = field(default_factory=list)
    """Scores of the adapted model on later commits of each repository."""


def serve_command(view: RunView, grown: str) -> str:
    """The command that serves the best model of a run: its own at `grown`, or an adapted one if it
    is better than its base, else the base; with the memory of the repository where that helps.
    """
    if not view.commits:
        return f"codling serve {view.scores.get('comparison', {}).get('serve', grown)}"
    adapted = view.artifacts[ADAPTED]
    base, own = adapted.manifest.config["model"], os.path.relpath(adapted.path)
    if not tuning_helped([each.scores for each in view.commits]):
        command = f"codling serve {base}"
    elif adapted.kind == "checkpoint":
        command = f"codling serve {own}"
    else:
        command = f"codling serve {base} --adapter {own}"
    remembered = [each.repo for each in view.commits if each.scores["gains"]["memory"]]
    return command + "".join(f" --repo {repo}" for repo in remembered[:1])


def view_run(run_dir: Path) -> RunView:
    """Read the artefacts of a run."""
    found = _artifacts(run_dir)
    gates = [a for a in found.values() if a.kind in CORPUS]
    documents = next((a for a in reversed(gates) if a.kind == "documents"), None)
    kept, licenses, heldout = _documents(documents) if documents else ([], [], Tally("", 0, 0))
    scores = found.get("scores")
    samples = found.get("samples")
    trained = found.get("checkpoint") or found.get("adapted")
    return RunView(
        run_dir=run_dir,
        artifacts=found,
        kept=kept,
        licenses=licenses,
        dropped=[tally for artifact in gates for tally in _rank_drops(artifact)],
        left_out=tuple(samples.manifest.config.get("left_out", ())) if samples else (),
        redactions=count_redactions(gates).most_common(),
        heldout=heldout,
        subgraphs=_subgraphs(samples) if samples else [],
        curve=_curve(trained) if trained else [],
        expert_load=_expert_load(trained) if trained else [],
        scores=read_own(scores.path / "scores.json") if scores else {},
        insertions=list(read_json_lines(scores.path / "insertions.jsonl")) if scores else [],
        commits=[_commit_scores(a) for n, a in found.items() if n.startswith(COMMIT_SCORES)],
    )


def _commit_scores(artifact: Artifact) -> CommitScores:
    repo = next(entry.path for entry in artifact.manifest.inputs if entry.kind == "source")
    scores = read_own(artifact.path / "scores.json")
    return CommitScores(os.path.relpath(repo), scores, artifact.path / "before-after.html")


def _artifacts(run_dir: Path) -> dict[str, Artifact]:
    """The run's artefacts by folder, without those that its samples were not made from.

    A station that ran before and is left out now leaves its folder behind.
    """
    asked = sorted(path.parent.name for path in run_dir.glob(f"{COMMIT_SCORES}*/{MANIFEST}"))
    found = {
        name: open_artifact(run_dir / name)
        for name in (*FOLDERS, *asked)
        if (run_dir / name / MANIFEST).is_file()
    }
    if "samples" in found:
        used = {ancestor.entry.id for ancestor in walk(found["samples"])}
        found = {n: a for n, a in found.items() if a.kind not in CORPUS or a.id in used}
    return found


WORTH_NAMING = 0.01
"""Share of the code from which on a language without a hidden line is named."""


def describe_choice(scores: Mapping[str, Any]) -> list[str]:
    """Why the hidden lines of a run are the ones they are, in short sentences."""
    choice = scores.get("choice")
    if not choice:
        return []
    languages = ", ".join(
        f"{name} {row['asked']:,} ({row['share_of_code']:.0%} of the code)"
        for name, row in choice["languages"].items()
        if row["asked"]
    )
    absent = [
        name
        for name, row in choice["languages"].items()
        if not row["asked"] and row["share_of_code"] >= WORTH_NAMING
    ]
    files = choice["left_out"]["files"].items()
    left_out = ", ".join(f"{reason} {row['n']:,} files ({row['example']})" for reason, row in files)
    return [
        *([choice["note"]] if "note" in choice else []),
        f"by language: {languages}; from {len(choice['folders']):,} folders",
        *([f"nothing could be asked in {', '.join(absent)}"] if absent else []),
        *([f"left out: {left_out}"] if left_out else []),
    ]


def pick_examples(insertions: list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """`n` insertions for people to read, right and wrong ones in their order.

    No file comes a second time before every file came once, and so on; among files the languages
    take turns. The order of the questions is random, so the first ones are a fair sample.
    """
    seen: Counter[str] = Counter()
    rounds: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in insertions:
        rounds[seen[row["path"]]].append(row)
        seen[row["path"]] += 1
    ordered = (row for number in sorted(rounds) for row in _alternate_languages(rounds[number]))
    return list(islice(ordered, n))


def _alternate_languages(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    by_language: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_language[row["language"]].append(row)
    queues = sorted(by_language.values(), key=len, reverse=True)
    for turn in zip_longest(*queues):
        yield from (row for row in turn if row is not None)


def _documents(artifact: Artifact) -> tuple[list[Tally], list[Tally], Tally]:
    languages: Counter[str] = Counter()
    licenses: Counter[str] = Counter()
    language_bytes: Counter[str] = Counter()
    license_bytes: Counter[str] = Counter()
    held_files = held_bytes = 0
    columns = ["language", "license", "split", "n_bytes"]
    for row in read_rows(artifact, "documents", columns):
        languages[row["language"]] += 1
        language_bytes[row["language"]] += row["n_bytes"]
        licenses[row["license"]] += 1
        license_bytes[row["license"]] += row["n_bytes"]
        if row["split"] == "heldout":
            held_files, held_bytes = held_files + 1, held_bytes + row["n_bytes"]
    return (
        _rank(languages, language_bytes),
        _rank(licenses, license_bytes),
        Tally("heldout", held_files, held_bytes),
    )


def _rank_drops(artifact: Artifact) -> list[Tally]:
    """What one station dropped, by rule, the most bytes first."""
    ranked = sorted(read_drops(artifact), key=lambda d: (-d.n_bytes, d.rule))
    return [Tally(d.rule, d.n_files, d.n_bytes, d.examples[0], d.stage) for d in ranked]


def _subgraphs(samples: Artifact) -> list[Subgraph]:
    """The training samples with the most files, if they have two or more."""
    found: list[tuple[int, str, Subgraph]] = []
    for row in read_rows(samples, "samples", ["id", "repo", "split", "paths"]):
        n = len(row["paths"])
        if row["split"] == "train" and n > 1:
            found.append((-n, row["id"], Subgraph(row["repo"], row["paths"], [[]] * n)))
    found = sorted(found, key=lambda each: each[:2])[:N_SUBGRAPHS]
    edges: dict[str, list[list[int]]] = {i: [[] for _ in g.paths] for _, i, g in found}
    for row in read_rows(samples, "edges"):
        if row["sample"] in edges:
            edges[row["sample"]][row["file"]].append(row["depends_on"])
    return [Subgraph(g.name, g.paths, edges[i]) for _, i, g in found]


def _curve(artifact: Artifact) -> list[dict[str, Any]]:
    path = artifact.path / "metrics.jsonl"
    return [row for row in read_json_lines(path) if "loss" in row] if path.is_file() else []


def _expert_load(artifact: Artifact) -> list[list[float]]:
    path = artifact.path / "expert-load.json"
    load: list[list[float]] = read_own(path)["load"] if path.is_file() else []
    return load


def _rank(files: Counter[str], sizes: Counter[str]) -> list[Tally]:
    names = sorted(files, key=lambda name: (-sizes[name], name))
    return [Tally(name, files[name], sizes[name]) for name in names]
