"""A base and its adapted model on the same held-out code: did it help?

Input: a base, its adapter (or the checkpoint of `adapt --mode full`), samples and tokens of the
run. Output: an artefact of kind "scores" as `score` makes it, with the base beside the tuned model
and a comparison: relative change of the bits per byte and difference of the lines inserted exactly,
each with a 95% interval (paired bootstrap, clustered by file), and one sentence.

A base without FIM tokens is asked with the text before the cursor alone.

Not here: questions from later commits, and how questions are chosen (insertion.py).
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codling.checkpoint.adapter import ADAPTER, adapter_path
from codling.checkpoint.hub import local_path
from codling.checkpoint.load import load_model
from codling.checkpoint.verify import model_input
from codling.core.artifact import Artifact, open_artifact
from codling.core.errors import ConfigError
from codling.core.files import write_json, write_json_lines
from codling.core.log import Bar
from codling.core.ranges import Batch, Context, Count, CountFromZero
from codling.core.recipe import aside
from codling.core.shards import read_rows
from codling.core.stage import Work, stage
from codling.engine.config import Precision
from codling.engine.opening import choose_dtype
from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from codling.evaluate.heldout.insertion import (
    HiddenLine,
    choose_lines,
    count_by_part,
    score_answers,
)
from codling.evaluate.heldout.measures import Interval, Resampling, interval
from codling.evaluate.heldout.score import (
    HeldoutConfig,
    Ids,
    batches,
    make_baseline,
    make_row,
    ngram_answer,
    window_bits,
    window_starts,
)
from codling.tokens.fim import CursorPrompt
from codling.tokens.token_files import open_stream, read_index
from codling.tokens.tokenizer import Tokenizer

ENOUGH_FILES = 5
"""With fewer files the draws are too similar, and the interval would be too narrow."""
_CHARS_PER_TOKEN = 8


@dataclass(frozen=True, kw_only=True)
class CompareConfig(HeldoutConfig):
    """Settings of `codling compare`."""

    model: Path = aside()
    """The base: a checkpoint's folder, a .gguf file, or ORGANISATION/MODEL on the hub."""
    checkpoint_dir: Path = aside()
    """What adapt made: an adapter, or a checkpoint."""
    max_tokens: Count = 50_000
    """Held-out tokens that enter bits per byte, taken evenly over the stream."""
    n_lines: CountFromZero = 100
    """Held-out lines that are hidden and asked for."""
    context: Context = 1024
    """Tokens of a window, and of a question with its answer."""
    precision: Precision = "bfloat16"
    """How the weights of both are held."""
    batch: Batch = 8
    """Windows per model call, and insertions at a time."""


@dataclass(frozen=True)
class _HeldoutCode:
    """The held-out code on which every model is scored."""

    asked: Sequence[HiddenLine]
    windows: Sequence[Ids]
    """Windows of the held-out tokens, one id longer than what is predicted."""
    files: Sequence[str]
    """The file that the middle of each window lies in."""
    choice: dict[str, Any]
    """Why these lines are asked."""


@dataclass(frozen=True)
class _Results:
    """The results of one model on the held-out code."""

    bits: list[float]
    """Of each window."""
    answers: list[str]


@stage("scores", version=2)
def compare(config: CompareConfig) -> Work:
    """Ask a base and its adapted model the same held-out questions, and say whether it helped.

    Example:
        codling compare --model qwen2.5-coder-0.5b.gguf --checkpoint-dir runs/app/adapted \
--samples-dir runs/app/samples --tokens-dir runs/app/tokens --out-dir runs/app/scores
    """
    path = local_path(config.model)
    tuned = open_artifact(adapter_path(config.checkpoint_dir))
    samples = open_artifact(config.samples_dir, "samples")
    tokens = open_artifact(config.tokens_dir, "tokens")
    draft = yield [model_input(path), tuned, samples, tokens]
    scores, rows = _compare(config, path, tuned, samples, tokens)
    write_json_lines(draft.file("insertions.jsonl"), rows)
    write_json(draft.file("scores.json"), scores)
    draft.counts |= {f"model_{k}": v for k, v in scores["model"].items()}
    draft.counts |= {f"base_{k}": v for k, v in scores["base"].items()}


