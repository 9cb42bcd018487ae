"""The compiled loop that trains the linear classifier of linear.py: stochastic gradient descent.

Input: the features of all texts, one after the other, with labels, class weights and the order of
the steps. Output: the weights (in place) and the bias. Features count 1/sqrt(n), so that a text's
features have length 1; the step falls linearly to 0. The same input gives the same weights.

Not here: features and scores (linear.py). Importing this module loads the compiler.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True)
def descend(  # noqa: PLR0913  what is learned, from what, and how
    places: NDArray[np.int64],
    starts: NDArray[np.int64],
    labels: NDArray[np.float64],
    shares: NDArray[np.float64],
    order: NDArray[np.int64],
    weights: NDArray[np.float64],
    lr: float,
    l2: float,
) -> float:
    """Take one step per entry of `order`; `shares` weigh the texts. Returns the bias."""
    bias = 0.0
    for step in range(len(order)):
        text = order[step]
        begin, end = starts[text], starts[text + 1]
        if begin == end:
            continue
        value = 1.0 / math.sqrt(end - begin)
        z = 0.0
        for i in range(begin, end):
            z += weights[places[i]]
        z = min(40.0, max(-40.0, z * value + bias))
        gradient = (1.0 / (1.0 + math.exp(-z)) - labels[text]) * shares[text]
        rate = lr * (1.0 - step / len(order))
        for i in range(begin, end):
            weights[places[i]] -= rate * (gradient * value + l2 * weights[places[i]])
        bias -= rate * gradient * 0.1
    return bias
