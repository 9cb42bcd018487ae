"""The optimiser of a model whose weights are shared out among the processes (FSDP2).

Input: a model. `shard_model` makes its parameters shards: each process holds 1/n of every one, in
fp32, and of the gradients and moments too; a block's weights are gathered, in the type of the
products, while it computes (ZeRO stage 3, arXiv:1910.02054). The update is that of adamw.py.

Not here: processes that each hold the whole model (train/parallel/ranks.py), Muon.
"""

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from codling.core.errors import ConfigError
from codling.model.transformer import Transformer
from codling.train.config import OptimizerConfig
from codling.train.optim.adamw import update_adamw
from codling.train.optim.flat import kind_of
from codling.train.parallel.ranks import Ranks

_TINY = 1e-12


def shard_model(model: Transformer, dtype: torch.dtype, ranks: Ranks) -> None:
    """Share out the weights of each block, and of the rest, among all processes, in fp32.

    Only one block at a time is whole in fp32: weights that lie in a file's pages stay there.
    """
    mesh = init_device_mesh(model.embed_tokens.weight.device.type, (ranks.n_ranks,))
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for block in model.layers:
        fully_shard(block.float(), mesh=mesh, mp_policy=policy, reshard_after_forward=True)
    for name, module in model.named_children():
        if name != "layers":
            module.float()
    # The head is used outside of forward, so the root's weights stay until the backward pass.
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=False)


class ShardedOptimizer:
    """The Optimizer (optimizer.py) of a model that `shard_model` shared out."""

    def __init__(self, model: Transformer, config: OptimizerConfig) -> None:
        if config.name != "adamw":
            raise ConfigError(f"optimizer.name is {config.name}, but sharded weights take adamw")
        self._model, self.config = model, config
        self._trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        self._decay = [
            config.weight_decay if kind_of(n, p, model) == "matrix" else 0.0
            for n, p in self._trained
        ]
        self._masters = {f"master.{n}": _own(p.data) for n, p in self._trained}
        self._mean = [torch.zeros_like(m) for m in self._masters.values()]
        self._square = [torch.zeros_like(m) for m in self._masters.values()]
        self._n_updates = torch.zeros((), dtype=torch.int64)

    def add_gradients(self, *, first: bool) -> None:
        """Nothing: every backward pass adds its mean over the processes to the shards' gradients,
        which `step` drops."""

    def average(self, ranks: Ranks, loss: Tensor) -> Tensor:
        """The average loss; the gradients are averaged already."""
        dist.all_reduce(loss)
        return loss.div_(ranks.n_ranks)

    def step(self, rate: float, *, n_summed: int = 1, wanted: Tensor | None = None) -> Tensor:
        """One update; returns the gradient's norm over all shards."""
        gradients = [
            torch.zeros_like(m) if p.grad is None else _own(p.grad)
            for (_, p), m in zip(self._trained, self._masters.values(), strict=True)
        ]
        squares = torch.stack([g.double().square().sum() for g in gradients]).sum()
        dist.all_reduce(squares)
        norm = squares.sqrt().float() / n_summed
        if math.isfinite(norm) and (wanted is None or bool(wanted)):
            scale = min(1.0, self.config.clip_norm / max(float(norm), _TINY)) / n_summed
            self._update([g * scale for g in gradients], rate * self.config.learning_rate)
        for _, parameter in self._trained:
            parameter.grad = None
        return norm

    def weights(self) -> dict[str, Tensor]:
        """This process's shards of the fp32 weights."""
        return self._masters

    def state(self) -> dict[str, Tensor]:
        """The moments of this process's shards."""
        names = [n for n, _ in self._trained]
        mean = {f"adam.mean.{n}": t for n, t in zip(names, self._mean, strict=True)}
        square = {f"adam.square.{n}": t for n, t in zip(names, self._square, strict=True)}
        return {**mean, **square, "adam.n_updates": self._n_updates}

    def publish(self) -> None:
        """Let the next forward pass gather the shards again."""
        for module in self._model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()

    def forget(self) -> None:
        """Back to the state before the first update."""
        for tensor in self.state().values():
            tensor.zero_()

    def restore(self) -> None:
        """Whole fp32 weights, on the first process; the others drop theirs."""
        self.publish()
        is_main = dist.get_rank() == 0
        for name, parameter in self._trained:
            assert isinstance(parameter.data, DTensor)
            whole = parameter.data.full_tensor()
            owner, _, last = name.rpartition(".")
            kept = nn.Parameter(whole if is_main else whole.new_empty(0), requires_grad=False)
            setattr(self._model.get_submodule(owner), last, kept)
        if is_main:
            self._model.tie()

    def _update(self, gradients: list[Tensor], rate: float) -> None:
        self._n_updates += 1
        n = int(self._n_updates)
        parts = zip(
            self._masters.values(), gradients, self._mean, self._square, self._decay, strict=True
        )
        for master, gradient, mean, square, decay in parts:
            update_adamw((master, gradient, mean, square), rate, n, decay, self.config)


def _own(tensor: Tensor) -> Tensor:
    """This process's part, sharing its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
