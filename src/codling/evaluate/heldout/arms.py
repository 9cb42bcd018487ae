"""The arms: which model answers the questions of later commits, with which prompt.

    n-gram                      an n-gram model over the tree that was learned from
    base                        the model, and the open file
    base + context              the files of that tree that the open file depends on go before it
    base + context + memory     its next token is mixed with what is in that tree
    tuned + ...                 the same with a model that was trained on it

Every arm gets the same questions, greedy decoding and the same limits. A model with FIM tokens is
asked with the text before and after the cursor. One without them is asked with the text before;
what a token may join to the answer is taken back from the prompt, and the answer is held to begin
with it (tokens/healing.py). Its probability is no part of the truth's.

Input: an engine and a question. Output: an answer with its milliseconds and how sure the arm is,
and the model's score of the truth: bits, and which of its tokens were the likeliest.

Not here: the numbers (measures.py) and the stage (score_commits.py).
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from codling.corpus.context import Cursor, SnapshotContext
from codling.engine.memory.mixture import log_total
from codling.engine.memory.recall import Recall
from codling.engine.memory.repository import Memory
from codling.engine.request import Mode, SamplingParams
from codling.engine.text import TextEngine
from codling.evaluate.heldout.commits import CommitQuestion
from codling.evaluate.heldout.measures import count_saved_chars
from codling.evaluate.heldout.ngram import NgramModel
from codling.tokens.fim import CursorPrompt
from codling.tokens.healing import MAX_LEAD
from codling.tokens.tokenizer import Tokenizer

LINE_TOKENS = 48
BLOCK_TOKENS = 160
"""Tokens after which an answer is cut."""
NGRAM_PROMPT_CHARS = 256
Who = Literal["base", "tuned", "ngram", "nobody"]


@dataclass(frozen=True)
class Arm:
    """A model and the parts of its prompt."""

    who: Who
    context: bool = False
    memory: bool = False

    @property
    def name(self) -> str:
        """The name in tables."""
        if self.who == "nobody":
            return "memory alone"
        who = "n-gram" if self.who == "ngram" else self.who
        return who + " + context" * self.context + " + memory" * self.memory


REFERENCE = Arm("base", context=True)
FEW = (Arm("ngram"), Arm("base"), REFERENCE, Arm("base", context=True, memory=True))
REMEMBERING = FEW[-1]
"""The base with all that needs no training; tuning is compared with it."""
TUNED = Arm("tuned", context=True, memory=True)
MORE = (Arm("base", memory=True), Arm("nobody", memory=True))
MORE_TUNED = (Arm("tuned"), Arm("tuned", context=True))


def chosen_arms(which: Literal["few", "all"], *, has_tuned: bool) -> list[Arm]:
    """The arms of a table; the last is the one that the verdict is about."""
    arms = [*FEW, *(MORE if which == "all" else ())]
    if has_tuned:
        arms += [*(MORE_TUNED if which == "all" else ()), TUNED]
    return arms


def subject(arms: Sequence[Arm]) -> Arm:
    """The arm that the verdict is about."""
    return TUNED if TUNED in arms else REMEMBERING


@dataclass(frozen=True)
class ArmAnswer:
    """What an arm wrote."""

    text: str
    ms: float
    """Milliseconds from the request to the last character."""
    mean_logprob: float
    """Of its tokens, natural, under the distribution that they were chosen from: how sure the arm
    is. A show-filter keeps back what is below its threshold."""


@dataclass(frozen=True)
class TruthScore:
    """The probability that an arm gave to a truth."""

    bits: float
    n_bytes: int
    saved: int
    """Characters that need not be typed (measures.count_saved_chars)."""
    n_chars: int


@dataclass(frozen=True)
class CommitPrompt:
    """A question as a model's prompt."""

    ids: CursorPrompt
    mode: Mode
    truth_ids: list[int]
    """Tokens of the prompt's lead, which is not counted, and of the truth."""
    limit: int
    """Tokens of an answer at most."""
    n_given: int
    """Tokens of the truth that are the lead and nothing else."""

    @property
    def lead(self) -> str:
        """What the caller has of the answer."""
        return self.ids.lead


