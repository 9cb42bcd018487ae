"""What the server's process holds before a model is opened."""

import subprocess
import sys

_NOT_NEEDED = (
    "httpx",
    "matplotlib",
    "openai",
    "pandas",
    "pyarrow",
    "sklearn",
    "sympy",
    "torch._dynamo",
    "torch._inductor",
    "transformers",
    "xgrammar",
)
_LOADED = """
import sys
import codling.cli, codling.serve.app
from codling.engine import text, warm
print(*sys.modules)
"""


def test_a_server_loads_no_library_that_it_does_not_compute_or_answer_with() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _LOADED], capture_output=True, text=True, check=True
    )
    loaded = set(run.stdout.split())
    assert {"torch", "numba", "fastapi", "tokenizers"} <= loaded
    assert loaded.isdisjoint(_NOT_NEEDED)
