"""GPTQ (arXiv:2210.17323): a matrix in 4 bits whose later columns make up for earlier ones.

Input: a matrix W [out, in], and H = 2 X^T X of what it is multiplied with. Output: codes and scales
of groups. Columns go by falling H_ii ("act-order"); each is rounded, and its error, as the inverse
of H says, is taken off the columns that are still to come.

Groups and their scales are those of the matrix as it was, so that no table of columns goes into the
file. Of 20 scales per group, from the one that spans it down to half, that with the least error
weighed by H_ii is taken.

Not here: running the calibration (calibrate.py), rounding alone (rounding.py).

Shapes: O rows (out), I columns (in), G groups.
"""

import torch
from torch import Tensor

from codling.export.rounding import SCALE_TYPE, group_scales, round_to_4

_DAMPING = 0.01
"""Of the mean of the diagonal, added to it."""
_COLUMNS_AT_A_TIME = 128
_SHRINKS = 20


def quantize_gptq(weight_OI: Tensor, hessian_II: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """Codes int8 [O, I] and scales bf16 [O, G]."""
    weight_OI, hessian_II = weight_OI.float().clone(), hessian_II.float().clone()
    diagonal_I = hessian_II.diagonal()
    dead_I = diagonal_I == 0
    diagonal_I[dead_I] = 1
    weight_OI[:, dead_I] = 0
    scale_OG = _search_scales(weight_OI, diagonal_I, group)
    order_I = diagonal_I.argsort(descending=True, stable=True)
    scale_OI = scale_OG.repeat_interleave(group, 1)
    factor_II = _inverse_factor(hessian_II[order_I][:, order_I])
    if factor_II is None:
        codes_OI = round_to_4(weight_OI, scale_OI)
    else:
        ordered_OI = _round_columns(weight_OI[:, order_I], scale_OI[:, order_I], factor_II)
        codes_OI = torch.empty_like(ordered_OI)
        codes_OI[:, order_I] = ordered_OI
    return codes_OI.to(torch.int8), scale_OG.to(SCALE_TYPE)


def _search_scales(weight_OI: Tensor, diagonal_I: Tensor, group: int) -> Tensor:
    spanning_OG = group_scales(weight_OI, group)
    best_OG, least_OG = spanning_OG, torch.full_like(spanning_OG, torch.inf)
    for i in range(_SHRINKS):
        tried_OG = (spanning_OG * (1 - 0.5 * i / _SHRINKS)).to(SCALE_TYPE).float()
        scale_OI = tried_OG.repeat_interleave(group, 1)
        miss_OI = round_to_4(weight_OI, scale_OI) * scale_OI - weight_OI
        error_OG = (miss_OI.square() * diagonal_I).view(*spanning_OG.shape, group).sum(-1)
        better_OG = error_OG < least_OG
        best_OG = torch.where(better_OG, tried_OG, best_OG)
        least_OG = torch.where(better_OG, error_OG, least_OG)
    return best_OG


def _inverse_factor(hessian_II: Tensor) -> Tensor | None:
    """The upper Cholesky factor of the inverse; None where H has none even when damped."""
    damped_II = hessian_II.clone()
    damped_II.diagonal().add_(_DAMPING * hessian_II.diagonal().mean())
    lower_II, failed = torch.linalg.cholesky_ex(damped_II)
    if failed:
        return None
    upper_II, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower_II), upper=True)
    return None if failed or not upper_II.isfinite().all() else upper_II


def _round_columns(weight_OI: Tensor, scale_OI: Tensor, factor_II: Tensor) -> Tensor:
    """Round column by column; within a block errors go on at once, beyond it once per block."""
    weight_OI, codes_OI = weight_OI.clone(), torch.empty_like(weight_OI)
    n_columns = weight_OI.shape[1]
    for first in range(0, n_columns, _COLUMNS_AT_A_TIME):
        last = min(first + _COLUMNS_AT_A_TIME, n_columns)
        errors_OC = torch.empty(weight_OI.shape[0], last - first)
        for i in range(first, last):
            scale_O = scale_OI[:, i]
            codes_OI[:, i] = round_to_4(weight_OI[:, i], scale_O)
            error_O = (weight_OI[:, i] - codes_OI[:, i] * scale_O) / factor_II[i, i]
            weight_OI[:, i:last] -= error_O[:, None] * factor_II[i, i:last]
            errors_OC[:, i - first] = error_O
        weight_OI[:, last:] -= errors_OC @ factor_II[first:last, last:]
    return codes_OI
