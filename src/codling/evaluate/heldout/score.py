"""Held-out scores: bits per byte, and single-line insertion beside an n-gram baseline.

Input: a checkpoint, the samples and the packed tokens of the same run. Output: an artefact of kind
"scores": scores.json and insertions.jsonl (every question with both answers).

Not here: how questions are chosen and answers compared (insertion.py), the published benchmarks
(tasks/), and the page that shows the result (report/run_page.py).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from codling.checkpoint.load import load_model
from codling.core.artifact import Artifact, open_artifact
from codling.core.errors import ConfigError
from codling.core.files import write_json, write_json_lines
from codling.core.log import Bar
from codling.core.ranges import Batch, Count, CountFromZero, Range, Ranged, Seed, check_order
from codling.core.recipe import aside
from codling.core.shards import read_rows
from codling.core.stage import Work, stage
from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from codling.evaluate.heldout.insertion import (
    HiddenLine,
    choose_lines,
    count_by_part,
    score_answers,
)
from codling.evaluate.heldout.ngram import NgramModel
from codling.model.transformer import Transformer
from codling.report.verdict import CURES, RunVerdict, describe_worse
from codling.tokens.token_files import open_stream
from codling.tokens.tokenizer import Tokenizer

STORED_CONTEXT_CHARS = 600
"""How much around each hidden line insertions.jsonl keeps for people to read."""
NGRAM_PROMPT_TOKENS = 32
_ROWS = 256
Ids = NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class HeldoutConfig(Ranged):
    """Settings of `codling score`."""

    checkpoint_dir: Path = aside()
    """Checkpoint to score."""
    samples_dir: Path = aside()
    """Samples whose held-out part is asked about."""
    tokens_dir: Path = aside()
    """Packed tokens: the held-out stream, and the training stream for the baseline."""
    out_dir: Path = aside()
    """Folder of the scores."""
    max_tokens: Count = 200_000
    """Held-out tokens that enter bits per byte, taken evenly over the stream."""
    n_lines: CountFromZero = 200
    """Held-out lines that are hidden and asked for."""
    min_chars: Count = 5
    """Shortest line that is asked for, without its indentation."""
    max_chars: Count = 50
    """Longest line that is asked for, without its indentation."""
    max_new_tokens: Count = 48
    """Tokens after which an insertion is cut."""
    ngram_order: Annotated[int, Range(1, 64)] = 6
    """Longest n-gram of the baseline."""
    ngram_tokens: Count = 4_000_000
    """Training tokens that the baseline counts."""
    batch: Batch = 16
    """Windows per model call, and insertions at a time."""
    seed: Seed = 0
    """Seed of the choice of lines."""

    def __post_init__(self) -> None:
        """Raise ConfigError for a number out of its range, or lines of no length."""
        super().__post_init__()
        check_order(self, "min_chars", "max_chars")


@stage("scores", version=3)
def score(config: HeldoutConfig) -> Work:
    """Bits per byte and insertion on held-out code, beside an n-gram baseline.

    Example:
        codling score --checkpoint-dir runs/stdlib/checkpoint --samples-dir runs/stdlib/samples \
