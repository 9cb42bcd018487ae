"""How the processes of one training run share it: a layout in words becomes a mesh of devices.

Input: words such as "dp=2,tp=2" and the number of processes. Output: a RankLayout, torch's mesh of
its dimensions, the last one innermost:

    pp      processes that share the layers, which rows pass one after another; vp: stages of each
    dp      groups that compute different rows, each with its own copy of the shards (HSDP)
    fsdp    processes that compute different rows and share out every weight (FSDP2, ZeRO stage 3)
    cp      processes that share every window, and the shards of the weights (context parallel)
    tp      processes that share every matrix of a block and compute the same rows
    ep      the fsdp processes again: each holds some of the routed experts whole

Not here: what is done to the model (fsdp.py, tensor.py, expert.py, context.py,
pipeline.py).
"""

from dataclasses import dataclass, replace

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from codling.core.errors import ConfigError
from codling.model.config import ModelConfig
from codling.train.parallel.ranks import Ranks

_NAMES = ("pp", "vp", "dp", "fsdp", "cp", "tp", "ep")


@dataclass(frozen=True, kw_only=True)
class RankLayout:
    """How many processes share what."""

    pp: int = 1
    vp: int = 1
    dp: int = 1
    fsdp: int = 1
    cp: int = 1
    tp: int = 1
    ep: int = 1

    @property
    def n_ranks(self) -> int:
        """Processes in all."""
        return self.pp * self.dp * self.fsdp * self.cp * self.tp

    @property
    def n_data(self) -> int:
        """How many of them compute different rows."""
        return self.dp * self.fsdp

    @property
    def n_batch(self) -> int:
        """How many compute different tokens: rows, or parts of rows."""
        return self.n_data * self.cp

    def check(self, shape: ModelConfig) -> None:
        """Raise ConfigError if the model cannot be shared like this."""
        heads, kind = count_cut_heads(shape)
        if heads % self.tp:
            raise ConfigError(f"parallel: tp={self.tp} does not divide {heads} {kind}")
        if self.tp > 1 and shape.qk_norm:
            raise ConfigError(
                "parallel: tp cuts heads whose norms are shared (qk_norm); leave it out"
            )
        self._check_pipeline(shape)
        if self.ep == 1:
            return
        if shape.moe is None:
            raise ConfigError("parallel: ep is for models with routed experts; leave it out")
        if self.ep != self.fsdp:
            raise ConfigError(
                f"parallel: ep={self.ep} spreads experts over the fsdp processes; set "
                f"fsdp={self.ep} or leave ep out"
            )
        if shape.moe.n_routed_experts % self.ep:
            raise ConfigError(
                f"parallel: ep={self.ep} does not divide {shape.moe.n_routed_experts} experts"
            )

    def place(self, ranks: Ranks) -> Ranks:
        """The processes with the rows that each computes."""
        return replace(ranks, per_row=self.cp * self.tp, n_stages=self.pp)

    def _check_pipeline(self, shape: ModelConfig) -> None:
        if self.vp > 1 and self.pp == 1:
            raise ConfigError("parallel: vp is how many stages of a pipeline a process has; set pp")
        if self.pp * self.vp > shape.n_layers:
            raise ConfigError(
                f"parallel: {self.pp * self.vp} stages are more than {shape.n_layers} layers"
            )
        if self.pp > 1 and shape.tie_embeddings:
            raise ConfigError(
                "parallel: pp puts embedding and head in different processes, but they are one "
                "tensor here (tie_embeddings); leave pp out"
            )


def count_cut_heads(shape: ModelConfig) -> tuple[int, str]:
    """What the processes of tensor parallelism share: how many heads, and of which kind."""
    return (shape.n_heads, "heads") if shape.mla is not None else (shape.kv_heads, "kv heads")


def parse_layout(words: str, n_ranks: int) -> RankLayout:
    """The layout that `words` describe, for so many processes.

    >>> parse_layout("fsdp=2,tp=2", 4).n_data
    2
    """
    degrees: dict[str, int] = {}
    for word in filter(None, words.replace(" ", "").split(",")):
        name, _, number = word.partition("=")
        if name not in _NAMES or not number.isdecimal() or int(number) < 1 or name in degrees:
            raise ConfigError(
                f"parallel: {word!r} is not understood; write degrees such as dp=2,tp=2, of "
                f"{', '.join(_NAMES)}"
            )
        degrees[name] = int(number)
    layout = RankLayout(**degrees)
    if layout.n_ranks != n_ranks:
        raise ConfigError(
            f"parallel: {words} is for {layout.n_ranks} processes, but there are {n_ranks}; "
            f"start it by torchrun --nproc-per-node {layout.n_ranks}"
        )
    return layout


def make_mesh(layout: RankLayout, device_type: str) -> DeviceMesh:
    """The mesh [pp, dp, fsdp, tp] of all processes; those that share windows are among fsdp."""
    assert dist.is_initialized()
    degrees = (layout.pp, layout.dp, layout.fsdp * layout.cp, layout.tp)
    return init_device_mesh(device_type, degrees, mesh_dim_names=("pp", "dp", "fsdp", "tp"))


def make_window_mesh(layout: RankLayout, device_type: str) -> DeviceMesh:
    """The same processes as [rest, fsdp, cp, tp]: fsdp apart from cp."""
    degrees = (layout.pp * layout.dp, layout.fsdp, layout.cp, layout.tp)
    return init_device_mesh(device_type, degrees, mesh_dim_names=("rest", "fsdp", "cp", "tp"))
