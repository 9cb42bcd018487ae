"""Writes golden_blocks.json: what ggml makes of `golden_rows`. Run once, with llama-cpp-python.

PYTHONPATH=tests python tests/export/make_golden_blocks.py
"""

import json
from pathlib import Path

from export.ggml import quantize_with_ggml
from export.golden import GOLDEN, KINDS, PAIR_KINDS, golden_importance, golden_rows

if __name__ == "__main__":
    found = {
        kind.name: {
            "plain": quantize_with_ggml(golden_rows(), kind).tobytes().hex(),
            "importance": quantize_with_ggml(golden_rows(), kind, golden_importance())
            .tobytes()
            .hex(),
        }
        for kind in [*KINDS, *PAIR_KINDS]
    }
    Path(GOLDEN).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
