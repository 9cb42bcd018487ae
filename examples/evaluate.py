"""A checkpoint answers a benchmark, and the report is read back.

python examples/evaluate.py humaneval runs/mine/checkpoint benchmark-data runs/mine/humaneval
"""

import json
import sys
from pathlib import Path
from typing import Any

from codling.core.artifact import Artifact
from codling.evaluate.benchmark import evaluate
from codling.evaluate.config import BenchmarkConfig


def report_of(config: BenchmarkConfig) -> dict[str, Any]:
    """The scores; what was generated and run is kept and neither asked nor run again."""
    artifact = evaluate(config)
    assert isinstance(artifact, Artifact)
    report: dict[str, Any] = json.loads((artifact.path / "report.json").read_text())
    return report


if __name__ == "__main__":
    benchmark, model, data_dir, out_dir = sys.argv[1:]
    report = report_of(
        BenchmarkConfig(
            benchmark=benchmark,
            model=Path(model),
            data_dir=Path(data_dir),
            out_dir=Path(out_dir),
            limit=20,
        )
    )
    for name in ("scores", "outcomes"):
        print(f"{name}: {report[name]}")
