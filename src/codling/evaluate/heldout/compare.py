"""A base and what became of it by adapting, on the same held-out code: did it help?

Input: a base, its adapter (or the checkpoint of `adapt --mode full`), samples and tokens of the
run. Output: an artefact of kind "scores" as `score` makes it, with the base beside the tuned model
and a comparison: relative change of the bits per byte and difference of the lines inserted exactly,
each with a 95% interval (paired bootstrap over windows and over questions), and one sentence.

A base without FIM tokens is asked with the text before the cursor alone.

Not here: questions from later commits, and how questions are chosen (insertion.py).
"""

from collections.abc import Sequence
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
from codling.core.recipe import aside
from codling.core.shards import read_rows
from codling.core.stage import Work, stage
from codling.engine.config import Precision
from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from codling.evaluate.heldout.insertion import Question, asked_of, questions, score_answers
from codling.evaluate.heldout.score import (
    HeldoutConfig,
    Ids,
    batches,
    held_out_windows,
    make_baseline,
    make_row,
    ngram_answer,
    window_bits,
)
from codling.tokens.fim import InsertionPrompt, without_indentation
from codling.tokens.token_files import open_stream
from codling.tokens.tokenizer import Tokenizer

_N_RESAMPLES = 2000
_CHARS_PER_TOKEN = 8
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class CompareConfig(HeldoutConfig):
    """Settings of `codling compare`."""

    model: Path = aside()
    """The base: a checkpoint's folder, a .gguf file, or ORGANISATION/MODEL on the hub."""
    checkpoint_dir: Path = aside()
    """What adapt made: an adapter, or a checkpoint."""
    max_tokens: int = 50_000
    """Held-out tokens that enter bits per byte, taken evenly over the stream."""
    n_lines: int = 100
    """Held-out lines that are hidden and asked for."""
    context: int = 1024
    """Tokens of a window, and of a question with its answer."""
    precision: Precision = "bfloat16"
    """How weights are held, of both."""
    batch: int = 8
    """Windows per model call, and insertions at a time."""


@dataclass(frozen=True)
class _Arm:
    """What one model made of the held-out code."""

    bits: list[float]
    """Of each window."""
    answers: list[str]


@stage("scores", version=1)
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


