"""The learning rate and the batch size over a run: pure functions of the step.

Input: a step, the number of steps, a ScheduleConfig. Output: the share of the peak rate; which
micro-batches an update has.

The published recipes in these terms:

    DeepSeek-Coder  steps: drops at 80% and 90% by sqrt(1/10), 2000 warm-up steps (the paper gives
                    the factor and the floor of 10%; the shares are from DeepSeek LLM,
                    arXiv:2401.02954)
    DeepSeek-V2     steps: drops at 60% and 90% (Lite: 80% and 90%) by 0.316
    Coder-V2        cosine to 10%
    short runs      wsd with decay_from 0: linear to zero

Runs of other programs are repeated with `form`: transformers' get_scheduler (a linear or cosine
fall after the warm-up, whose first update has rate 0), and DeepSpeed's WarmupLR as version 0.19.8
was measured.

Not here: the peaks themselves (OptimizerConfig).
"""

import math
from functools import cache
from itertools import accumulate

from codling.train.config import LoopConfig, ScheduleConfig

_MAX_WARMUP_SHARE = 0.1


def rate_at(step: int, n_steps: int, config: ScheduleConfig) -> float:
    """The share of the peak learning rate for update `step` (from 0) of `n_steps`.

    >>> steps = ScheduleConfig(name="steps", warmup_steps=0)
    >>> [round(rate_at(s, 10, steps), 3) for s in (0, 7, 8, 9)]
    [1.0, 1.0, 0.316, 0.1]
    """
    match config.form:
        case "deepspeed":
            return _warmup_lr(step, config.warmup_steps)
        case "transformers":
            warmup = config.warmup_steps or math.ceil(n_steps * config.warmup_share)
            warm = min(1.0, step / max(1, warmup)) if warmup else 1.0
            done = max(0, step - warmup) / max(1, n_steps - warmup)
        case "own":
            warmup = min(config.warmup_steps, int(n_steps * _MAX_WARMUP_SHARE))
            warm = min(1.0, (step + 1) / (warmup + 1))
            done = step / n_steps
    return warm * _share_after(done, config)


def micro_batches(step: int, config: LoopConfig) -> range:
    """The numbers of the micro-batches of update `step`: as many as the batch has grown to.

    >>> config = LoopConfig(accumulate=3, accumulate_from=1, ramp_steps=4)
    >>> [list(micro_batches(step, config)) for step in (0, 1, 2, 4)]
    [[0], [1], [2, 3], [6, 7, 8]]
    """
    first, full, ramp = config.accumulate_from, config.accumulate, config.ramp_steps
    before = _counts_before(first, full, ramp)
    if step >= ramp:
        start = before[-1] + (step - ramp) * full
        return range(start, start + full)
    return range(before[step], before[step + 1])


@cache
def _counts_before(first: int, full: int, ramp: int) -> tuple[int, ...]:
    """Micro-batches before each update of the ramp, and in the whole of it."""
    grown = (first + (full - first) * step // ramp for step in range(ramp))
    return tuple(accumulate(grown, initial=0))


def _share_after(done: float, config: ScheduleConfig) -> float:
    """The share of the peak when `done` of the run is behind, without warm-up."""
    match config.name:
        case "steps":
            return float(config.drop_factor ** sum(done >= d for d in config.drops))
        case "cosine":
            fallen = (1 - math.cos(math.pi * done)) / 2
        case "wsd":
            fallen = max(0.0, done - config.decay_from) / (1 - config.decay_from)
    return 1 - (1 - config.floor) * fallen


def _warmup_lr(step: int, warmup: int) -> float:
    """WarmupLR: ln(step) / ln(warmup), so that the first two updates do nothing; then 1."""
    if step == 0:
        return 0.0
    return min(1.0, math.log(step) / math.log(max(2, warmup)))
