"""From answers with advantages to an update of the model.

Input: Rollouts, an advantage each. Output: the weights after one step's updates, and what is told
of them. The answers to one prompt share a row, in which the prompt is computed once; rows of about
one length are learned together. Where neither an advantage nor a divergence asks for a gradient,
nothing is computed: such an answer's loss is 0 whatever the model.

The reference is the model that the run starts from: with LoRA the base with its adapter off, so
nothing is copied; with all weights a copy of them, because they change.

Not here: the rows (answer_rows.py), the objective (objective.py), the order of it all
(grpo_loop.py).

Legend: B answers, R rows, L tokens of a row, T tokens of the longest answer, N tokens that count,
E hidden width, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from codling.model.transformer import Transformer
from codling.posttrain.answer_rows import AnswerRows, Lesson, arrange, lay_out
from codling.posttrain.config import ObjectiveConfig
from codling.posttrain.dpo import switch_adapter_off
from codling.posttrain.lora import LoraLinear
from codling.posttrain.objective import Logprobs, StepTotals, average, weigh_tokens
from codling.train.optim.optimizer import Optimizer

_CHUNK_LOGITS = 1 << 24
"""Logits that are held at a time."""


@dataclass
class StepNotes:
    """What one step's updates were like."""

    loss: float = 0.0
    grad_norm: float = 0.0
    n_tokens: int = 0
    """Tokens that were computed on, once per pass over the answers."""
    divergence: float = 0.0
    clipped: float = 0.0
    sampler_gap: float = 0.0
    """Mean distance of the sampler's log-probabilities from the learner's."""
    norms: list[float] = field(default_factory=list)

    def mean(self, total: float) -> float:
        """Per token."""
        return total / max(1, self.n_tokens)


class Reference:
    """The model as it was when the run began."""

    def __init__(self, model: Transformer) -> None:
        """Copies the weights where they are trained themselves."""
        self._model = model
        self._has_adapter = any(isinstance(each, LoraLinear) for each in model.modules())
        self._kept = (
            {}
            if self._has_adapter
            else {name: p.detach().clone() for name, p in model.named_parameters()}
        )

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """A block in which the model is its reference."""
        if self._has_adapter:
            with switch_adapter_off(self._model):
                yield
            return
        parameters = dict(self._model.named_parameters())
        now = {name: parameters[name].data for name in self._kept}
        try:
            for name, kept in self._kept.items():
                parameters[name].data = kept
            yield
        finally:
            for name, data in now.items():
                parameters[name].data = data


class Learner:
    """Updates a model from answers."""

    def __init__(  # noqa: PLR0913 -- the model's parts, and how it learns
        self,
        model: Transformer,
        optimizer: Optimizer,
        objective: ObjectiveConfig,
        *,
        batch_size: int,
        temperature: float,
        max_completion_length: int,
        num_iterations: int = 1,
        reference: Reference | None = None,
    ) -> None:
        """`batch_size` answers are computed at once; a step passes `num_iterations` times over its
        answers, with an update each."""
        self._model, self._optimizer, self._objective = model, optimizer, objective
        self._batch_size, self._temperature = batch_size, temperature
        self._longest, self._n_passes = max_completion_length, num_iterations
        self._reference = reference

    def learn(self, lessons: Sequence[Lesson], rate: float) -> StepNotes:
        """The updates of one step, at `rate` times the peak; none if nothing can be learned."""
        notes = StepNotes()
        batches = list(self._batches(lessons))
        totals = self._totals(lessons)
        references = [self._before(rows) for rows in batches]
        before: dict[int, Tensor] = {}
        for _ in range(self._n_passes if batches else 0):
            for number, (rows, reference) in enumerate(zip(batches, references, strict=True)):
                now_BT, sampler = self._logprobs(rows), rows.sampler_BT
                # The first pass ends before the first update: what it finds is what was before.
                then = before.setdefault(number, now_BT.detach())
                logprobs = Logprobs(now_BT, then, sampler, reference)
                losses = weigh_tokens(logprobs, rows.advantages_B, rows.mask_BT, self._objective)
                loss = average(losses.loss, rows.mask_BT, self._objective, totals)
                loss.backward()  # type: ignore[no-untyped-call]
                self._optimizer.add_gradients(first=number == 0)
                notes.loss += float(loss.detach())
                notes.n_tokens += int(rows.mask_BT.sum())
                notes.divergence += float((losses.divergence * rows.mask_BT).sum())
                notes.clipped += float((losses.clipped * rows.mask_BT).sum())
                gap_BT = (logprobs.then - sampler).abs()
                notes.sampler_gap += float((gap_BT * rows.mask_BT).sum())
            notes.norms.append(float(self._optimizer.step(rate)))
        notes.grad_norm = notes.norms[-1] if notes.norms else 0.0
        return notes

    def _totals(self, lessons: Sequence[Lesson]) -> StepTotals:
        """What the averages are over: every answer, whether a gradient comes from it or not."""
        counted = [each for each in lessons if self._counts(each)]
        n_tokens = sum(len(each.rollout.token_ids) for each in counted)
        return StepTotals(len(lessons), n_tokens, self._longest)

    def _counts(self, lesson: Lesson) -> bool:
        return lesson.rollout.ended or not self._objective.mask_truncated_completions

    @torch.no_grad()
    def _before(self, rows: AnswerRows) -> Tensor | None:
        """The reference's log-probabilities, where there is one."""
        if self._reference is None:
            return None
        with self._reference.in_place():
            return self._logprobs(rows)

    def _batches(self, lessons: Sequence[Lesson]) -> Iterator[AnswerRows]:
        """Rows of about one length together, answers without a gradient left out."""
        asks = [
            lesson
            for lesson in lessons
            if self._counts(lesson) and (lesson.advantage or self._reference is not None)
        ]
        weight = self._model.embed_tokens.weight
        for rows in arrange(asks, self._batch_size):
            yield lay_out(rows, weight.device, weight.dtype)

    def _logprobs(self, rows: AnswerRows) -> Tensor:
        """Of the answers' tokens, at the temperature that they were drawn with: [B, T]."""
        hidden_RLE = self._model(rows.inputs_RL, branches=rows.branches)
        hidden_NE = hidden_RLE.flatten(0, 1)[rows.places_BT[rows.mask_BT]]
        found_N = token_logprobs(
            hidden_NE, self._model.lm_head.weight, rows.targets_BT[rows.mask_BT], self._temperature
        )
        logprobs_BT = torch.zeros(rows.mask_BT.shape, device=found_N.device)
        return logprobs_BT.masked_scatter(rows.mask_BT, found_N)


def token_logprobs(
    hidden_NE: Tensor, weight_VE: Tensor, targets_N: Tensor, temperature: float = 1.0
) -> Tensor:
    """Log-probabilities of `targets_N` in fp32, never with all logits at once: backward makes them
    again, chunk by chunk."""
    n_rows = max(1, _CHUNK_LOGITS // len(weight_VE))
    chunks = zip(torch.split(hidden_NE, n_rows), torch.split(targets_N, n_rows), strict=True)
    found = [
        checkpoint(_chunk_logprobs, hidden, weight_VE, targets, temperature, use_reentrant=False)
        for hidden, targets in chunks
    ]
    return torch.cat(found)


def _chunk_logprobs(
    hidden_CE: Tensor, weight_VE: Tensor, targets_C: Tensor, temperature: float
) -> Tensor:
    logits_CV = (hidden_CE @ weight_VE.t()).float() / temperature
    picked_C: Tensor = logits_CV.gather(1, targets_C[:, None])[:, 0]
    return picked_C - logits_CV.logsumexp(-1)
