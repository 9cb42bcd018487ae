"""Boxes for the sandbox's tests: real ones, so they skip where bubblewrap is absent."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from codling.sandbox import Box, Job, Limits, Outcome, Step, judge


class Runner:
    """Runs Python sources in one box and says what came of them."""

    def __init__(self, box: Box) -> None:
        self.box = box

    def __call__(self, source: str, **limits: Any) -> Outcome:
        job = Job(steps=(Step(code=source, limits=Limits(**limits)),))
        return judge(job, self.box.run(job))


@pytest.fixture(scope="module")
def run() -> Iterator[Runner]:
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")
    with Box(limits=Limits(memory_bytes=512 << 20, processes=32)) as box:
        yield Runner(box)