@dataclass(frozen=True)
class Measured:
    """One measure of base and tuned model: pairs of numbers, and the file that each is about."""

    base: Sequence[float]
    tuned: Sequence[float]
    files: Sequence[str]

    def change(self, seed: int) -> Interval:
        """Mean difference with its 95% interval: files are resampled with all their pairs."""
        return self._ratio([1.0] * len(self.base), seed)

    def relative_change(self, seed: int) -> Interval:
        """The same as a share of the base's sum."""
        return self._ratio(self.base, seed)

    def _ratio(self, below: Sequence[float], seed: int) -> Interval:
        differences = np.subtract(self.tuned, self.base, dtype=np.float64)
        draws = Resampling(self.files, seed)
        return interval(*draws.ratio(differences, np.asarray(below, np.float64)))


def verdict(bits: Measured, hits: Measured, seed: int = 0) -> dict[str, Any]:
    """Whether tuning helped: intervals, and the verdict as a word and as a sentence.

    Helped: fewer bits, with an interval below zero, and no interval that shows fewer lines. Worse:
    an interval that shows more bits, or fewer lines. Otherwise, or with fewer than ENOUGH_FILES
    files, no difference can be shown.
    """
    change, lines = bits.relative_change(seed), hits.change(seed)
    n_files = len(set(bits.files))
    enough = n_files >= ENOUGH_FILES
    worse = enough and (change.low > 0 or lines.high < 0)
    helped = enough and change.high < 0 and not worse
    answer = "worse" if worse else "helped" if helped else "no difference"
    start = {"worse": "It made things worse", "helped": "It helped"}
    few = (
        ""
        if enough
        else f" {n_files} files are too few to tell; at least {ENOUGH_FILES} are needed."
    )
    return {
        "answer": answer,
        "helped": helped,
        "bits_change": change.value,
        "bits_interval": [change.low, change.high],
        "lines_change": lines.value,
        "lines_interval": [lines.low, lines.high],
        "n_files": n_files,
        "text": (
            f"{start.get(answer, 'No difference can be shown')}: bits per byte on held-out code "
            f"{change.value:+.1%} (95% interval {change.low:+.1%} to {change.high:+.1%}; fewer are "
            f"better), {sum(hits.tuned):.0f} of {len(hits.tuned)} hidden lines exactly instead of "
            f"{sum(hits.base):.0f}.{'' if enough else few}"
        ),
    }


