"""`codling calibrate`: from which log-probability on a model's suggestions are worth showing.

Input: a model, a repository that it was not trained on. Output: for several thresholds how many of
the suggestions for hidden lines stay, how many of those are right, and the threshold to serve with.

    confidence    mean log-probability of the suggestion's tokens, to the end of its first line
    precision     of the suggestions shown, those that are the hidden line exactly
    recall        of the right suggestions, those that are shown

The figures of the recommended threshold are measured on lines of other files than those that it
was fitted on: the files are cut into two halves, each judged by the threshold of the other.

Not here: the filter itself (serve/show.py), the choice of lines (heldout/insertion.py).
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from codling.core.errors import ConfigError
from codling.core.languages.table import SNIFF_BYTES, detect
from codling.core.ranges import (
    Batch,
    ContextLength,
    Count,
    PositiveShare,
    Ranged,
    Seed,
    check_order,
)
from codling.corpus.context import WorkingTree
from codling.corpus.layout import file_text
from codling.engine.confidence import first_line_score
from codling.engine.config import Precision
from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from codling.engine.thresholds import keep_threshold
from codling.evaluate.heldout.insertion import HiddenLine, questions
from codling.evaluate.heldout.show_filter import choose_shown, fit_threshold

_MAX_FILES = 2000
_SHARES = (1.0, 0.75, 0.5, 0.25, 0.1)
"""Of the suggestions, the shares that the table's thresholds leave."""


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig(Ranged):
    """Settings of `codling calibrate`."""

    model: Path
    """A run's folder, a checkpoint's folder, a .gguf file, or ORGANISATION/MODEL on the hub."""
    repo: Path
    """Repository or folder with code like yours that the model was not trained on."""
    n_lines: Count = 200
    """Lines that are hidden and asked for."""
    wanted: PositiveShare = 0.5
    """Share of the shown suggestions that shall be right."""
    min_chars: Count = 5
    """Shortest line that is asked for, without its indentation."""
    max_chars: Count = 80
    """Longest line that is asked for, without its indentation."""
    max_length: ContextLength = 1024
    """Tokens of a question with its answer; more context costs time."""
    max_new_tokens: Count = 48
    """Tokens after which a suggestion is cut."""
    precision: Precision = "auto"
    """How weights are held: float32 is exact; bfloat16 and int8 are smaller and faster on CPU."""
    batch: Batch = 8
    """Suggestions at a time."""
    seed: Seed = 0
    """Seed of the choice of lines."""

    def __post_init__(self) -> None:
        """Raise ConfigError for a number out of its range, or lines of no length."""
        super().__post_init__()
        check_order(self, "min_chars", "max_chars")


class Suggestion(NamedTuple):
    """What the model said for one hidden line."""

    path: str
    confidence: float
    is_right: bool


class Row(NamedTuple):
    """What a threshold leaves."""

    threshold: float
    shown: float
    precision: float
    recall: float


def calibrate(config: CalibrateConfig) -> Iterator[str]:
    """Ask for hidden lines of a repository and say from which confidence on to show suggestions.

    Example:
        codling calibrate runs/app --repo ~/src/other
    """
    asked = _hidden_lines(config)
    yield f"asking for {len(asked)} lines of {config.repo} ...\n"
    with TextEngine.open(
        config.model,
        precision=config.precision,
        max_streams=config.batch,
        max_length=config.max_length,
    ) as engine:
        suggestions = _suggest(engine, asked, config)
    yield describe_filter(suggestions, config.wanted)
    threshold = _fit(suggestions, config.wanted)
    if np.isfinite(threshold):
        keep_threshold(config.model, None, threshold)
        yield f"\nkept for this model: codling serve {config.model} --min-logprob auto"


def describe_filter(suggestions: Sequence[Suggestion], wanted: float) -> str:
    """The table, and the threshold to serve with."""
    n_right = sum(s.is_right for s in suggestions)
    lines = [
        f"{len(suggestions)} suggestions, {n_right} exactly right",
        "",
        f"{'min_logprob':>12} {'shown':>7} {'precision':>10} {'recall':>7}",
        *map(_line, rows_of(suggestions)),
        "",
    ]
    threshold = _fit(suggestions, wanted)
    if not np.isfinite(threshold):
        return "\n".join(
            [
                *lines,
                f"no threshold makes {wanted:.0%} of the shown suggestions right: show all, or ask "
                "for less with --wanted",
            ]
        )
    judged = judge_on_other_half(suggestions, wanted)
    return "\n".join(
        [
            *lines,
            f"codling serve MODEL --min-logprob {threshold:.3f}",
            f"on lines of other files than it was fitted on: {judged.shown:.0%} shown, precision "
            f"{judged.precision:.0%}, recall {judged.recall:.0%}",
        ]
    )


