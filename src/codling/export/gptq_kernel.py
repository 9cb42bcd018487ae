"""GPTQ's two loops over a matrix, compiled: the search for scales, and the rounding of columns.

Input: rows of a matrix, which do not depend on each other. Output: scales and codes of these rows,
written into arrays of the caller. One call computes on one thread and lets others run.

Not here: the order of the columns and the inverse of H (gptq.py).

Shapes: O rows, I columns, C neighbouring ones, G groups, K candidates.
"""

# ruff: noqa: ANN001 -- the types inside compiled loops are numba's business
# mypy: disable-error-code="no-untyped-def,untyped-decorator"

import numpy as np
from numba import njit

_F = np.float32
_LOW, _HIGH = _F(-8), _F(7)


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def search_scales(weight_OI, tried_KOG, importance_I, best_OG) -> None:
    """Per group the candidate of least error, each column's weighed by its importance."""
    n_tries, n_rows, n_groups = tried_KOG.shape
    width = weight_OI.shape[1] // n_groups
    for o in range(n_rows):
        for g in range(n_groups):
            least = _F(np.inf)
            for k in range(n_tries):
                scale = tried_KOG[k, o, g]
                inverse = _F(1) / scale
                error = _F(0)
                for i in range(g * width, (g + 1) * width):
                    code = min(max(np.rint(weight_OI[o, i] * inverse), _LOW), _HIGH)
                    miss = code * scale - weight_OI[o, i]
                    error += miss * miss * importance_I[i]
                if error < least:
                    least, best_OG[o, g] = error, scale


@njit(nogil=True, cache=True, error_model="numpy")
def round_columns(weight_OC, scale_OC, factor_CC, codes_OC, errors_OC) -> None:
    """Codes of neighbouring columns, first to last, each one's error taken off those after it.

    `errors_OC` is what the columns beyond these are still to make up for, in units of the factor's
    rows; `weight_OC` is used up.
    """
    n_rows, n_columns = weight_OC.shape
    for o in range(n_rows):
        for i in range(n_columns):
            scale = scale_OC[o, i]
            code = min(max(np.rint(weight_OC[o, i] / scale), _LOW), _HIGH)
            codes_OC[o, i] = code
            error = (weight_OC[o, i] - code * scale) / factor_CC[i, i]
            errors_OC[o, i] = error
            for j in range(i + 1, n_columns):
                weight_OC[o, j] -= error * factor_CC[i, j]
