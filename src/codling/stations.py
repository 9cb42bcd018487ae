"""The stations of `codling grow`, in order: each by its table, and which artefacts it takes.

Input: whether a published model is adapted, which repositories' later commits are asked about, and
what is replayed. Output: a list of stations.

    from scratch             tokenizer, pretrain and score
    a base, split by package adopt, adapt and compare in their place
    a base, split by commits adopt, adapt, memory, and score-commits for every such repository
    learning from tests      another path: LEARNING

Not here: their functions (verbs.py), running them (pipeline.py), and any stage's work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class Station:
    """One stage on the path: its recipe table, and which artefacts it takes and makes."""

    table: str
    makes: str
    """Name of the artefact's folder in the run."""
    takes: Mapping[str, str]
    """Config field -> name of an artefact made before; DOCUMENTS: the last one of documents."""
    optional: bool = False
    """Takes and gives documents, and may be left out."""
    needs: str = ""
    """A setting without which there is nothing to do."""
    sets: Mapping[str, object] = field(default_factory=dict)
    """Config field -> what it is on this path, if its table does not say otherwise."""
    like: str = ""
    """Table of a station before, whose settings of the same names hold here too."""


DOCUMENTS = "*documents"

PATH = (
    Station("collect", "raw", {}),
    Station("clean", "documents", {"raw_dir": "raw"}),
    # Benchmarks go before near-duplicates, so that a clean copy survives a contaminated one;
    # parsing costs the most and comes last (docs/decisions/003).
    Station(
        "decontaminate",
        "decontaminated",
        {"documents_dir": DOCUMENTS},
        optional=True,
        needs="benchmarks",
    ),
    Station(
        "dedup",
        "unique",
        {"documents_dir": DOCUMENTS},
        optional=True,
    ),
    Station(
        "screen",
        "screened",
        {"documents_dir": DOCUMENTS},
        optional=True,
    ),
    Station("arrange", "samples", {"documents_dir": DOCUMENTS}),
    Station(
        "tokenizer",
        "tokenizer",
        {"samples_dir": "samples"},
    ),
    Station(
        "pack",
        "tokens",
        {"samples_dir": "samples", "tokenizer_dir": "tokenizer"},
    ),
    Station(
        "pretrain",
        "checkpoint",
        {"tokens_dir": "tokens", "tokenizer_dir": "tokenizer"},
    ),
    Station(
        "score",
        "scores",
        {"checkpoint_dir": "checkpoint", "samples_dir": "samples", "tokens_dir": "tokens"},
    ),
    Station("report", "report", {"run_dir": ""}),
)
"""From scratch."""
_REPLAY = Station(
    "replay",
    "replay",
    {"tokenizer_dir": "tokenizer"},
    like="pack",
)
_MEMORY = Station(
    # Of all that is clean: near-copies are worth remembering.
    "memory",
    "memory",
    {"path": "documents"},
)
ADAPTING = {
    "tokenizer": Station("adopt", "tokenizer", {}),
    "pretrain": Station("adapt", "adapted", {"tokens_dir": "tokens"}),
    "score": Station(
        "compare",
        "scores",
        {"checkpoint_dir": "adapted", "samples_dir": "samples", "tokens_dir": "tokens"},
    ),
}
"""What takes the place of stations where a published model is adapted."""
LEARNING = (
    Station("tasks", "tasks", {}, sets={"ask": "chat"}),
    Station("adopt", "tokenizer", {}),
    Station(
        "dialogues",
        "dialogues",
        {"files": "tasks/solutions.jsonl", "tokenizer_dir": "tokenizer"},
    ),
    Station("tune", "tuned", {"dialogues_dir": "dialogues"}),
    Station("merge", "sft", {"adapter": "tuned"}),
    Station("grpo", "by-verdicts", {"model": "sft", "tasks_dir": "tasks"}),
    # It is asked what grpo was asked before its first step.
    Station("score_tasks", "base-scores", {"tasks_dir": "tasks"}, like="grpo"),
    Station(
        "reward_model",
        "reward-model",
        {"model": "sft", "tasks_dir": "tasks", "rollouts": "by-verdicts"},
    ),
    *(
        Station(
            "grpo",
            f"by-{reward}",
            {"model": "sft", "tasks_dir": "tasks", "reward_model_dir": "reward-model"},
            sets={"reward": reward},
        )
        for reward in ("model", "both")
    ),
    Station("learning_report", "report", {"run_dir": ""}),
)
"""From a published base over SFT and a reward model to GRPO, as DeepSeek-Coder-V2 has it."""
LEARNING_TABLES = tuple(dict.fromkeys(station.table for station in LEARNING))
"""All tables that settings of that path can name."""
TABLES = (
    *(s.table for s in (*PATH, *ADAPTING.values())),
    "replay",
    "memory",
    "score_commits",
)
"""All tables that settings of the other paths can name."""


def stations_of(
    *, has_base: bool, asked: Sequence[Path] = (), replayed: Path | None = None
) -> list[Station]:
    """The stations of a run, in order; `asked`: repositories that are split by commits."""
    if not has_base:
        return list(PATH)
    found: list[Station] = []
    for station in PATH:
        here = ADAPTING.get(station.table, station)
        if here.table == "collect" and asked:
            # Later commits are the questions: of the tree at the cut nothing is kept back.
            here = replace(here, sets={"heldout_by": "commits", "heldout_fraction": 0.0})
        if here.table == "adapt" and replayed is not None:
            found.append(replace(_REPLAY, sets={"path": replayed}))
            here = replace(here, takes={**here.takes, "replay_dir": "replay"})
        if here.table == "compare" and asked:
            found += [_MEMORY, *_commit_stations(asked)]
        else:
            found.append(here)
    return found


def _commit_stations(repos: Sequence[Path]) -> list[Station]:
    takes = {"memory": "memory", "tuned": "adapted", "documents_dir": "documents"}
    return [
        Station(
            "score_commits",
            "commit-scores" + (f"-{number}" if number > 1 else ""),
            takes,
            sets={"repo": repo},
        )
        for number, repo in enumerate(repos, 1)
    ]


FOLDERS = tuple(
    dict.fromkeys(
        station.makes
        for station in (*stations_of(has_base=True, asked=[Path()]), *PATH)
        if station.table not in ("score_commits", "report")
    )
)
"""Names of the artefacts' folders in a run, in the order of the path; later commits are scored in
folders with a number."""
