"""Published weights for slow tests: the files of CODLING_WEIGHTS_DIR, or of the folder `weights`
beside the checkout."""

import os
from pathlib import Path

import pytest

PROMPTS = [
    "def fibonacci(n):\n",
    "def quicksort(items):\n    ",
    "import numpy as np\n\n",
    "class Stack:\n    def __init__(self):\n",
    "# Read a CSV file and return its rows\n",
    "The capital of France is",
    "#include <stdio.h>\n\nint main(",
    "x = [i * i for i in",
]


def find_weights(pattern: str) -> Path:
    """The first file of this pattern; without one the test is skipped."""
    beside = Path(__file__).resolve().parents[2] / "weights"
    folder = Path(os.environ.get("CODLING_WEIGHTS_DIR", beside))
    found = sorted(folder.glob(pattern))
    if not found:
        pytest.skip(f"needs {pattern} in {folder}; shared/data/README.md says where from")
    return found[0]