def rows_of(suggestions: Sequence[Suggestion]) -> list[Row]:
    """What thresholds leave that show all, three quarters, half, a quarter and a tenth.

    >>> rows_of([Suggestion("a", -1.0, False), Suggestion("b", -0.5, True)])[2]
    Row(threshold=-0.5, shown=0.5, precision=1.0, recall=1.0)
    """
    ordered = sorted((s.confidence for s in suggestions), reverse=True)
    places = [max(1, round(share * len(ordered))) - 1 for share in _SHARES]
    return [_row(suggestions, [s.confidence >= ordered[i] for s in suggestions]) for i in places]


def judge_on_other_half(suggestions: Sequence[Suggestion], wanted: float) -> Row:
    """What the threshold of one half of the files leaves of the other half's suggestions."""
    sure, right = [s.confidence for s in suggestions], [s.is_right for s in suggestions]
    shown = choose_shown(sure, right, [s.path for s in suggestions], wanted)
    return _row(suggestions, shown.tolist())


def _fit(suggestions: Sequence[Suggestion], wanted: float) -> float:
    sure = np.array([s.confidence for s in suggestions], np.float64)
    return fit_threshold(sure, np.array([s.is_right for s in suggestions], bool), wanted)


def _row(suggestions: Sequence[Suggestion], shown: Sequence[bool]) -> Row:
    kept = [s for s, is_shown in zip(suggestions, shown, strict=True) if is_shown]
    n_right = sum(s.is_right for s in kept)
    return Row(
        threshold=min((s.confidence for s in kept), default=0.0),
        shown=len(kept) / max(1, len(suggestions)),
        precision=n_right / max(1, len(kept)),
        recall=n_right / max(1, sum(s.is_right for s in suggestions)),
    )


def _line(row: Row) -> str:
    return f"{row.threshold:12.3f} {row.shown:7.0%} {row.precision:10.0%} {row.recall:7.0%}"


def _hidden_lines(config: CalibrateConfig) -> list[HiddenLine]:
    tree = WorkingTree(config.repo)
    paths = list(tree)
    random.Random(config.seed).shuffle(paths)
    samples = (_sample(path, tree, config.repo.name) for path in paths[:_MAX_FILES])
    asked = questions(
        (sample for sample in samples if sample is not None),
        config.n_lines, config.min_chars, config.max_chars, config.seed,
    )  # fmt: skip
    if not asked:
        raise ConfigError(f"{config.repo} holds no lines of code to ask for; name another --repo")
    return asked


def _sample(path: str, texts: Mapping[str, str], repo: str) -> dict[str, Any] | None:
    text = texts[path]
    language = detect(path, text[:SNIFF_BYTES].encode())
    if language is None or not text:
        return None
    return {
        "repo": repo,
        "paths": [path],
        "languages": [language],
        "starts": [0],
        "content": file_text(language, path, text),
    }


def _suggest(
    engine: TextEngine, asked: Sequence[HiddenLine], config: CalibrateConfig
) -> list[Suggestion]:
    n_new = min(config.max_new_tokens, engine.max_length // 2)
    params = SamplingParams(max_tokens=n_new, stop=("\n",), logprobs=0)
    made: list[Suggestion] = []
    for at in range(0, len(asked), config.batch):
        group = asked[at : at + config.batch]
        for line, stream in [(line, _ask(engine, line, params)) for line in group]:
            answer = stream.result()
            confidence = first_line_score(answer.logprobs)
            is_right = answer.text.rstrip() == line.truth
            made.append(Suggestion(line.path, -1e3 if confidence is None else confidence, is_right))
    return made


def _ask(engine: TextEngine, line: HiddenLine, params: SamplingParams) -> Any:  # noqa: ANN401
    if engine.can_insert:
        prompt = engine.insert_prompt(line.prefix, line.suffix, max_tokens=params.max_tokens)
        return engine.submit(prompt, params, mode="insert")
    room = engine.max_length - params.max_tokens
    ids = engine.tokenizer.encode(line.prefix)[-room + 1 :]
    return engine.submit(engine.tokenizer.start_ids + ids, params)