def build_prompt(
    engine: TextEngine, context: SnapshotContext, question: CommitQuestion
) -> CommitPrompt:
    """The prompt of a question; far ends are cut so that truth and answer fit."""
    limit = LINE_TOKENS if question.n_lines == 1 else BLOCK_TOKENS
    limit = min(limit, engine.max_length // 2)
    n_truth = len(engine.tokenizer.encode(question.truth)) + MAX_LEAD
    ids = engine.repository_prompt(
        context,
        Cursor(question.path, question.prefix, question.suffix),
        insert=engine.can_insert,
        max_tokens=max(limit, min(n_truth, engine.max_length // 2)),
    )
    truth_ids = engine.tokenizer.encode(ids.lead + question.truth)[: engine.max_length - len(ids)]
    mode: Mode = "insert" if engine.can_insert else "complete"
    n_given = _count_given(engine.tokenizer, truth_ids, ids.forced)
    return CommitPrompt(ids, mode, truth_ids, limit, n_given)


def answer(
    engine: TextEngine, memory: Memory | None, prompt: CommitPrompt, question: CommitQuestion
) -> ArmAnswer:
    """The greedy answer, as many lines as were typed."""
    params = SamplingParams(max_tokens=prompt.limit, logprobs=0)
    engine.memory = memory
    begun = time.perf_counter()
    stream = engine.submit(prompt.ids, params, mode=prompt.mode)
    text, logprobs = "", []
    for delta in stream:
        text += delta.text
        logprobs += [entry.logprob for entry in delta.logprobs]
        if text.count("\n") >= question.n_lines:
            stream.cancel()
            break
    return _finish(text, question, begun, logprobs)


def score_truth(
    rows_NV: NDArray[np.float32], engine: TextEngine, prompt: CommitPrompt, recall: Recall | None
) -> TruthScore:
    """The score of the truth's tokens in rows of logits, mixed with a memory or not."""
    bits, hits = 0.0, []
    healing = engine.heal(prompt.ids.forced)
    for row_V, token in zip(rows_NV, prompt.truth_ids, strict=True):
        logits_V = row_V.copy()
        if recall is not None:
            recall.mix(logits_V)
            recall.accept(token)
        logits_V = healing.mask(logits_V)
        healing.accept(token)
        bits += (log_total(logits_V) - float(logits_V[token])) / math.log(2)
        hits.append(int(logits_V.argmax()) == token)
    return _score(bits, hits, engine.tokenizer, prompt)


def score_truth_ngram(
    ngram: NgramModel, tokenizer: Tokenizer, prompt: CommitPrompt, question: CommitQuestion
) -> TruthScore:
    """The same of an n-gram model."""
    ids = _tail(tokenizer, question, prompt)
    rest = prompt.truth_ids[prompt.n_given :]
    bits = ngram.bits(np.array([*ids, *rest]))
    bits -= ngram.bits(np.array(ids)) if len(ids) > 1 else 0.0
    hits = [True] * prompt.n_given
    for token in rest:
        hits.append(ngram.continue_greedily(ids, 1, frozenset()) == [token])
        ids.append(token)
    return _score(bits, hits, tokenizer, prompt)


def answer_ngram(
    ngram: NgramModel, tokenizer: Tokenizer, prompt: CommitPrompt, question: CommitQuestion
) -> ArmAnswer:
    """The n-gram model's answer."""
    begun = time.perf_counter()
    ids = _tail(tokenizer, question, prompt)
    said = ngram.continue_greedily(ids, prompt.limit, frozenset())
    text = tokenizer.decode(said).removeprefix(_lead_after_given(tokenizer, prompt))
    bits = ngram.bits(np.array([*ids, *said])) - (ngram.bits(np.array(ids)) if ids[1:] else 0.0)
    return _finish(text, question, begun, [-bits * math.log(2) / max(1, len(said))])


def answer_memory(
    memory: Memory, engine: TextEngine, prompt: CommitPrompt, question: CommitQuestion
) -> ArmAnswer:
    """The continuation of the memory alone: the model's part is a uniform distribution."""
    begun = time.perf_counter()
    recall = Recall(memory, prompt.ids, prompt.limit)
    healing = engine.heal(prompt.ids.forced)
    ids: list[int] = []
    text, logprobs = "", []
    while len(ids) < prompt.limit and text.count("\n") < question.n_lines:
        row_V = np.zeros(engine.config.vocab_size, np.float32)
        recall.mix(row_V)
        row_V = healing.mask(row_V)
        ids.append(int(row_V.argmax()))
        logprobs.append(float(row_V[ids[-1]]) - log_total(row_V))
        recall.accept(ids[-1])
        healing.accept(ids[-1])
        text = memory.tokenizer.decode(ids).removeprefix(prompt.lead)
    return _finish(text, question, begun, logprobs)


def tidy(text: str, n_lines: int) -> str:
    r"""The first lines of an answer, as a truth is written.

    >>> tidy("    a = 1\n    b = 2  \nc", 2)
    'a = 1\n    b = 2'
    """
    return "\n".join(text.split("\n")[:n_lines]).lstrip(" \t").rstrip()


def _finish(text: str, question: CommitQuestion, begun: float, logprobs: list[float]) -> ArmAnswer:
    ms = 1000 * (time.perf_counter() - begun)
    sure = sum(logprobs) / max(1, len(logprobs))
    return ArmAnswer(tidy(text, question.n_lines), ms, sure)


def _tail(tokenizer: Tokenizer, question: CommitQuestion, prompt: CommitPrompt) -> list[int]:
    """The last tokens before the cursor, and those of the lead alone."""
    before = question.prefix.removesuffix(prompt.lead) if prompt.lead else question.prefix
    given = prompt.truth_ids[: prompt.n_given]
    return [*tokenizer.encode(before[-NGRAM_PROMPT_CHARS:])[-32:], *given]


def _count_given(tokenizer: Tokenizer, truth_ids: list[int], forced: str) -> int:
    lead, n = forced.encode(), 0
    while n < len(truth_ids) and lead.startswith(tokenizer.join_bytes(truth_ids[: n + 1])):
        n += 1
    return n


def _lead_after_given(tokenizer: Tokenizer, prompt: CommitPrompt) -> str:
    """The rest of the lead that a token joins to the truth."""
    given = tokenizer.join_bytes(prompt.truth_ids[: prompt.n_given])
    return prompt.lead.encode()[len(given) :].decode(errors="replace")


def _score(bits: float, hits: list[bool], tokenizer: Tokenizer, prompt: CommitPrompt) -> TruthScore:
    pieces = [tokenizer.token_bytes(i) for i in prompt.truth_ids]
    sizes, skipped = [], len(prompt.lead)
    for piece in pieces:
        n = len(piece.decode("utf-8", "ignore"))
        sizes.append(max(0, n - skipped))
        skipped = max(0, skipped - n)
    n_bytes = sum(map(len, pieces)) - len(prompt.lead.encode())
    return TruthScore(bits, n_bytes, count_saved_chars(sizes, hits), sum(sizes))
