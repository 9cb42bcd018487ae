"""Batches through the stages of a pipeline and back: torch's 1F1B and interleaved 1F1B schedules.

Input: the stages of this process, the micro-batches of an update. Output: gradients in the stages'
parameters, and this process's part of the loss: the cross entropy on the last stage, balance losses
wherever there are experts.

The rows of all micro-batches of an update pass in equal groups (parallel/pipeline.py says how
many), one forward and one backward in turn, and FSDP reduces the gradients once, behind the last
group. A held-out batch passes stage by stage.

Not here: which layers a stage has (parallel/pipeline.py).
"""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import Schedule1F1B, ScheduleInterleaved1F1B

from codling.model.moe import Routing
from codling.model.transformer import Transformer
from codling.train.config import ExpertsConfig
from codling.train.loader import Batch
from codling.train.loss import chunked_cross_entropy
from codling.train.optim.optimizer import Optimizer
from codling.train.parallel.pipeline import Stage, count_rows
from codling.train.parallel.share import Sharing
from codling.train.step import LossStep

Schedule = Schedule1F1B | ScheduleInterleaved1F1B


class PipelineStep(LossStep):
    """The LossStep of a model of which this process has some layers."""

    def __init__(
        self,
        model: Transformer,
        sharing: Sharing,
        experts: ExpertsConfig | None = None,
    ) -> None:
        super().__init__(model, compiled=False, experts=experts, windows=sharing.windows)
        assert sharing.pipeline is not None
        pipeline = sharing.pipeline
        self._pipeline, self._dtype = pipeline, sharing.dtype
        self._device = next(model.parameters()).device
        self._group = pipeline.mesh.get_group()
        self._schedules: dict[tuple[int, ...], Schedule] = {}
        self._beside = torch.zeros((), dtype=torch.float64, device=self._device)
        """Balance losses of this process since the update began."""
        for stage in pipeline.stages:
            if self.experts is not None:
                self._balance(stage)

    def accumulate(self, batches: Iterable[Batch], optimizer: Optimizer) -> tuple[Tensor, int]:
        """Gradients of an update; this process's part of the sum of its losses, and of how many."""
        read = list(batches)
        assert all(len(batch) == 2 for batch in read), "rows of one document each"
        inputs_BL, targets_BL = (torch.cat([batch[i] for batch in read]) for i in range(2))
        n_rows = count_rows(len(read[0][0]), len(read), self._pipeline.layout)
        n = len(inputs_BL) // n_rows
        self._beside.zero_()
        losses: list[Tensor] = []
        own_BL = self._own(inputs_BL)
        first = (own_BL,) if self._pipeline.place == 0 else ()
        self._schedule(n, own_BL[:n_rows].shape).step(
            *first,
            tokens_BL=inputs_BL,
            target=self._own(targets_BL),
            losses=losses,
            return_outputs=False,
        )
        optimizer.add_gradients(first=True)
        own = [loss.detach().double() for loss in losses]
        return torch.stack([self._beside, *own]).sum(), n

    @torch.no_grad()
    def evaluate(
        self, inputs_BL: Tensor, targets_BL: Tensor, documents_BL: Tensor | None = None
    ) -> float:
        """Mean cross entropy without gradients, in all processes of the pipeline."""
        assert documents_BL is None
        hidden_BLE = self._pass_stages(inputs_BL)
        return float(self._tell(self._loss(hidden_BLE, self._own(targets_BL))[None])[0])

    @torch.no_grad()
    def evaluate_rows(self, inputs_BL: Tensor, targets_BL: Tensor) -> Tensor:
        """The same of every row, in fp64 [B] on the CPU."""
        rows = zip(self._pass_stages(inputs_BL), self._own(targets_BL), strict=True)
        return self._tell(torch.stack([self._loss(h_LE, t_L) for h_LE, t_L in rows])).cpu()

    def warm_up(self, *batch: Tensor, limit: float | None = None) -> None:
        """Nothing: stages run eagerly."""

    def _own(self, whole_BL: Tensor) -> Tensor:
        """This process's part of windows that several share."""
        if self.windows is None:
            return whole_BL
        return self.windows.window(whole_BL.shape[1]).own(whole_BL)

    def _loss(self, hidden_BLE: Tensor, targets_BL: Tensor) -> Tensor:
        """Of the last stage; a zero elsewhere."""
        if not self._pipeline.stages[-1].is_last:
            return torch.zeros((), device=self._device)
        weight = self.model.lm_head.weight
        return chunked_cross_entropy(hidden_BLE.flatten(0, -2), weight, targets_BL.flatten())

    def _balance(self, stage: Stage) -> None:
        """Let the stage add the balance losses of its layers."""
        experts = self.experts
        assert experts is not None
        layers = [n for n in map(int, dict(stage.layers.named_children())) if n in experts.rows]

        def add_loss(routings: list[Routing], shape: torch.Size) -> Tensor:
            loss = experts.loss(routings, shape, layers)
            self._beside += loss.detach()
            return loss

        stage.limit, stage.add_loss = experts.limit, add_loss

    def _schedule(self, n: int, shape: torch.Size) -> Schedule:
        """For `n` groups of rows of one shape [B, L]; made when it is first used."""
        key = (n, *shape)
        if key not in self._schedules:
            stages = [self._torch_stage(stage, shape) for stage in self._pipeline.stages]
            self._schedules[key] = (
                Schedule1F1B(stages[0], n, self._loss, scale_grads=False)
                if len(stages) == 1
                else ScheduleInterleaved1F1B([*stages], n, self._loss, scale_grads=False)
            )
        return self._schedules[key]

    def _torch_stage(self, stage: Stage, shape: torch.Size) -> PipelineStage:
        width = self.model.config.hidden_size
        tokens = torch.empty(shape, dtype=torch.int64, device="meta")
        states = torch.empty((*shape, width), dtype=self._dtype, device="meta", requires_grad=True)
        return PipelineStage(
            stage,
            stage.number,
            self._pipeline.n_stages,
            self._device,
            input_args=tokens if stage.is_first else states,
            output_args=states,
            group=self._group,
        )

    def _pass_stages(self, inputs_BL: Tensor) -> Tensor:
        """Hidden states of the last stage; elsewhere those of this process's last one."""
        layout, place = self._pipeline.layout, self._pipeline.place
        width = self.model.config.hidden_size
        own_BL = self._own(inputs_BL)
        x = torch.empty((*own_BL.shape, width), dtype=self._dtype, device=self._device)
        for stage in self._pipeline.stages:
            if not stage.is_first:
                dist.recv(x, group=self._group, group_src=(stage.number - 1) % layout.pp)
            x = stage(own_BL if stage.is_first else x, tokens_BL=inputs_BL).contiguous()
            if not stage.is_last:
                dist.send(x, group=self._group, group_dst=(place + 1) % layout.pp)
        return x

    def _tell(self, losses: Tensor) -> Tensor:
        """Those of the last stage, to all."""
        told = losses.double()
        dist.broadcast(told, group=self._group, group_src=self._pipeline.layout.pp - 1)
        return told if self.windows is None else self.windows.mean(told)
