"""The stations of `codling grow`, in order: which stage each is, and which artefacts it takes.

Input: whether a published model is adapted, which repositories' later commits are asked about, and
what is replayed. Output: a list of stations.

    from noise               tokenizer, pretrain and score
    a base, split by package adopt, adapt and compare in their place
    a base, split by commits adopt, adapt, memory, and score-commits for every such repository

Not here: running them (pipeline.py), and any stage's work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path


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
    sets: Mapping[str, object] = field(default_factory=dict)
    """Config field -> what it is on this path, if its table does not say otherwise."""
    like: str = ""
    """Table of a station before, whose settings of the same names hold here too."""


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
_REPLAY = Station(
    "replay",
    "codling.posttrain.replay:replay",
    "replay",
    {"tokenizer_dir": "tokenizer"},
    like="pack",
)
_MEMORY = Station(
    # Of all that is clean: near-copies are worth remembering.
    "memory",
    "codling.engine.remember:memory",
    "memory",
    {"path": "documents"},
)
_SCORE_COMMITS = "codling.evaluate.heldout.score_commits:score_commits"
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
TABLES = (
    *(s.table for s in (*PATH, *ADAPTING.values())),
    "replay",
    "memory",
    "score_commits",
)
"""All tables that settings can name."""


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
            found += [_MEMORY, *_asking(asked)]
        else:
            found.append(here)
    return found


def _asking(repos: Sequence[Path]) -> list[Station]:
    takes = {"memory": "memory", "tuned": "adapted", "documents_dir": "documents"}
    return [
        Station(
            "score_commits",
            _SCORE_COMMITS,
            "commit-scores" + (f"-{number}" if number > 1 else ""),
            takes,
            sets={"repo": repo},
        )
        for number, repo in enumerate(repos, 1)
    ]
