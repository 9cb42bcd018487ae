"""vLLM for slow tests: it pins its own transformers, so it lives in a Python of its own.

CODLING_VLLM_PYTHON names that Python (docs/scale.md says how it is made); else this one is tried.
"""

import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "2",
}
_PRELUDE = """
import json, sys
sys.path.insert(0, {folder!r})
def send(value):
    open({answer!r}, "w").write(json.dumps(value))
if __name__ == "__main__":
"""


@cache
def vllm_python() -> str:
    """The Python that can import vLLM; without one the test is skipped."""
    python = os.environ.get("CODLING_VLLM_PYTHON", sys.executable)
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"
    if subprocess.run([python, "-c", look], check=False).returncode:
        pytest.skip("needs vLLM: CODLING_VLLM_PYTHON names the Python of an environment with it")
    return python


def run_with_vllm(code: str, folder: Path | None = None) -> Any:
    """What `code` hands to send(), run in vLLM's Python with `folder` to import from."""
    python = vllm_python()
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "answer.json"
        lines = "".join(f"    {line}\n" for line in code.splitlines())
        program = Path(scratch) / "program.py"
        head = _PRELUDE.format(folder=str(folder or scratch), answer=str(answer))
        program.write_text(head + lines, encoding="utf-8")
        done = subprocess.run(
            [python, str(program)], env=os.environ | ENVIRONMENT, capture_output=True, text=True,
            timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(answer.read_text("utf-8"))