--tokens-dir runs/stdlib/tokens --out-dir runs/stdlib/scores
    """
    checkpoint = open_artifact(config.checkpoint_dir, "checkpoint")
    samples = open_artifact(config.samples_dir, "samples")
    tokens = open_artifact(config.tokens_dir, "tokens")
    draft = yield [checkpoint, samples, tokens]
    scores, rows = _score(config, checkpoint, samples, tokens)
    write_json_lines(draft.file("insertions.jsonl"), rows)
    write_json(draft.file("scores.json"), scores)
    draft.counts |= {f"model_{k}": v for k, v in scores["model"].items()}
    if fault := describe_worse(scores):
        draft.counts["headline"] = str(RunVerdict(False, fault, CURES))


def bits_per_byte(
    model: Transformer, windows: Sequence[Ids], byte_lengths: Ids, batch: int
) -> float:
    """Bits that `model` needs for the windows' tokens after the first, per UTF-8 byte of them.

    `windows`: ids, each of length T + 1; `byte_lengths[i]`: bytes of token i (0 for special ones).
    """
    n_bytes = sum(float(byte_lengths[w[1:]].sum()) for w in windows)
    return sum(window_bits(model, windows, batch)) / max(1.0, n_bytes)


def window_bits(model: Transformer, windows: Sequence[Ids], batch: int) -> list[float]:
    """Bits that `model` needs for the tokens after the first of each window."""
    bits: list[float] = []
    device = next(model.parameters()).device
    with torch.inference_mode(), Bar("bits per byte", len(windows), unit="windows") as bar:
        for group in batches(windows, batch):
            ids_BT = torch.from_numpy(np.stack(group).astype(np.int64)).to(device)
            hidden_BLE = model(ids_BT[:, :-1])
            for hidden_LE, targets_L in zip(hidden_BLE, ids_BT[:, 1:], strict=True):
                # A part of a window at a time: the logits of a large vocabulary fill the memory.
                nats = sum(
                    float(F.cross_entropy(model.logits(h).float(), t, reduction="sum"))
                    for h, t in zip(hidden_LE.split(_ROWS), targets_L.split(_ROWS), strict=True)
                )
                bits.append(nats / math.log(2))
            bar.advance(len(group))
    return bits


def held_out_windows(stream: Ids, length: int, max_tokens: int) -> list[Ids]:
    """Windows of `length` + 1 tokens, overlapping by one, evenly spread if there are too many."""
    return [stream[s : s + length + 1] for s in window_starts(len(stream), length, max_tokens)]


def window_starts(n_tokens: int, length: int, max_tokens: int) -> list[int]:
    """Where the held-out windows of a stream of `n_tokens` begin."""
    starts = list(range(0, n_tokens - 1, length))
    wanted = max(1, max_tokens // length)
    if len(starts) > wanted:
        starts = [starts[i * len(starts) // wanted] for i in range(wanted)]
    return [s for s in starts if s + length < n_tokens] or [0]


def _score(
    config: HeldoutConfig, checkpoint: Artifact, samples: Artifact, tokens: Artifact
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    tokenizer = Tokenizer.open(checkpoint.path)
    choice = choose_lines(
        read_rows(samples, "samples"),
        config.n_lines,
        config.min_chars,
        config.max_chars,
        config.seed,
    )
    asked = choice.asked
    stream = open_stream(tokens.path, "heldout")
    if len(stream) < 2 or not asked:
        raise ConfigError(
            "there is no held-out code to score on; grow from more than two packages or folders, "
            "or raise collect.heldout_fraction"
        )
    lengths = np.array([len(tokenizer.token_bytes(i)) for i in range(tokenizer.vocab_size)])
    model_bits, answers, window = _ask_model(config, checkpoint.path, stream, lengths, asked)
    windows = held_out_windows(stream, window, config.max_tokens)
    baseline = make_baseline(config, tokens.path, tokenizer)
    ngram_answers = [ngram_answer(baseline, tokenizer, q, config.max_new_tokens) for q in asked]
    ngram_bits = sum(baseline.bits(w) for w in windows)
    n_bytes = sum(int(lengths[w[1:]].sum()) for w in windows)
    scores = {
        "model": {"bits_per_byte": model_bits, **asdict(score_answers(asked, answers))},
        "ngram": {
            "bits_per_byte": ngram_bits / max(1, n_bytes),
            **asdict(score_answers(asked, ngram_answers)),
        },
        "asked": count_by_part(asked),
        "choice": choice.report(),
        "n_heldout_tokens": sum(len(w) - 1 for w in windows),
        "n_heldout_bytes": n_bytes,
        "ngram_order": config.ngram_order,
    }
    rows = [make_row(*each) for each in zip(asked, answers, ngram_answers, strict=True)]
    return scores, rows


def _ask_model(
    config: HeldoutConfig,
    checkpoint: Path,
    stream: Ids,
    byte_lengths: Ids,
    asked: Sequence[HiddenLine],
) -> tuple[float, list[str], int]:
    model = load_model(checkpoint)
    window = min(model.config.max_position, max(2, len(stream) - 1))
    windows = held_out_windows(stream, window, config.max_tokens)
    bits = bits_per_byte(model, windows, byte_lengths, config.batch)
    del model
    params = SamplingParams(max_tokens=config.max_new_tokens, stop=("\n",))
    answers: list[str] = []
    with (
        TextEngine.open(checkpoint, precision="float32", max_streams=config.batch) as engine,
        Bar("insertions", len(asked), unit="lines") as bar,
    ):
        for group in batches(asked, config.batch):
            done = engine.insert([(q.prefix, q.suffix) for q in group], params)
            answers += [c.text.rstrip() for c in done]
            bar.advance(len(group))
    return bits, answers, window


def make_baseline(config: HeldoutConfig, tokens_dir: Path, tokenizer: Tokenizer) -> NgramModel:
    """The n-gram model of the training stream."""
    stream = open_stream(tokens_dir, "train")
    return NgramModel(
        np.asarray(stream[: config.ngram_tokens]), tokenizer.vocab_size, config.ngram_order
    )


def ngram_answer(
    baseline: NgramModel, tokenizer: Tokenizer, question: HiddenLine, max_tokens: int
) -> str:
    """The line with which the baseline continues, as its greedy choice."""
    prompt = tokenizer.encode(question.prefix[-8 * NGRAM_PROMPT_TOKENS :])[-NGRAM_PROMPT_TOKENS:]
    ids = baseline.continue_greedily(prompt, max_tokens, frozenset())
    return tokenizer.decode(ids).split("\n")[0].rstrip()


def make_row(question: HiddenLine, answer: str, ngram_answer: str) -> dict[str, Any]:
    """One question with both answers, for people to read."""
    return {
        "path": question.path,
        "language": question.language,
        "part": question.part,
        "line_number": question.line_number,
        "prefix": question.prefix[-STORED_CONTEXT_CHARS:],
        "truth": question.truth,
        "suffix": question.suffix[:STORED_CONTEXT_CHARS],
        "model": answer,
        "ngram": ngram_answer,
    }


def batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """The items in groups of `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
