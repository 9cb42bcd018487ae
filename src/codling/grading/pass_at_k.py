"""pass@k from n samples per problem, and means of marks, with confidence intervals.

Not here: what counts as passed (tasks/ and sandbox/).
"""

import math
from collections.abc import Sequence

import numpy as np

_Z95 = 1.959963984540054
_RESAMPLES = 2000


def pass_at_k(n: int, n_passed: int, k: int) -> float:
    """The unbiased estimate that one of k samples passes, from n of which `n_passed` did.

    1 - C(n - c, k) / C(n, k), arXiv:2107.03374 section 2.1. Needs k <= n.

    >>> pass_at_k(2, 1, 1)
    0.5
    """
    assert 1 <= k <= n
    if n - n_passed < k:
        return 1.0
    return 1.0 - math.prod((n - n_passed - i) / (n - i) for i in range(k))


def mean_with_interval(
    counts: Sequence[tuple[int, int]], k: int, *, seed: int = 0
) -> tuple[float, float, float]:
    """pass@k over problems, given as (samples, passed), with a 95% interval: (mean, low, high).

    With one sample per problem it is Wilson's interval; else problems are resampled 2000 times.
    """
    values = np.array([pass_at_k(n, passed, k) for n, passed in counts])
    mean = float(values.mean())
    if all(n == 1 for n, _ in counts):
        return (mean, *wilson(int(values.sum()), len(values)))
    drawn = np.random.default_rng(seed).integers(len(values), size=(_RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return mean, float(low), float(high)


def mean_score(values: Sequence[float], *, scale: float = 1, seed: int = 0) -> dict[str, float]:
    """The mean of marks with a 95% interval (2000 bootstrap samples), as a report holds it.

    >>> mean_score([7.0, 7.0])
    {'value': 7.0, 'low': 7.0, 'high': 7.0, 'n': 2, 'scale': 1}
    """
    array = np.array(values, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(len(array), size=(_RESAMPLES, len(array)))
    low, high = np.quantile(array[drawn].mean(axis=1), [0.025, 0.975])
    found = {"value": float(array.mean()), "low": float(low), "high": float(high)}
    return {name: round(v, 6) for name, v in found.items()} | {"n": len(array), "scale": scale}


def wilson(n_passed: int, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share.

    >>> tuple(round(x, 3) for x in wilson(8, 10))
    (0.49, 0.943)
    """
    share, z2 = n_passed / n, _Z95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
