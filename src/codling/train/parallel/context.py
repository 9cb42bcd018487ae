"""Windows shared by several processes (context parallel): pieces, and keys gathered from all.

Input: a mesh of one dimension. Output: for every batch a SharedWindow (model/shared_window.py). All
processes of a window read its rows whole and compute their pieces; what a piece's queries see is
gathered in the forward pass, and its gradients are summed back in the backward pass.

Every process averages its loss over its own tokens, and the mean over the processes is that of the
window: FSDP shares weights over them as over others that compute different tokens.

Not here: attention itself.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from codling.core.errors import ConfigError
from codling.model.shared_window import SharedWindow


class WindowSharing:
    """How this process shares windows with others."""

    def __init__(self, mesh: DeviceMesh) -> None:
        self._group, self._n, self._place = mesh.get_group(), mesh.size(), mesh.get_local_rank()

    def window(self, length: int, documents_BS: Tensor | None = None) -> SharedWindow:
        """This process's pieces of windows of `length` tokens."""
        check_window(length, self._n)
        piece = length // (2 * self._n)
        starts = (self._place * piece, (2 * self._n - 1 - self._place) * piece)
        return SharedWindow(starts, piece, self._gather, documents_BS)

    def mean(self, x: Tensor) -> Tensor:
        """The average over the processes of a window; no gradient."""
        total = x.detach().clone()
        dist.all_reduce(total, group=self._group)
        return total / self._n

    def _gather(self, own_BKLD: Tensor) -> Tensor:
        whole: Tensor = _Gather.apply(own_BKLD, self._group)  # type: ignore[no-untyped-call]
        return whole


class _Gather(torch.autograd.Function):
    """Pieces of all processes in the order of the window; gradients are summed."""

    @staticmethod
    def forward(ctx: Any, own_BKLD: Tensor, group: dist.ProcessGroup) -> Tensor:  # noqa: ANN401
        ctx.group = group
        n, own = dist.get_world_size(group), own_BKLD.contiguous()
        all_N = own.new_empty((n * own.shape[0], *own.shape[1:]))
        dist.all_gather_single(all_N, own, group=group)
        early, late = zip(*(each.chunk(2, 2) for each in all_N.chunk(n)), strict=True)
        return torch.cat([*early, *reversed(late)], 2)

    @staticmethod
    def backward(ctx: Any, grad_BKSD: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        n = dist.get_world_size(ctx.group)
        pieces = grad_BKSD.chunk(2 * n, 2)
        parts = [torch.cat((pieces[r], pieces[2 * n - 1 - r]), 2) for r in range(n)]
        own = torch.empty_like(parts[0])
        dist.reduce_scatter_single(own, torch.cat(parts), group=ctx.group)
        return own, None


def check_window(length: int, n_ranks: int) -> None:
    """ConfigError if so many processes cannot share a window of `length` tokens."""
    if length % (2 * n_ranks):
        raise ConfigError(
            f"parallel: cp={n_ranks} cuts a window into {2 * n_ranks} equal pieces, which "
            f"{length} tokens do not divide into; choose another context"
        )
