"""From a batch to a loss: the model's forward pass and the chunked loss, compiled where that works.

Input: a model, token ids and targets [B, L]. Output: the mean loss in nats, ready for backward().

torch.compile takes one block of the model at a time: all blocks share one compiled program, which
is as fast as the whole model compiled at once and ready in a fraction of the time. The embedding
stays eager, where its gradient is summed in a fixed order: the same seed gives the same weights.

Not here: gradients and updates (optim/optimizer.py), the loop (trainer.py).
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from codling.core.files import write_json
from codling.core.log import say
from codling.model.moe import RoutingLog
from codling.model.shared_window import SharedWindow
from codling.model.transformer import Transformer
from codling.train.compile_watch import CompileWatch, CompilingTooLong
from codling.train.compiler_cache import repair_compiler_cache
from codling.train.config import ExpertsConfig
from codling.train.experts import ExpertBalance
from codling.train.loader import Batch
from codling.train.loss import IGNORED, chunked_cross_entropy, loss_of_chunk
from codling.train.machine import has_compiler
from codling.train.optim.optimizer import Optimizer
from codling.train.parallel.context import WindowSharing
from codling.train.parallel.ranks import Ranks

EXPERT_LOAD = "expert-load.json"
"""For each layer with experts, how busy each was in the last updates; 1 is an even share."""


class LossStep:
    """`loss(inputs, targets)` of a model, compiled or eager."""

    def __init__(
        self,
        model: Transformer,
        *,
        compiled: bool,
        experts: ExpertsConfig | None = None,
        windows: WindowSharing | None = None,
    ) -> None:
        """`experts`: how the load of routed experts is kept even; by default it is not. `windows`:
        how processes share them; by default each has whole ones."""
        self.model, self.windows = model, windows
        mean = None if windows is None else windows.mean
        has_experts = experts is not None and model.config.moe is not None
        self.experts = ExpertBalance(model, experts, mean) if experts and has_experts else None
        self._head: Callable[..., Tensor] = chunked_cross_entropy
        self.compiled = False
        if compiled:
            self._compile()

    def loss(
        self,
        inputs_BL: Tensor,
        targets_BL: Tensor,
        documents_BL: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Mean cross entropy, times `weight`, plus the balance losses where there are experts.

        Tokens of other `documents_BL` are not seen.
        """
        log = None if self.experts is None else RoutingLog()
        whole_BL, window = inputs_BL, None
        if self.windows is not None:
            window = self.windows.window(inputs_BL.shape[1], documents_BL)
            share = share_of(window, targets_BL)
            weight = share if weight is None else share * weight
            inputs_BL, targets_BL = window.own(inputs_BL), window.own(targets_BL)
            documents_BL = None
        n_own = inputs_BL.shape[1]
        capacity = None if self.experts is None else self.experts.limit(whole_BL, n_own)
        hidden_BLE = self.model(
            inputs_BL, log=log, documents_BL=documents_BL, capacity=capacity, window=window
        )
        loss = self._head(hidden_BLE.flatten(0, 1), self.model.lm_head.weight, targets_BL.flatten())
        if weight is not None:
            loss = loss * weight
        if self.experts is not None and log is not None:
            loss = loss + self.experts.loss(log.routings, inputs_BL.shape)
        return loss

    def accumulate(self, batches: Iterable[Batch], optimizer: Optimizer) -> tuple[Tensor, int]:
        """Sum the gradients of an update's micro-batches in the optimiser: the sum of their losses
        in fp64, and of how many means it is."""
        total, n = torch.zeros((), dtype=torch.float64), 0
        for batch in batches:
            loss = self.loss(*batch)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.add_gradients(first=n == 0)
            total, n = total.to(loss.device) + loss.detach(), n + 1
        return total, n

    @torch.no_grad()
    def evaluate(
        self, inputs_BL: Tensor, targets_BL: Tensor, documents_BL: Tensor | None = None
    ) -> float:
        """Mean cross entropy without gradients, eagerly: not worth a compilation of its own."""
        with self.disable_compile():
            if self.windows is not None:
                return float(self._evaluate_shared(inputs_BL, targets_BL, documents_BL)[0])
            hidden_BLE = self.model(inputs_BL, documents_BL=documents_BL)
            targets_N = targets_BL.flatten()
            weight = self.model.lm_head.weight
            return float(chunked_cross_entropy(hidden_BLE.flatten(0, 1), weight, targets_N))

    @torch.no_grad()
    def evaluate_rows(self, inputs_BL: Tensor, targets_BL: Tensor) -> Tensor:
        """The same of every row, whose targets all count, in fp64 [B] on the CPU."""
        with self.disable_compile():
            if self.windows is not None:
                return self._evaluate_shared(inputs_BL, targets_BL)[1]
            hidden_BLE, weight = self.model(inputs_BL), self.model.lm_head.weight
            rows = zip(hidden_BLE, targets_BL, strict=True)
            losses = [chunked_cross_entropy(h_LE, weight, t_L) for h_LE, t_L in rows]
            return torch.stack(losses).double().cpu()

    def _evaluate_shared(
        self, inputs_BL: Tensor, targets_BL: Tensor, documents_BL: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The mean over windows that processes share, and of every row, in fp64 on the CPU."""
        assert self.windows is not None
        window = self.windows.window(inputs_BL.shape[1], documents_BL)
        hidden_BLE = self.model(window.own(inputs_BL), window=window)
        weight, own_BL = self.model.lm_head.weight, window.own(targets_BL)
        rows = zip(hidden_BLE, own_BL, targets_BL, strict=True)
        losses_B = torch.stack(
            [
                chunked_cross_entropy(h_LE, weight, own_L) * share_of(window, all_L[None])
                for h_LE, own_L, all_L in rows
            ]
        )
        losses_B = self.windows.mean(losses_B.double()).cpu()
        counted_B = (targets_BL != IGNORED).sum(1).cpu()
        return (losses_B * counted_B).sum() / counted_B.sum().clamp(min=1), losses_B

    def n_counted(self, batch: Batch) -> int:
        """How much a batch weighs in the mean over several: its targets that count."""
        return int((batch[1] != IGNORED).sum())

    def end_update(self, ranks: Ranks, *, moves: bool) -> dict[str, Tensor]:
        """After an update: what the metrics tell of it besides the loss; see ExpertBalance."""
        return {} if self.experts is None else self.experts.end_update(ranks, moves=moves)

    def state(self) -> dict[str, Tensor]:
        """What the next update depends on besides weights and optimiser: views, not copies."""
        return {} if self.experts is None else self.experts.state()

    def write_report(self, folder: Path) -> None:
        """Leave beside the metrics what is too much for their rows."""
        if self.experts is not None and (load := self.experts.load()):
            write_json(folder / EXPERT_LOAD, {"load": load})

    @contextmanager
    def disable_compile(self) -> Iterator[None]:
        """A block in which nothing is compiled."""
        with torch.compiler.set_stance("force_eager"):
            yield

    def warm_up(self, *batch: Tensor, limit: float | None = None) -> None:
        """One pass that compiles; if compiling fails, or takes longer than `limit` seconds, say so
        once and go on eagerly."""
        try:
            with CompileWatch(limit) if self.compiled else nullcontext():
                self.loss(*batch).backward()  # type: ignore[no-untyped-call]
        except CompilingTooLong:
            say(f"compiling takes more than {limit:.0f} s; training runs eagerly, slower")
            self.release()
        except Exception as error:
            if not self.compiled or not _is_compile_error(error):
                raise
            why = _reason(error)
            say(f"torch.compile does not work here ({why}); training runs eagerly, slower")
            self.release()
            self.loss(*batch).backward()  # type: ignore[no-untyped-call]
        for parameter in self.model.parameters():
            parameter.grad = None
        if self.experts is not None:
            self.experts.forget_micro_batches()

    def release(self) -> None:
        """Back to the eager model."""
        for block in self.model.layers:
            block._compiled_call_impl = None
        self._head = chunked_cross_entropy
        self.compiled = False

    def _compile(self) -> None:
        device = next(self.model.parameters()).device
        if not has_compiler(device):
            say("no C++ compiler here; training runs eagerly, about a fifth slower")
            return
        logging.getLogger("torch._inductor").setLevel(logging.ERROR)
        repair_compiler_cache()
        for block in self.model.layers:
            assert isinstance(block, nn.Module)
            block.compile(dynamic=False)
        if device.type == "cpu":
            self._head = torch.compile(chunked_cross_entropy, dynamic=False)
        else:
            # The chunks of a large batch in one program would take long to compile.
            chunk_loss = torch.compile(loss_of_chunk, dynamic=False)
            self._head = partial(chunked_cross_entropy, chunk_loss=chunk_loss)
        self.compiled = True


def share_of(window: SharedWindow, targets_BL: Tensor) -> Tensor:
    """By what the mean over own targets is multiplied, so that the average over the processes of a
    window is the mean over all of its targets: 1 where all count."""
    n_own = (window.own(targets_BL) != IGNORED).sum()
    n_all = (targets_BL != IGNORED).sum().clamp(min=1)
    n_parts = targets_BL.shape[1] / (2 * window.length)
    return n_own * n_parts / n_all


def _is_compile_error(error: BaseException) -> bool:
    modules = {type(e).__module__ for e in (error, error.__cause__) if e is not None}
    return any(m.startswith(("torch._dynamo", "torch._inductor")) for m in modules)


def _reason(error: BaseException) -> str:
    """The cause on one line: the first error that a compiler or loader names, if any."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [
        line for line in lines if re.search(r"\b(?:fatal )?error: |: file too short|: No ", line)
    ]
    said = [line for line in lines if not line.startswith("backend=")]
    return (*named, *said, type(error).__name__)[0][:160]
