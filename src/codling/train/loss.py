"""The language-model loss: cross entropy from hidden states, without ever holding all logits.

Input: final hidden states, the head's weight, target ids. Output: the mean loss in nats, and
through autograd the gradients of both.

`chunked_cross_entropy` makes the logits of a few rows at a time and takes their gradient at once,
so the peak memory is C x V instead of N x V; `plain_cross_entropy` is the reference for tests.

Not here: where hidden states come from (model/), and which targets count (callers set IGNORED).

Legend: N rows (batch x length), C rows of a chunk, H hidden width, V vocabulary.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

ChunkLoss = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Of a chunk: its summed loss, and the gradient of the mean loss by its logits."""

IGNORED = -100
"""Targets with this value take no part in the loss."""
_MAX_ROWS = 1024
CHUNK_LOGITS = 1 << 25
"""Logits of a chunk at most: a vocabulary of 150,000 would take gigabytes for 1,024 rows."""
_GPU_CHUNK_LOGITS = 1 << 28
"""The same on a GPU, which small products leave idle."""


def chunked_cross_entropy(
    hidden_NH: Tensor,
    weight_VH: Tensor,
    targets_N: Tensor,
    *,
    chunk_rows: int | None = None,
    chunk_loss: ChunkLoss | None = None,
) -> Tensor:
    """Mean cross entropy in nats over the targets that are not IGNORED; 0 if all are.

    The matrix products run in the dtype of `hidden_NH`, softmax and sums in fp32. A weight that
    needs no gradient costs none. `chunk_loss` is `loss_of_chunk` or a compiled one.
    """
    chunk_rows = chunk_rows or rows_of_chunk(weight_VH.shape[0], weight_VH.device.type)
    if not torch.is_grad_enabled():
        return _loss_only(hidden_NH, weight_VH, targets_N, chunk_rows)
    loss: Tensor = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_NH,
        weight_VH,
        targets_N,
        chunk_rows,
        chunk_loss or loss_of_chunk,
        weight_VH.requires_grad,
    )
    return loss


def plain_cross_entropy(hidden_NH: Tensor, weight_VH: Tensor, targets_N: Tensor) -> Tensor:
    """The same number from all logits at once."""
    logits_NV = F.linear(hidden_NH, weight_VH.to(hidden_NH.dtype)).float()
    total = F.cross_entropy(logits_NV, targets_N, ignore_index=IGNORED, reduction="sum")
    return total / (targets_N != IGNORED).sum().clamp(min=1)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Takes the gradients in the forward pass, while a chunk's logits are there."""

    @staticmethod
    def forward(  # noqa: PLR0913 (the operands, and how to go about it)
        ctx: torch.autograd.function.FunctionCtx,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        targets_N: Tensor,
        chunk_rows: int,
        chunk_loss: ChunkLoss,
        is_trained: bool,
    ) -> Tensor:
        weight = weight_VH.to(hidden_NH.dtype)
        scale = 1.0 / (targets_N != IGNORED).sum().clamp(min=1)
        total = torch.zeros((), dtype=torch.float32, device=hidden_NH.device)
        shape = weight.shape if is_trained else (0,)
        d_weight = torch.zeros(shape, dtype=torch.float32, device=weight.device)
        d_hidden = []
        for hidden_CH, targets_C in zip(
            torch.split(hidden_NH, chunk_rows), torch.split(targets_N, chunk_rows), strict=True
        ):
            loss, d_logits_CV = chunk_loss(hidden_CH, weight, targets_C, scale)
            total = total + loss
            d_hidden.append(d_logits_CV @ weight)
            if is_trained:
                d_weight = d_weight + (d_logits_CV.t() @ hidden_CH).float()
        ctx.is_trained = is_trained  # type: ignore[attr-defined]
        ctx.save_for_backward(torch.cat(d_hidden), d_weight.to(weight_VH.dtype))
        return total * scale

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, d_loss: Tensor
    ) -> tuple[Tensor, Tensor | None, None, None, None, None]:
        d_hidden, d_weight = ctx.saved_tensors  # type: ignore[attr-defined]
        return (
            d_hidden * d_loss.to(d_hidden.dtype),
            d_weight * d_loss.to(d_weight.dtype) if ctx.is_trained else None,  # type: ignore[attr-defined]
            None,
            None,
            None,
            None,
        )


def rows_of_chunk(vocab_size: int, device: str) -> int:
    """Rows whose logits are there at a time, on a device of this type."""
    if device == "cpu":
        return min(_MAX_ROWS, max(1, CHUNK_LOGITS // vocab_size))
    return max(1, _GPU_CHUNK_LOGITS // vocab_size)


def _loss_only(hidden_NH: Tensor, weight_VH: Tensor, targets_N: Tensor, chunk_rows: int) -> Tensor:
    chunks = zip(
        torch.split(hidden_NH, chunk_rows), torch.split(targets_N, chunk_rows), strict=True
    )
    n_counted = (targets_N != IGNORED).sum().clamp(min=1)
    means = [(plain_cross_entropy(h, weight_VH, t), (t != IGNORED).sum()) for h, t in chunks]
    return torch.stack([mean * n for mean, n in means]).sum() / n_counted


def loss_of_chunk(
    hidden_CH: Tensor, weight_VH: Tensor, targets_C: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor]:
    """Summed loss of a chunk, and d(mean loss)/d(logits) in the dtype of the products."""
    logits_CV = (hidden_CH @ weight_VH.t()).float()
    counts_C = targets_C != IGNORED
    safe_C = targets_C.clamp(min=0)
    norm_C = torch.logsumexp(logits_CV, dim=-1)
    picked_C = logits_CV.gather(1, safe_C[:, None])[:, 0]
    loss = ((norm_C - picked_C) * counts_C).sum()
    probability_CV = torch.exp(logits_CV - norm_C[:, None])
    is_target_CV = safe_C[:, None] == torch.arange(weight_VH.shape[0], device=weight_VH.device)
    d_logits_CV = (probability_CV - is_target_CV.float()) * (counts_C.float() * scale)[:, None]
    return loss, d_logits_CV.to(hidden_CH.dtype)
