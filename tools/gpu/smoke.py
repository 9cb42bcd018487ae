"""Whether this GPU computes what the CPU computes, and how fast it is at its best.

    python tools/gpu/smoke.py --seconds 90

First the machine's own speeds: a large bf16 product, a copy within its memory. Then the tests
marked `gpu` of tests/train/gpu/test_device_numbers.py: every architecture's loss, gradients, steps
of training and decoding against the CPU's. Prints a line of JSON per figure and per test, stops by
its own clock. `--device cpu` rehearses it. Exit code 1 if a test failed or the time did not do.

Not here: the speed of training (train_base.py).
"""

import argparse
import json
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests" / "train" / "gpu" / "test_device_numbers.py"


def main() -> int:
    """Speeds, then tests."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("-k", default="", help="only tests with this in their name")
    options = parser.parse_args()
    started = time.monotonic()
    tell(about(options.device))
    tell(speeds(options.device))
    lines = Lines(started + options.seconds)
    marked = "gpu" if options.device == "cuda" else "not gpu and not slow"
    command = ["-m", marked, "-p", "no:cacheprovider", "-p", "no:terminal"]
    command += ["-k", options.k, "-o", "filterwarnings=default", str(TESTS)]
    code = pytest.main(command, plugins=[lines])
    tell({**lines.outcomes, "seconds": round(time.monotonic() - started, 1)})
    return int(code)


def tell(figures: dict[str, object]) -> None:
    """A line of JSON."""
    print(json.dumps(figures), flush=True)


def about(device: str) -> dict[str, object]:
    """Device and versions."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor()
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda, "python": sys.version[:7]}
    return {"device": name, **versions}


def speeds(device: str) -> dict[str, object]:
    """The machine's bf16 product in TFLOP/s, and its copy in GB/s (read and written)."""
    n = 8192 if device == "cuda" else 512
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    source = torch.randn(n, n * 8, device=device)
    target = torch.empty_like(source)
    product = seconds_of(lambda: a @ b, device)
    copy = seconds_of(lambda: target.copy_(source), device)
    n_bytes = 2 * source.numel() * source.element_size()
    return {
        "matmul_tflops": round(2 * n**3 / product / 1e12, 2),
        "copy_gb_per_second": round(n_bytes / copy / 1e9, 1),
    }


def seconds_of(work: Callable[[], object], device: str, n: int = 20) -> float:
    """Mean seconds of one call, after a few for warming up."""
    for _ in range(3):
        work()
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(n):
        work()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / n


class Lines:
    """A pytest plugin: a line of JSON per test, and an end when the time is over."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.outcomes: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called for each phase of a test."""
        if report.when != "call" and report.outcome == "passed":
            return
        self.outcomes[report.outcome] += 1
        row: dict[str, object] = {
            "test": report.nodeid.split("::")[-1],
            "outcome": report.outcome,
            "seconds": round(report.duration, 2),
        }
        if report.failed:
            row["why"] = str(report.longrepr).strip()[-600:]
        print(json.dumps(row), flush=True)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Called before each test."""
        if time.monotonic() > self.until:
            item.session.shouldfail = "the time is over"


if __name__ == "__main__":
    raise SystemExit(main())
