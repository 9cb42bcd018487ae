"""What each exported format loses: bytes of the weights, and bits per byte of held-out code.

Exports MODEL in every format named, loads each export with codling's own loader, computes in fp32,
and scores the first bytes of the code under a folder, in windows of 512 tokens.

    python benchmarks/export.py MODEL [--formats gguf:q8_0 gguf:q4_k_m] [--code src/codling/engine]

Not here: speed, and what llama.cpp says (tests/export/test_llama_cpp.py).
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import now, report, since

from codling.checkpoint.load import load_model
from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.evaluate.heldout.score import bits_per_byte, held_out_windows
from codling.export.export import ExportConfig, export

FORMATS = [
    f"gguf:{name}"
    for name in (
        "f32", "bf16", "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q4_k_m", "q4_k_s",
        "q5_1", "q5_0", "q4_1", "q4_0",
    )
]  # fmt: skip
WINDOW = 512


def main() -> None:
    """Read the command line, export, score, print a line of JSON for each format."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--formats", nargs="+", default=FORMATS, help="FORMAT[:TYPE][+code]")
    parser.add_argument("--code", type=Path, default=Path("src/codling/engine"))
    parser.add_argument("--bytes", type=int, default=60_000)
    parser.add_argument("--calibrate", type=Path, default=Path("src/codling/corpus"))
    parser.add_argument("--windows", type=int, default=128, help="of 512 tokens, to calibrate on")
    args = parser.parse_args()
    windows, lengths = cut_windows(args.model, args.code, args.bytes)
    for name in args.formats:
        with tempfile.TemporaryDirectory() as folder:
            begun = now()
            made = export(export_config(args, name, Path(folder) / "out"))
            seconds = since(begun, now())
            weights = [*made.files("*.gguf"), *made.files("*.safetensors")]
            path = weights[0] if name.startswith("gguf") else made.path
            model = load_model(path, dtype=torch.float32)
            report(
                format=name,
                n_bytes=sum(file.stat().st_size for file in weights),
                bits_per_byte=bits_per_byte(model, windows, lengths, 2),
                seconds=seconds,
            )


def export_config(args: argparse.Namespace, name: str, out_dir: Path) -> ExportConfig:
    """The settings of "FORMAT", "FORMAT:TYPE", and either with "+code" where it is calibrated."""
    name, _, calibrated = name.partition("+")
    kind, _, stored = name.partition(":")
    settings: dict[str, Any] = {"format": kind, "type": stored or None}
    if calibrated:
        settings |= {"calibrate": args.calibrate, "calibration_windows": args.windows}
    return ExportConfig(model=args.model, out_dir=out_dir, **settings)


def cut_windows(model: Path, code: Path, n_bytes: int) -> tuple[list[np.ndarray], np.ndarray]:
    """The tokens of the first `n_bytes` of the Python files under `code`, and bytes of tokens."""
    tokenizer = open_tokenizer(model)
    text = "\n".join(p.read_text("utf-8") for p in sorted(code.rglob("*.py")))[:n_bytes]
    ids = np.array(tokenizer.encode(text))
    lengths = [len(tokenizer.token_bytes(i)) for i in range(tokenizer.vocab_size)]
    return held_out_windows(ids, WINDOW, len(ids)), np.array(lengths)


if __name__ == "__main__":
    main()
