"""What tests skip for, so that a machine that must have everything can turn skips into failures.

`CODLING_REQUIRE=all` makes each skip a failure, `CODLING_REQUIRE=g++,bubblewrap` only those whose
reason names one of these words. What no machine of every kind can have (a GPU, files that lie
beside a checkout, another operating system, a user who is not root) still skips.

Not here: the reasons, which each test gives.
"""

import os
import re
from typing import Any

import pytest

NOT_ASKED = re.compile(
    r"data folder|shared|weights|GPU|CUDA|only root|ordinary user|/proc|control group|"
    r"small file system|tmpfs|this machine has no|extra `?finetune",
    re.IGNORECASE,
)
"""Reasons that installing programs does not cure."""


def is_required(reason: str, required: str) -> bool:
    """Whether a test that skips for this reason should fail, by the variable's value."""
    words = [word.strip().lower() for word in required.split(",") if word.strip()]
    if "all" in words:
        return not NOT_ASKED.search(reason)
    return any(word in reason.lower() for word in words)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """A test that skips for something that must be here fails with the same reason."""
    del item, call
    return _failed_if_required((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector):
    """So does a whole module, which skips before its tests are known (`importorskip`)."""
    del collector
    return _failed_if_required((yield))


def _failed_if_required(report: Any) -> Any:
    required = os.environ.get("CODLING_REQUIRE", "")
    if report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if is_required(reason, required):
            report.outcome = "failed"
            report.longrepr = f"CODLING_REQUIRE={required}: {reason}"
    return report
