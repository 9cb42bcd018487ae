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

    With one sample per problem it is Wilson's interval; else problems are resampled 2000 times. One
    problem, or several that are all alike, tell nothing of how problems differ: Wilson's too, since
    no shares of this mean are spread wider than verdicts.
    """
    values = np.array([pass_at_k(n, passed, k) for n, passed in counts])
    mean = float(values.mean())
    if all(n == 1 for n, _ in counts) or np.ptp(values) == 0:
        return (mean, *wilson(float(values.sum()), len(values)))
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


def share_score(n_passed: int, n: int) -> dict[str, float]:
    """A share in percent with Wilson's interval, as a report holds it; nothing passed of none.

    >>> share_score(8, 10)
    {'value': 0.8, 'low': 0.490162, 'high': 0.943318, 'n': 10, 'scale': 100}
    """
    low, high = wilson(n_passed, n) if n else (0.0, 1.0)
    found = {"value": n_passed / max(n, 1), "low": low, "high": high}
    return {name: round(v, 6) for name, v in found.items()} | {"n": n, "scale": 100}


def wilson(n_passed: float, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share; `n_passed` may be a sum of shares.

    >>> tuple(round(x, 3) for x in wilson(8, 10))
    (0.49, 0.943)
    """
    share, z2 = n_passed / n, _Z95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
