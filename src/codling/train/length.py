"""How many steps a run has, where the time decides.

Input: where a run stands, its settings, the pace. Output: a number of steps.

Not here: the timing of steps (trainer.py), the learning rate over them (schedule.py).
"""

from codling.core.errors import ConfigError
from codling.train.config import LoopConfig
from codling.train.state import Position


def seconds_left(at: Position, config: LoopConfig) -> float:
    """Of the minutes, what neither training nor getting ready for it has used up."""
    return config.minutes * 60 - at.seconds - at.preparing_seconds


def plan_new_length(at: Position, config: LoopConfig) -> int:
    """The steps in all of an unfinished run that goes on with another length; 0: not yet known.

    Raises ConfigError if the run is past it.
    """
    if config.max_steps is not None:
        if config.max_steps < at.step:
            raise ConfigError(
                f"the unfinished run is at step {at.step:,}, beyond --max-steps "
                f"{config.max_steps:,}; give more, or --fresh to start again"
            )
        return config.max_steps
    left = seconds_left(at, config)
    if left <= 0:
        raise ConfigError(
            f"the unfinished run has taken {config.minutes - left / 60:.1f} minutes already; "
            "give more --minutes, or --fresh to start again"
        )
    return at.step + max(1, int(left * at.step / at.seconds)) if at.step else 0


def replan(step: int, n_steps: int, seconds_left: float, seconds_per_step: float) -> int:
    """The number of steps that fits the time, if what is left of `n_steps` misses it by far.

    By a tenth of what is left, or ten steps: near the end the plan comes close to the time. A plan
    grows only in its first half: later the learning rate has come down too far.

    >>> replan(100, 1000, 450.0, 1.0), replan(100, 1000, 950.0, 1.0)
    (550, 1000)
    """
    fitting = max(step + 1, step + int(seconds_left / max(seconds_per_step, 1e-9)))
    missed = fitting - n_steps
    far = 0.1 * min(n_steps, max(100, n_steps - step))
    if missed < -far or (missed > far and step < n_steps / 2):
        return fitting
    return n_steps
