"""Loss spikes: what counts as one, and when the run goes back to its last state.

Input: the losses of a run's last steps. Output: the loss above which a batch is skipped, and
whether so many were skipped lately that the weights themselves are at fault.

Both depend on earlier losses alone, which are saved with the state: a resumed run decides as the
run would have.

Not here: the skipping and the going back (trainer.py).
"""

import math
import statistics

from codling.core.errors import ConfigError
from codling.train.config import SpikeConfig
from codling.train.state import Position

N_KEPT = 64
"""Losses that a limit is taken from; before there are so many, nothing is a spike."""
_LEAST_JUMP = 1.0
"""Nats above the mean at least: a run of small batches has rough losses."""
_MAX_ROLLBACKS = 3


def limit_of(at: Position, config: SpikeConfig) -> float:
    """The loss above which the batch of the next step is skipped.

    The last step does not count: a GPU may not have told its loss yet.

    >>> losses = [2.0, 2.2] * 32 + [9.0]
    >>> limit_of(Position(step=65, recent_losses=losses, last_noted=64), SpikeConfig())
    3.1
    """
    is_last = at.last_noted == at.step - 1
    known = (at.recent_losses[:-1] if is_last else at.recent_losses)[-N_KEPT:]
    if not config.deviations or len(known) < N_KEPT:
        return math.inf
    deviation = statistics.pstdev(known)
    return round(statistics.fmean(known) + max(_LEAST_JUMP, config.deviations * deviation), 6)


def note_loss(at: Position, step: int, loss: float) -> None:
    """The loss of a step that was no spike."""
    at.recent_losses = [*at.recent_losses, loss][-N_KEPT - 1 :]
    at.last_noted = step


def note_spike(at: Position, step: int) -> None:
    """The batch of `step` was skipped."""
    at.n_spikes += 1
    at.recent_spikes = [s for s in at.recent_spikes if s > step - N_KEPT] + [step]


def wants_rollback(at: Position, config: SpikeConfig) -> bool:
    """Whether so many batches were skipped among the last ones that the weights are at fault."""
    return bool(config.rollback_after) and len(at.recent_spikes) >= config.rollback_after


def go_back(now: Position, saved: Position) -> Position:
    """The position of a run that goes back to a saved state, and on with batches not seen yet.

    Raises ConfigError after three times.
    """
    if now.n_rollbacks >= _MAX_ROLLBACKS:
        raise ConfigError(
            f"the loss has run away {now.n_rollbacks + 1} times, most lately at step {now.step:,}; "
            "lower the learning rates of the optimizer"
        )
    saved.batch_offset = now.batch_offset + now.step - saved.step
    saved.n_spikes, saved.n_rollbacks = now.n_spikes, now.n_rollbacks + 1
    saved.n_skipped = now.n_skipped
    saved.n_steps, saved.seconds = now.n_steps, now.seconds
    saved.recent_spikes = []
    return saved