def interval(changes: Sequence[float], seed: int) -> tuple[float, float]:
    """The 95% interval of the mean of paired differences, by bootstrap."""
    values = np.asarray(changes)
    draws = np.random.default_rng(seed).integers(len(values), size=(_N_RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(1), [0.025, 0.975])
    return float(low), float(high)


def verdict(
    base_bits: Sequence[float],
    tuned_bits: Sequence[float],
    base_hits: Sequence[bool],
    tuned_hits: Sequence[bool],
    seed: int = 0,
) -> dict[str, Any]:
    """Whether tuning helped: intervals, and the answer as a word and as a sentence.

    Helped: fewer bits, the interval clear of zero, and lines not shown to be fewer. Worse: more
    bits, or fewer lines, clear of zero. Otherwise no difference can be shown.
    """
    mean = sum(base_bits) / len(base_bits)
    bits = [(t - b) / mean for b, t in zip(base_bits, tuned_bits, strict=True)]
    lines = [float(t) - float(b) for b, t in zip(base_hits, tuned_hits, strict=True)]
    low, high = interval(bits, seed)
    lines_low, lines_high = interval(lines, seed)
    worse = low > 0 or lines_high < 0
    helped = high < 0 and not worse
    answer = "worse" if worse else "helped" if helped else "no difference"
    start = {"worse": "It made things worse", "helped": "It helped"}
    change = sum(bits) / len(bits)
    return {
        "answer": answer,
        "helped": helped,
        "bits_change": change,
        "bits_interval": [low, high],
        "lines_change": sum(lines) / len(lines),
        "lines_interval": [lines_low, lines_high],
        "text": (
            f"{start.get(answer, 'No difference can be shown')}: bits per byte on held-out code "
            f"{change:+.1%} (95% interval {low:+.1%} to {high:+.1%}; fewer are better), "
            f"{sum(tuned_hits)} of {len(lines)} hidden lines exactly instead of {sum(base_hits)}."
        ),
    }


def _compare(
    config: CompareConfig, path: Path, tuned: Artifact, samples: Artifact, tokens: Artifact
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    held_out = (r for r in read_rows(samples, "samples") if r["split"] == "heldout")
    asked = questions(held_out, config.n_lines, config.min_chars, config.max_chars, config.seed)
    stream = open_stream(tokens.path, "heldout")
    if len(stream) < 2 or not asked:
        raise ConfigError(
            "there is no held-out code to compare on; grow from more than two packages or folders, "
            "or raise collect.heldout_fraction"
        )
    windows = held_out_windows(stream, min(config.context, len(stream) - 1), config.max_tokens)
    is_adapter = tuned.kind == ADAPTER
    base, tokenizer = _ask(config, path, None, windows, asked)
    own, _ = _ask(
        config,
        path if is_adapter else tuned.path,
        tuned.path if is_adapter else None,
        windows,
        asked,
    )
    n_bytes = sum(int(tokenizer.token_lengths[w[1:]].sum()) for w in windows)
    ngram = make_baseline(config, tokens.path, tokenizer)
    ngram_answers = [ngram_answer(ngram, tokenizer, q, config.max_new_tokens) for q in asked]
    ngram_bits = [ngram.bits(w) for w in windows]

    def scored(bits: Sequence[float], answers: Sequence[str]) -> dict[str, Any]:
        return {
            "bits_per_byte": sum(bits) / max(1, n_bytes),
            **asdict(score_answers(asked, answers)),
        }

    base_hits, hits = (
        [q.truth == a for q, a in zip(asked, arm.answers, strict=True)] for arm in (base, own)
    )
    comparison = verdict(base.bits, own.bits, base_hits, hits, config.seed)
    if not tokenizer.can_insert:
        comparison["text"] += (
            " Asked with the text before the cursor alone: this base has no FIM tokens."
        )
    how = f"{config.model} --adapter {config.checkpoint_dir}" if is_adapter else str(tuned.path)
    comparison["serve"] = how if comparison["helped"] else str(config.model)
    scores = {
        "model": scored(own.bits, own.answers),
        "base": scored(base.bits, base.answers),
        "ngram": scored(ngram_bits, ngram_answers),
        "comparison": comparison,
        "asked": asked_of(asked),
        "n_heldout_tokens": sum(len(w) - 1 for w in windows),
        "n_heldout_bytes": n_bytes,
        "ngram_order": config.ngram_order,
    }
    rows = [
        {**make_row(q, mine, plain), "base": theirs}
        for q, mine, theirs, plain in zip(
            asked, own.answers, base.answers, ngram_answers, strict=True
        )
    ]
    return scores, rows


def _ask(
    config: CompareConfig,
    path: Path,
    adapter: Path | None,
    windows: Sequence[Ids],
    asked: Sequence[Question],
) -> tuple[_Arm, Tokenizer]:
    """Bits of every window and answers to every question of one model."""
    dtype = _DTYPES.get(config.precision, torch.bfloat16)
    bits = window_bits(load_model(path, dtype=dtype, adapter=adapter), windows, config.batch)
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
        Bar("insertions", len(asked), unit="lines") as bar,
    ):
        for group in batches(asked, config.batch):
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
        return _Arm(bits, answers), engine.tokenizer


def _prompt(engine: TextEngine, question: Question, max_new_tokens: int) -> list[int]:
    """An insertion, or without FIM tokens the text before the cursor to be continued.

    The indentation is left to the answer: after it a model meets no token that begins with a blank.
    """
    if engine.can_insert:
        return engine.insert_prompt(question.prefix, question.suffix, max_tokens=max_new_tokens)
    room = engine.max_length - max_new_tokens
    text, lead = without_indentation(question.prefix[-_CHARS_PER_TOKEN * room :])
    ids = engine.complete_prompt(text, literal=True)[-room:]
    eos = engine.tokenizer.specials.eos
    return InsertionPrompt(ids or [eos or 0], lead)
