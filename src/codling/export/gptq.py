"""GPTQ (arXiv:2210.17323): a matrix in 4 bits whose later columns make up for earlier ones.

Input: a matrix W [out, in], and H = X^T X of what it is multiplied with, times any number. Output:
codes and scales of groups. Columns go by falling H_ii ("act-order"); each is rounded, and its
error, as the inverse of H says, is taken off the columns that are still to come.

Groups and their scales are those of the matrix as it was, so that no table of columns goes into the
file. Of 20 scales per group, from the one that spans it down to half, that with the least error
weighed by H_ii is taken. Once all codes are chosen, the scales of a row are set to those that make
its error tr((W - Q) H (W - Q)^T) least.

Not here: running the calibration (calibrate.py), rounding alone (rounding.py), the loops
(gptq_kernel.py).

Shapes: O rows (out), I columns (in), G groups, K candidates.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from codling.core.threads import available_cores, in_threads
from codling.export.gptq_kernel import round_columns, search_scales
from codling.export.rounding import SCALE_TYPE, group_scales, round_to_4

_DAMPING = 0.01
"""Of the mean of the diagonal, added to it."""
_COLUMNS_AT_A_TIME = 128
_SHRINKS = 20
_ROWS_AT_A_TIME = 64
_LEAST = 1e-20
"""Added to what is divided by, where codes may all be zero."""


def quantize_gptq(weight_OI: Tensor, hessian_II: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """Codes int8 [O, I] and scales bf16 [O, G]."""
    weight_OI, hessian_II = weight_OI.float().clone(), hessian_II.float().clone()
    diagonal_I = hessian_II.diagonal()
    dead_I = diagonal_I == 0
    diagonal_I[dead_I] = 1
    weight_OI[:, dead_I] = 0
    scale_OG = _search_scales(weight_OI, diagonal_I, group)
    order_I = diagonal_I.argsort(descending=True, stable=True)
    factor_II = _inverse_factor(hessian_II[order_I][:, order_I])
    if factor_II is None:
        codes_OI = round_to_4(weight_OI, scale_OG.repeat_interleave(group, 1))
        return codes_OI.to(torch.int8), scale_OG.to(SCALE_TYPE)
    codes_OI = torch.empty_like(weight_OI)
    scale_OI = scale_OG[:, order_I // group]
    codes_OI[:, order_I] = _round_columns(weight_OI[:, order_I], scale_OI, factor_II)
    scale_OG = _refit_scales(weight_OI, codes_OI, scale_OG, hessian_II)
    return codes_OI.to(torch.int8), scale_OG.to(SCALE_TYPE)


def _search_scales(weight_OI: Tensor, diagonal_I: Tensor, group: int) -> Tensor:
    """Of the scales from the one that spans a group down to half, that of least error."""
    spanning_OG = group_scales(weight_OI, group)
    shrinks_K11 = (1 - 0.5 * torch.arange(_SHRINKS) / _SHRINKS)[:, None, None]
    tried_KOG = (spanning_OG * shrinks_K11).to(SCALE_TYPE).float()
    best_OG = spanning_OG.clone()
    weight, tried, best = weight_OI.numpy(), tried_KOG.numpy(), best_OG.numpy()
    importance = diagonal_I.contiguous().numpy()

    def search(rows: slice) -> None:
        search_scales(weight[rows], tried[:, rows], importance, best[rows])

    _in_row_blocks(search, len(weight))
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
    """Codes [O, I] of columns in the order of the factor; `weight_OI` is used up.

    Within a block of columns errors go on at once, beyond it once per block.
    """
    codes_OI = torch.empty_like(weight_OI)
    for first in range(0, weight_OI.shape[1], _COLUMNS_AT_A_TIME):
        at, rest = slice(first, first + _COLUMNS_AT_A_TIME), slice(first + _COLUMNS_AT_A_TIME, None)
        errors_OC = _round_block(
            weight_OI[:, at], scale_OI[:, at], factor_II[at, at], codes_OI[:, at]
        )
        weight_OI[:, rest].addmm_(errors_OC, factor_II[at, rest], alpha=-1)
    return codes_OI


def _round_block(
    weight_OC: Tensor, scale_OC: Tensor, factor_CC: Tensor, codes_OC: Tensor
) -> Tensor:
    """Write the codes of neighbouring columns; what those beyond are to make up for, [O, C]."""
    errors_OC = torch.empty_like(weight_OC)
    weight, scale, codes = weight_OC.numpy(), scale_OC.numpy(), codes_OC.numpy()
    factor, errors = factor_CC.numpy(), errors_OC.numpy()

    def round_rows(rows: slice) -> None:
        round_columns(weight[rows], scale[rows], factor, codes[rows], errors[rows])

    _in_row_blocks(round_rows, len(weight))
    return errors_OC


def _in_row_blocks(work: Callable[[slice], None], n_rows: int) -> None:
    blocks = [slice(o, o + _ROWS_AT_A_TIME) for o in range(0, n_rows, _ROWS_AT_A_TIME)]
    for _ in in_threads(work, blocks, available_cores()):
        pass


def _refit_scales(
    weight_OI: Tensor, codes_OI: Tensor, scale_OG: Tensor, hessian_II: Tensor
) -> Tensor:
    """The scales of least error for these codes; a row keeps its own where that is not better.

    With q_g the codes of a group and zero elsewhere, the error of a row is
    w H w^T - 2 s b^T + s A s^T, where A_gh = q_g H q_h^T and b_g = q_g H w^T.
    """
    n_rows, n_groups = scale_OG.shape
    per_group = (n_rows, n_groups, -1)
    wanted_OG = (codes_OI * (weight_OI @ hessian_II)).view(per_group).sum(-1)
    products_OGG = torch.empty(n_rows, n_groups, n_groups)
    width = weight_OI.shape[1] // n_groups
    for g in range(n_groups):
        at = slice(g * width, (g + 1) * width)
        reached_OI = codes_OI[:, at] @ hessian_II[at]
        products_OGG[:, g] = reached_OI.mul_(codes_OI).view(per_group).sum(-1)
    diagonal_OG = products_OGG.diagonal(dim1=1, dim2=2)
    diagonal_OG += 1e-4 * diagonal_OG.mean(1, keepdim=True) + _LEAST
    found_OG, failed_O = torch.linalg.solve_ex(products_OGG, wanted_OG)
    found_OG = found_OG.to(SCALE_TYPE).float()

    def error_of(tried_OG: Tensor) -> Tensor:
        squared_O = torch.einsum("og,ogh,oh->o", tried_OG, products_OGG, tried_OG)
        return squared_O - 2 * (tried_OG * wanted_OG).sum(1)

    better_O = (found_OG > 0).all(1) & (failed_O == 0) & (error_of(found_OG) < error_of(scale_OG))
    return torch.where(better_O[:, None], found_OG, scale_OG)
