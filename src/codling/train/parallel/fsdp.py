"""Weights shared out among processes by torch's FSDP2, within groups of copies if asked (HSDP).

Input: a model, or some of its layers, a mesh. Output: the same, whose parameters are shards in
fp32; a block's weights are gathered, in the type of the products, while it computes (ZeRO stage 3,
arXiv:1910.02054), and gradients are averaged over all processes that compute different rows.

Not here: updates (optim/sharded_optimizer.py).
"""

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard


def shard_weights(
    model: nn.Module,
    dtype: torch.dtype,
    mesh: DeviceMesh,
    *,
    apart: set[nn.Parameter],
    keeps: bool = False,
) -> None:
    """Share out the weights of each block, and of the rest; those `apart` are left alone.

    `model` has `layers`. `mesh` has one dimension, or two: copies, and processes that share one.
    `keeps`: a block's weights stay from its first forward pass to the last backward pass of a step.
    """
    # What modules are given stays in its type: rotations are fp32, positions would blur in bf16.
    policy = MixedPrecisionPolicy(
        param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    frozen = {p for n, p in model.named_parameters() if n.endswith("e_score_correction_bias")}
    left = apart | frozen
    assert isinstance(model.layers, nn.ModuleList)
    for block in model.layers:
        # One block at a time is whole in fp32: weights that lie in a file's pages stay there.
        fully_shard(
            block.float(),
            mesh=mesh,
            mp_policy=policy,
            reshard_after_forward=not keeps,
            ignored_params=left,
        )
    for name, module in model.named_children():
        if name != "layers":
            module.float()
    # The head is used outside of forward, so the root's weights stay until the backward pass.
    fully_shard(
        model, mesh=mesh, mp_policy=policy, reshard_after_forward=False, ignored_params=left
    )
