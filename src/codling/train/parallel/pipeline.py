"""A model's layers shared out in stages that rows pass one after another (pipeline parallel).

Input: a model, how many processes share its layers and how many stages each has. Output: the same
model with this process's layers alone, and its stages as modules for torch.distributed.pipelining.
Stage s is on process s mod pp: with several stages each, a row comes by several times and the
processes wait less (interleaved 1F1B, arXiv:2104.04473, section 2.2).

Layers keep their numbers: a parameter is named as in the whole model.

Not here: in which order rows pass (train/pipeline_step.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from codling.core.errors import ConfigError
from codling.model.balance import Capacity
from codling.model.moe import Routing, RoutingLog
from codling.model.transformer import Transformer
from codling.train.parallel.context import WindowSharing
from codling.train.parallel.mesh import RankLayout

_ENDS = ("embed_tokens", "norm", "lm_head")


class Stage(nn.Module):
    """Some neighbouring layers, the embedding before the first and the norm behind the last."""

    limit: Callable[[Tensor, int], Capacity | None] | None = None
    """For training: the capacity of experts for a batch, ..."""
    add_loss: Callable[[list[Routing], torch.Size], Tensor] | None = None
    """... and the loss that the routings of a batch add."""

    def __init__(
        self, model: Transformer, number: int, n_stages: int, windows: WindowSharing | None
    ) -> None:
        super().__init__()
        self.number, self.is_first, self.is_last = number, number == 0, number == n_stages - 1
        self.layers = nn.ModuleList()
        for layer in layers_of(number, n_stages, model.config.n_layers):
            self.layers.add_module(str(layer), model.get_submodule(f"layers.{layer}"))
        if self.is_first:
            self.embed_tokens = model.embed_tokens
        if self.is_last:
            self.norm, self.lm_head = model.norm, model.lm_head
        self._pass_blocks, self._rope, self._windows = model.pass_blocks, (model.rope,), windows

    def forward(self, x: Tensor, tokens_BL: Tensor) -> Tensor:
        """Hidden states [B, L, E] of `x`: the tokens in the first stage, hidden states later.

        `tokens_BL` are those of whole windows, of which `x` may be this process's part.
        """
        x_BLE = self.embed_tokens(x) if self.is_first else x
        learns = torch.is_grad_enabled() and self.add_loss is not None
        log = RoutingLog() if learns else None
        n_own = x_BLE.shape[1]
        capacity = self.limit(tokens_BL, n_own) if learns and self.limit is not None else None
        (rope,), window = self._rope, None
        if self._windows is None:
            rotation = rope.span(0, n_own)
        else:
            window = self._windows.window(tokens_BL.shape[1])
            rotation = rope.places(window)
        x_BLE = self._pass_blocks(self.layers, x_BLE, rotation, window, log, capacity)
        if log is not None and log.routings and self.add_loss is not None:
            beside = self.add_loss(log.routings, x_BLE.shape[:2])
            x_BLE = _WithLoss.apply(x_BLE, beside)  # type: ignore[no-untyped-call]
        hidden_BLE: Tensor = self.norm(x_BLE) if self.is_last else x_BLE
        return hidden_BLE


class _WithLoss(torch.autograd.Function):
    """The first tensor; backwards the second one, a loss, gets a gradient of 1."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, loss: Tensor) -> Tensor:
        ctx.kind = (loss.dtype, loss.device)  # type: ignore[attr-defined]
        return x.clone()  # FSDP warns of views

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor]:
        dtype, device = ctx.kind  # type: ignore[attr-defined]
        return grad, torch.ones((), dtype=dtype, device=device)


@dataclass(frozen=True)
class Pipeline:
    """This process's part of a pipeline."""

    layout: RankLayout
    mesh: DeviceMesh
    """The processes of the pipeline that this one belongs to."""
    stages: tuple[Stage, ...]
    names: tuple[tuple[str, torch.Size], ...]
    """All parameters of the whole model."""

    @property
    def place(self) -> int:
        """Which of the processes of the pipeline this is."""
        return int(self.mesh.get_local_rank())

    @property
    def n_stages(self) -> int:
        """Stages in all."""
        return self.layout.pp * self.layout.vp


