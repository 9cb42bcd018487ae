"""One model shared by several processes, as a layout says.

Input: a model with the same weights in every process, a layout. Output: what the optimiser must
know of it. Experts are spread first, then matrices are cut, and what is left of a block is sharded:
each part of torch's own composes with the next.
Where layers are shared out, that comes before all.

Not here: the parts (pipeline.py, context.py, expert.py, tensor.py, fsdp.py), processes with whole
copies (ranks.py).
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from codling.model.transformer import Transformer
from codling.train.parallel.context import WindowSharing
from codling.train.parallel.expert import spread_experts
from codling.train.parallel.fsdp import shard_weights
from codling.train.parallel.mesh import RankLayout, make_mesh, make_window_mesh
from codling.train.parallel.pipeline import Pipeline, cut_layers, roots_of
from codling.train.parallel.ranks import limit_waiting
from codling.train.parallel.tensor import cut_matrices


@dataclass(frozen=True)
class Sharing:
    """How a model is shared."""

    layout: RankLayout
    mesh: DeviceMesh
    spread: frozenset[str]
    """Names of experts' parameters whose gradients are sums over the rows of `fsdp` processes."""
    dtype: torch.dtype = torch.float32
    """Of the products."""
    pipeline: Pipeline | None = None
    """This process's stages."""
    windows: WindowSharing | None = None
    """How it shares windows with others."""
    window_group: dist.ProcessGroup | None = None
    """Those others."""


def share_model(model: Transformer, dtype: torch.dtype, layout: RankLayout) -> Sharing:
    """Share the model among all processes; products in `dtype`, weights in fp32.

    Raises ConfigError if the layout does not fit the model.
    """
    layout.check(model.config)
    if layout.tp > 1 or layout.ep > 1:
        model.float()
    device_type = model.embed_tokens.weight.device.type
    mesh, windows, group = make_mesh(layout, device_type), None, None
    spread_over = mesh["fsdp"]
    if layout.cp > 1:
        by_window = make_window_mesh(layout, device_type)
        spread_over, group = by_window["fsdp"], by_window["cp"].get_group()
        windows = WindowSharing(by_window["cp"])
    limit_waiting()
    pipeline = cut_layers(model, layout, mesh["pp"], windows) if layout.pp > 1 else None
    apart = spread_experts(model, spread_over) if layout.ep > 1 else set()
    spread = frozenset(name for name, p in model.named_parameters() if p in apart)
    if layout.tp > 1:
        cut_matrices(model, mesh["tp"])
    data = mesh["dp", "fsdp"] if layout.dp > 1 else mesh["fsdp"]
    for root in roots_of(model, pipeline):
        shard_weights(root, dtype, data, apart=apart, keeps=pipeline is not None)
    return Sharing(layout, mesh, spread, dtype, pipeline, windows, group)
