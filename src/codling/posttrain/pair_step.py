"""The loss of pairs of answers: rows 2i and 2i + 1 of a batch belong together.

Input: rows of tokens with targets. Output: as LossStep's, a mean over the pairs.

Not here: what a pair's loss is (dpo.py, reward_model.py).
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from codling.train.loader import Batch
from codling.train.step import LossStep


class PairStep(LossStep, ABC):
    """A LossStep whose rows are pairs, the better answer first."""

    @abstractmethod
    def loss_of_pairs(self, inputs_BL: Tensor, targets_BL: Tensor) -> Tensor:
        """Mean over the pairs."""

    def loss(
        self,
        inputs_BL: Tensor,
        targets_BL: Tensor,
        documents_BL: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Mean over the pairs, times `weight`."""
        assert documents_BL is None, "every answer has a row of its own"
        loss = self.loss_of_pairs(inputs_BL, targets_BL)
        return loss if weight is None else loss * weight

    @torch.no_grad()
    def evaluate(
        self, inputs_BL: Tensor, targets_BL: Tensor, documents_BL: Tensor | None = None
    ) -> float:
        """The same without gradients."""
        with self.disable_compile():
            return float(self.loss(inputs_BL, targets_BL, documents_BL))

    def n_counted(self, batch: Batch) -> int:
        """Pairs."""
        return len(batch[0]) // 2