def layers_of(stage: int, n_stages: int, n_layers: int) -> range:
    """The layers of a stage; the first stages have one more where they do not divide.

    >>> [list(layers_of(stage, 3, 7)) for stage in range(3)]
    [[0, 1, 2], [3, 4], [5, 6]]
    """
    each, more = divmod(n_layers, n_stages)
    start = stage * each + min(stage, more)
    return range(start, start + each + (stage < more))


def cut_layers(
    model: Transformer, layout: RankLayout, mesh: DeviceMesh, windows: WindowSharing | None = None
) -> Pipeline:
    """Leave this process's layers in the model."""
    names = tuple((name, p.shape) for name, p in model.named_parameters())
    n_stages, place = layout.pp * layout.vp, mesh.get_local_rank()
    own = [Stage(model, n, n_stages, windows) for n in range(place, n_stages, layout.pp)]
    model.layers = nn.ModuleList()
    for stage in own:
        for name, block in stage.layers.named_children():
            model.layers.add_module(name, block)
    for name in _ENDS:
        if not any(hasattr(stage, name) for stage in own):
            delattr(model, name)
    return Pipeline(layout, mesh, tuple(own), names)


def gather_layers(
    model: Transformer, pipeline: Pipeline, whole_of: Callable[[str], Tensor]
) -> None:
    """Make the model whole on the first process; `whole_of` gives a parameter of this process's
    layers, in all processes that have a part of it."""
    own, group = dict(model.named_parameters()), pipeline.mesh.get_group()
    is_main, is_first_line = dist.get_rank() == 0, dist.get_process_group_ranks(group)[0] == 0
    with torch.device("meta"):
        fresh = Transformer(model.config)
    for name, shape in pipeline.names:
        source = _place_of(name, pipeline, model.config.n_layers)
        if name in own:
            tensor = whole_of(name)
            if source and is_first_line:
                dist.send(tensor.contiguous(), group=group, group_dst=0)
        elif is_main:
            tensor = torch.empty(shape, device=next(iter(own.values())).device)
            dist.recv(tensor, group=group, group_src=source)
        if is_main:
            owner, _, last = name.rpartition(".")
            setattr(fresh.get_submodule(owner), last, nn.Parameter(tensor, requires_grad=False))
    for name in ("layers", *_ENDS):
        setattr(model, name, getattr(fresh, name))


def count_rows(n_rows: int, n_batches: int, layout: RankLayout) -> int:
    """How many rows pass the pipeline at a time, of `n_batches` batches of `n_rows` each.

    At least as many groups of rows as there are processes, and twice that where it can be: the more
    there are, the less of the time processes wait. Raises ConfigError if there are too few rows.
    """
    groups = {n_batches * n for n in range(1, n_rows + 1) if n_rows % n == 0}
    fitting = sorted(n for n in groups if _fits(n, layout))
    if not fitting:
        raise ConfigError(
            f"a step of {n_batches} x {n_rows} rows cannot fill a pipeline of {layout.pp} "
            "processes; raise accumulate or batch_size"
        )
    enough = [n for n in fitting if n >= 2 * layout.pp]
    return n_rows * n_batches // (enough[0] if enough else fitting[-1])


def _fits(n_groups: int, layout: RankLayout) -> bool:
    """Whether torch's schedules take so many groups of rows."""
    if n_groups < layout.pp:
        return False
    return layout.vp == 1 or n_groups % (n_groups // layout.pp) == 0


def _place_of(name: str, pipeline: Pipeline, n_layers: int) -> int:
    """The process of the pipeline that has a parameter."""
    n_stages = pipeline.n_stages
    if name.startswith("layers."):
        layer = int(name.split(".")[1])
        stage = next(s for s in range(n_stages) if layer in layers_of(s, n_stages, n_layers))
    else:
        stage = 0 if name.startswith("embed_tokens") else n_stages - 1
    return stage % pipeline.layout.pp


def roots_of(model: Transformer, pipeline: Pipeline | None) -> Sequence[nn.Module]:
    """What is wrapped as one by FSDP: the model, or each stage."""
    return (model,) if pipeline is None else pipeline.stages
