"""Blocks of weights by codling's kernels beside ggml's `ggml_quantize_chunk`, both on one thread.

Turn by turn on the same normal numbers: milliseconds of both (medians), how many times as fast ours
are, and which share of the bytes is equal. A ggml that was built to fuse multiplications rounds a
few numbers differently.

    python benchmarks/blocks.py [--types q4_0 q4_k] [--rows 2048] [--repeats 9]

Needs llama-cpp-python. Not here: what a type loses (export.py).
"""

import argparse
import statistics
import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType
from measuring import cpu_name, now, report

from codling.export.block_types import quantize_rows

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests/export"))
from ggml import quantize_with_ggml

TYPES = ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k", "q5_k", "q6_k")


def main() -> None:
    """Read the command line, measure, print a line of JSON for each type."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--types", nargs="+", default=TYPES, choices=TYPES)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--columns", type=int, default=4096, help="whole blocks of 256")
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    report(cpu=cpu_name(), numbers=args.rows * args.columns)
    rows = np.random.default_rng(0).standard_normal((args.rows, args.columns), dtype=np.float32)
    for name in args.types:
        report(type=name, **compare(rows, GGMLQuantizationType[name.upper()], args.repeats))


def compare(rows: np.ndarray, kind: GGMLQuantizationType, repeats: int) -> dict[str, float]:
    """Medians of both in milliseconds, their ratio, and the share of equal bytes."""
    equal = float((quantize_rows(rows, kind) == quantize_with_ggml(rows, kind)).mean())
    ours, theirs = [], []
    for _ in range(repeats):
        begun = now()[0]
        quantize_rows(rows, kind)
        between = now()[0]
        quantize_with_ggml(rows, kind)
        ours.append(1000 * (between - begun))
        theirs.append(1000 * (now()[0] - between))
    ours_ms, theirs_ms = statistics.median(ours), statistics.median(theirs)
    return {
        "ours_ms": round(ours_ms, 1),
        "ggml_ms": round(theirs_ms, 1),
        "times": round(theirs_ms / ours_ms, 2),
        "equal": round(equal, 4),
    }


if __name__ == "__main__":
    main()
