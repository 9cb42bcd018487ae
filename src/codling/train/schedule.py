"""The learning rate over a run: a pure function of the step.

Input: a step, the number of steps, a ScheduleConfig. Output: the share of the peak rate.

The published recipes in these terms:

    DeepSeek-Coder  steps: drops at 80% and 90% by sqrt(1/10), 2000 warm-up steps (the paper gives
                    the factor and the floor of 10%; the shares are from DeepSeek LLM,
                    arXiv:2401.02954)
    DeepSeek-V2     steps: drops at 60% and 90% (Lite: 80% and 90%) by 0.316
    Coder-V2        cosine to 10%
    short runs      wsd with decay_from 0: linear to zero

Not here: the peaks themselves (OptimizerConfig).
"""

import math

from codling.train.config import ScheduleConfig

_MAX_WARMUP_SHARE = 0.1


def rate_at(step: int, n_steps: int, config: ScheduleConfig) -> float:
    """The share of the peak learning rate for update `step` (from 0) of `n_steps`.

    >>> steps = ScheduleConfig(name="steps", warmup_steps=0)
    >>> [round(rate_at(s, 10, steps), 3) for s in (0, 7, 8, 9)]
    [1.0, 1.0, 0.316, 0.1]
    """
    warmup = min(config.warmup_steps, int(n_steps * _MAX_WARMUP_SHARE))
    warm = min(1.0, (step + 1) / (warmup + 1))
    done = step / n_steps
    match config.name:
        case "steps":
            return warm * float(config.drop_factor ** sum(done >= d for d in config.drops))
        case "cosine":
            fallen = (1 - math.cos(math.pi * done)) / 2
        case "wsd":
            fallen = max(0.0, done - config.decay_from) / (1 - config.decay_from)
    return warm * (1 - (1 - config.floor) * fallen)
