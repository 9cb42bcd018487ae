"""UNTRUSTED CODE -> VERDICT: generated and benchmark code runs here and nowhere else. No torch.

Not here: answers that are judged without running them (grading/), and the benchmarks (evaluate/).
"""

from codling.sandbox.box import Box, Job, Reply, Step, StepReply, describe
from codling.sandbox.limits import Limits
from codling.sandbox.outcome import Outcome, judge
from codling.sandbox.pool import Pool, check_python
from codling.sandbox.untrusted import run_untrusted

__all__ = [
    "Box",
    "Job",
    "Limits",
    "Outcome",
    "Pool",
    "Reply",
    "Step",
    "StepReply",
    "check_python",
    "describe",
    "judge",
    "run_untrusted",
]