def _compare(
    config: CompareConfig, path: Path, tuned: Artifact, samples: Artifact, tokens: Artifact
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    heldout = _choose_heldout(config, samples, tokens)
    is_adapter = tuned.kind == ADAPTER
    base, tokenizer = _ask(config, path, None, heldout)
    own, _ = (
        _ask(config, path, tuned.path, heldout)
        if is_adapter
        else _ask(config, tuned.path, None, heldout)
    )
    ngram = _ask_ngram(config, tokens.path, tokenizer, heldout)
    n_bytes = sum(int(tokenizer.token_lengths[w[1:]].sum()) for w in heldout.windows)
    comparison = _compare_arms(heldout, base, own, config.seed)
    if not tokenizer.can_insert:
        comparison["text"] += (
            " Asked with the text before the cursor alone: this base has no FIM tokens."
        )
    how = f"{config.model} --adapter {config.checkpoint_dir}" if is_adapter else str(tuned.path)
    comparison["serve"] = how if comparison["helped"] else str(config.model)
    scores = {
        "model": _summarise(own, heldout.asked, n_bytes),
        "base": _summarise(base, heldout.asked, n_bytes),
        "ngram": _summarise(ngram, heldout.asked, n_bytes),
        "comparison": comparison,
        "asked": count_by_part(heldout.asked),
        "choice": heldout.choice,
        "n_heldout_tokens": sum(len(w) - 1 for w in heldout.windows),
        "n_heldout_bytes": n_bytes,
        "ngram_order": config.ngram_order,
    }
    rows = [
        {**make_row(q, mine, plain), "base": theirs}
        for q, mine, theirs, plain in zip(
            heldout.asked, own.answers, base.answers, ngram.answers, strict=True
        )
    ]
    return scores, rows


def _choose_heldout(config: CompareConfig, samples: Artifact, tokens: Artifact) -> _HeldoutCode:
    choice = choose_lines(
        read_rows(samples, "samples"),
        config.n_lines, config.min_chars, config.max_chars, config.seed,
    )  # fmt: skip
    asked = choice.asked
    stream = open_stream(tokens.path, "heldout")
    if len(stream) < 2 or not asked:
        raise ConfigError(
            "there is no held-out code to compare on; grow from more than two packages or folders, "
            "or raise collect.heldout_fraction"
        )
    length = min(config.context, len(stream) - 1)
    starts = window_starts(len(stream), length, config.max_tokens)
    middles = [start + length // 2 for start in starts]
    index = read_index(tokens.path, "heldout")
    return _HeldoutCode(
        asked,
        [stream[start : start + length + 1] for start in starts],
        files_at(middles, index, read_rows(samples, "samples")),
        choice.report(),
    )


def _compare_arms(
    heldout: _HeldoutCode, base: _Results, own: _Results, seed: int
) -> dict[str, Any]:
    base_hits, own_hits = (
        [float(q.truth == a) for q, a in zip(heldout.asked, arm.answers, strict=True)]
        for arm in (base, own)
    )
    return verdict(
        Measured(base.bits, own.bits, heldout.files),
        Measured(base_hits, own_hits, [question.path for question in heldout.asked]),
        seed,
    )


def _summarise(arm: _Results, asked: Sequence[HiddenLine], n_bytes: int) -> dict[str, Any]:
    return {
        "bits_per_byte": sum(arm.bits) / max(1, n_bytes),
        **asdict(score_answers(asked, arm.answers)),
    }


def files_at(
    places: Sequence[int],
    index: Iterable[Mapping[str, Any]],
    samples: Iterable[Mapping[str, Any]],
) -> list[str]:
    """The file that each place of a token stream lies in, by rows of its index and of its samples.

    All tokens of a sample count as equally long, so near the border of two files the answer may be
    the other one.
    """
    rows = {row["id"]: row for row in samples}
    starts: list[int] = []
    names: list[str] = []
    for each in index:
        row = rows[each["sample_id"]]
        per_char = each["length"] / max(1, len(row["content"]))
        for path, start in zip(row["paths"], row["starts"], strict=True):
            starts.append(each["start"] + int(start * per_char))
            names.append(f"{row['repo']}/{path}")
    return [names[bisect_right(starts, place) - 1] for place in places]


def _ask(
    config: CompareConfig,
    path: Path,
    adapter: Path | None,
    heldout: _HeldoutCode,
) -> tuple[_Results, Tokenizer]:
    """Bits of every window and answers to every question of one model."""
    dtype = choose_dtype(config.precision, torch.device("cpu"))
    bits = window_bits(
        load_model(path, dtype=dtype, adapter=adapter), heldout.windows, config.batch
    )
    params = SamplingParams(max_tokens=config.max_new_tokens, stop=("\n",))
    answers: list[str] = []
    with (
        TextEngine.open(
            path,
            precision=config.precision,
            max_streams=config.batch,
            max_length=config.context,
            adapter=adapter,
        ) as engine,
        Bar("insertions", len(heldout.asked), unit="lines") as bar,
    ):
        for group in batches(heldout.asked, config.batch):
            streams = [
                engine.submit(
                    _prompt(engine, question, config.max_new_tokens),
                    params,
                    mode="insert" if engine.can_insert else "complete",
                )
                for question in group
            ]
            answers += [stream.result().text.rstrip() for stream in streams]
            bar.advance(len(group))
        return _Results(bits, answers), engine.tokenizer


def _ask_ngram(
    config: CompareConfig, tokens_dir: Path, tokenizer: Tokenizer, heldout: _HeldoutCode
) -> _Results:
    """The same of the n-gram model of the training tokens."""
    ngram = make_baseline(config, tokens_dir, tokenizer)
    answers = [ngram_answer(ngram, tokenizer, q, config.max_new_tokens) for q in heldout.asked]
    return _Results([ngram.bits(w) for w in heldout.windows], answers)


def _prompt(engine: TextEngine, question: HiddenLine, max_new_tokens: int) -> list[int]:
    """An insertion, or without FIM tokens the text before the cursor to be continued."""
    if engine.can_insert:
        return engine.insert_prompt(question.prefix, question.suffix, max_tokens=max_new_tokens)
    room = engine.max_length - max_new_tokens
    prompt = engine.cursor_prompt(question.prefix[-_CHARS_PER_TOKEN * room :])
    eos = engine.tokenizer.specials.eos
    ids = prompt[-room:] or [eos or 0]
    return CursorPrompt(ids, prompt.lead, is_certain=prompt.is_certain)
