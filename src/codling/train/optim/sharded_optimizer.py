"""The optimiser of a model that several processes share (train/parallel/share.py).

Input: a model whose parameters are DTensors, each process holding a part in fp32, and of the
gradients and moments too. The updates are those of adamw.py, and muon.py's for the matrices of the
layers: a cut matrix is gathered for it, and each process takes its part of the result.

Not here: processes that each hold the whole model (flat_optimizer.py).
"""

import math
import re
from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Replicate, Shard

from codling.model.transformer import Transformer
from codling.train.config import OptimizerConfig
from codling.train.optim.adamw import update_adamw
from codling.train.optim.flat import kind_of
from codling.train.optim.muon import orthogonalize
from codling.train.parallel.pipeline import gather_layers, roots_of
from codling.train.parallel.ranks import Ranks
from codling.train.parallel.share import Sharing

_TINY = 1e-12


class ShardedOptimizer:
    """The Optimizer (optimizer.py) of a model that `share_model` shared out."""

    def __init__(self, model: Transformer, config: OptimizerConfig, sharing: Sharing) -> None:
        self._model, self.config, self._sharing = model, config, sharing
        self._trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        self._kinds = [kind_of(n, p, model) for n, p in self._trained]
        self._masters = {f"master.{n}": _own(p.data) for n, p in self._trained}
        masters = list(self._masters.values())
        self._takes_muon = [config.name == "muon" and kind == "matrix" for kind in self._kinds]
        self._mean = [torch.zeros_like(m) for m in masters]
        """AdamW's running mean, or Muon's momentum."""
        self._square = [
            torch.zeros_like(m[:0] if muon else m)
            for m, muon in zip(masters, self._takes_muon, strict=True)
        ]
        self._n_updates = torch.zeros((), dtype=torch.int64)
        n = sharing.layout.n_ranks // sharing.layout.pp
        self._copies = [_copies(p.data, n) for _, p in self._trained]

    def add_gradients(self, *, first: bool) -> None:
        """Nothing: every backward pass adds its mean over the processes to the shards' gradients,
        which `step` drops."""

    def average(self, ranks: Ranks, loss: Tensor) -> Tensor:
        """The average loss; all gradients but those of spread experts are averaged already."""
        layout, mesh = self._sharing.layout, self._sharing.mesh
        for name, parameter in self._trained:
            if name in self._sharing.spread and parameter.grad is not None:
                gradient = _own(parameter.grad)
                if layout.dp > 1:
                    dist.all_reduce(gradient, group=mesh["dp"].get_group())
                if layout.cp > 1:
                    dist.all_reduce(gradient, group=self._sharing.window_group)
                gradient.div_(layout.n_batch)
        dist.all_reduce(loss)
        return loss.div_(ranks.n_ranks // layout.pp)  # each stage adds its part

    def step(self, rate: float, *, n_summed: int = 1, wanted: Tensor | None = None) -> Tensor:
        """One update; returns the gradient's norm over all shards."""
        gradients = [
            torch.zeros_like(m) if p.grad is None else _own(p.grad)
            for (_, p), m in zip(self._trained, self._masters.values(), strict=True)
        ]
        parts = zip(gradients, self._copies, strict=True)
        squares = torch.stack([g.double().square().sum() / n for g, n in parts]).sum()
        dist.all_reduce(squares)
        norm = squares.sqrt().float() / n_summed
        if math.isfinite(norm) and (wanted is None or bool(wanted)):
            scale = min(1.0, self.config.clip_norm / max(float(norm), _TINY)) / n_summed
            self._update([g * scale for g in gradients], rate)
        for _, parameter in self._trained:
            parameter.grad = None
        return norm

    def weights(self) -> dict[str, Tensor]:
        """This process's shards of the fp32 weights."""
        return self._masters

    def state(self) -> dict[str, Tensor]:
        """The moments of this process's shards."""
        found = {"adam.n_updates": self._n_updates}
        for (name, _), mean, square, muon in zip(
            self._trained, self._mean, self._square, self._takes_muon, strict=True
        ):
            found[f"adam.mean.{name}"] = mean
            if not muon:
                found[f"adam.square.{name}"] = square
        return found

    def as_parts(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights and state, or copies of them, as the parts that they are of whole tensors."""
        whole = {name: parameter.data for name, parameter in self._trained}
        found = {}
        for name, own in tensors.items():
            parameter = whole.get(re.sub(r"^(master|best|adam\.mean|adam\.square)\.", "", name))
            found[name] = own if parameter is None else _like(parameter, own)
        return found

    def publish(self) -> None:
        """Let the next forward pass gather the shards again."""
        for root in roots_of(self._model, self._sharing.pipeline):
            for module in root.modules():
                if isinstance(module, FSDPModule):
                    module.reshard()

    def forget(self) -> None:
        """Back to the state before the first update."""
        for tensor in self.state().values():
            tensor.zero_()

    def restore(self) -> None:
        """Whole fp32 weights, on the first process; the others drop theirs."""
        self.publish()
        if self._sharing.pipeline is not None:
            gather_layers(self._model, self._sharing.pipeline, self._whole)
            return
        is_main = dist.get_rank() == 0
        for name, _ in self._trained:
            whole = self._whole(name)
            owner, _, last = name.rpartition(".")
            kept = nn.Parameter(whole if is_main else whole.new_empty(0), requires_grad=False)
            setattr(self._model.get_submodule(owner), last, kept)
        if is_main:
            self._model.tie()

    def _whole(self, name: str) -> Tensor:
        """A parameter of this process, on all processes that have a part of it."""
        whole = self._model.get_parameter(name).data
        return whole.full_tensor() if isinstance(whole, DTensor) else whole

    def _update(self, gradients: list[Tensor], rate: float) -> None:
        self._n_updates += 1
        n, config = int(self._n_updates), self.config
        for index, (master, gradient) in enumerate(
            zip(self._masters.values(), gradients, strict=True)
        ):
            mean, square = self._mean[index], self._square[index]
            if self._takes_muon[index]:
                self._update_muon(index, master, gradient, rate * config.muon_learning_rate)
                continue
            decay = config.weight_decay if self._kinds[index] == "matrix" else 0.0
            tensors = (master, gradient, mean, square)
            update_adamw(tensors, rate * config.learning_rate, n, decay, config)

    def _update_muon(self, index: int, master: Tensor, gradient: Tensor, rate: float) -> None:
        """The update of muon.py for one parameter."""
        momentum, parameter = self._mean[index], self._trained[index][1].data
        momentum.lerp_(gradient, 1 - self.config.muon_momentum)
        direction = gradient.lerp_(momentum, self.config.muon_momentum)
        rows, columns = parameter.shape[-2:]
        scale = math.sqrt(max(1.0, rows / columns))
        master.mul_(1 - rate * self.config.weight_decay)
        update = _orthogonalize_part(parameter, direction, self.config.muon_iterations)
        master.add_(update, alpha=-rate * scale)


def _orthogonalize_part(parameter: Tensor, direction: Tensor, n_iterations: int) -> Tensor:
    """This process's part of the orthogonalised direction; stacked matrices are never cut."""
    if not isinstance(parameter, DTensor) or parameter.ndim == 3:
        return orthogonalize(direction, n_iterations) if direction.numel() else direction
    like = _like(parameter, direction)
    assert isinstance(like, DTensor)
    update = orthogonalize(like.full_tensor()[None], n_iterations)[0].to(direction.dtype)
    return _part_of(update, parameter).reshape(direction.shape)


def _part_of(whole: Tensor, parameter: DTensor) -> Tensor:
    """The part of `whole` that this process holds of the parameter."""
    mesh, at = parameter.device_mesh, parameter.device_mesh.get_coordinate()
    assert at is not None
    cuts = [(i, p) for i, p in enumerate(parameter.placements) if not isinstance(p, Replicate)]
    # A strided cut (FSDP's, of rows that tensor parallel has cut) comes after the other one.
    for i, placement in sorted(cuts, key=lambda cut: type(cut[1]) is not Shard):
        dim = int(getattr(placement, "dim"))  # noqa: B009 (both kinds of cuts have it)
        parts = torch.chunk(whole, mesh.size(i), dim)
        whole = parts[at[i]] if at[i] < len(parts) else whole.narrow(dim, 0, 0)
    return whole


def _own(tensor: Tensor) -> Tensor:
    """This process's part, sharing its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _like(parameter: Tensor, own: Tensor) -> Tensor:
    """`own` as this process's part of a tensor that is shared out as `parameter` is."""
    if not isinstance(parameter, DTensor):
        return own
    return DTensor.from_local(
        own,
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )


def _copies(parameter: Tensor, n_ranks: int) -> int:
    """How many of the processes that have the parameter hold the same part."""
    if not isinstance(parameter, DTensor):
        return n_ranks
    mesh = parameter.device_mesh
    cut = math.prod(
        mesh.size(i) for i, p in enumerate(parameter.placements) if not isinstance(p, Replicate)
    )
    return n_ranks // cut
