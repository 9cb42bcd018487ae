"""What the training loop, and its saved state, know of an optimiser.

Weights and state are named tensors: one flat array of each kind where a device holds the model
whole (flat_optimizer.py), the shards of this process where several share it.

Not here: any update.
"""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from codling.train.parallel.ranks import Ranks


class Optimizer(Protocol):
    """Turns the gradients of a model's trained parameters into updates of their fp32 copy."""

    def add_gradients(self, *, first: bool) -> None:
        """Add the parameters' gradients to the fp32 sum (or begin the sum) and drop them."""

    def average(self, ranks: Ranks, loss: Tensor) -> Tensor:
        """Average the summed gradient over the ranks in place; returns the average loss."""

    def step(self, rate: float, *, n_summed: int = 1, wanted: Tensor | None = None) -> Tensor:
        """One update at `rate` times the peak learning rates; returns the gradient's norm.

        The gradient is the mean of `n_summed` summed ones; one that is not finite, or not `wanted`
        (a truth value on the device), changes nothing.
        """

    def weights(self) -> dict[str, Tensor]:
        """The fp32 weights by name, each beginning with "master": views, not copies."""

    def state(self) -> dict[str, Tensor]:
        """All but the weights that the next update depends on, by name: views, not copies."""

    def as_parts(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights and state, or copies of them, as the parts that they are of whole tensors."""

    def publish(self) -> None:
        """Let the model compute with the fp32 weights, after they were changed from outside."""

    def forget(self) -> None:
        """Back to the state before the first update."""

    def restore(self) -> None:
        """End of training: the parameters are fp32, with the exact weights."""
