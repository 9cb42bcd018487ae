"""What each exported format loses: bytes of the weights, bits per byte of held-out code, perplexity
per token, and single lines inserted exactly.

Exports MODEL in every format named, loads each export with codling's own loader, and scores the
first bytes of the code under a folder in windows of 512 tokens, computed in fp32. With --lines it
also hides so many lines of that code and lets codling's engine insert them as it would for a user:
whole matrices of 4 to 8 bits as they are stored. With --llama llama.cpp says its own perplexity of
each .gguf file (needs llama-cpp-python).

    python benchmarks/export.py MODEL [--formats gguf:q8_0 w4a16+code] [--code src/codling/engine]

"+code" after a format calibrates it on the code of --calibrate.

Not here: the speed of what is exported (decode.py, packed.py).
"""

import argparse
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from measuring import now, report, since

from codling.checkpoint.load import load_model
from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from codling.evaluate.heldout.insertion import HiddenLine, questions, score_answers
from codling.evaluate.heldout.score import batches, held_out_windows, window_bits
from codling.export.export import ExportConfig, export
from codling.export.mixture import GgufType

FORMATS = [*(f"gguf:{name}" for name in get_args(GgufType)), "w4a16", "w4a16+code", "w8a8", "fp8"]
WINDOW = 512
Windows = list[np.ndarray]


def main() -> None:
    """Read the command line, export, score, print a line of JSON for each format."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--formats", nargs="+", default=FORMATS, help="FORMAT[:TYPE][+code]")
    parser.add_argument("--code", type=Path, default=Path("src/codling/engine"))
    parser.add_argument("--bytes", type=int, default=60_000)
    parser.add_argument("--calibrate", type=Path, default=Path("src/codling/corpus"))
    parser.add_argument("--windows", type=int, default=128, help="of the code to calibrate on")
    parser.add_argument("--length", type=int, default=1024, help="tokens of such a window")
    parser.add_argument("--lines", type=int, default=0, help="hidden lines that are asked for")
    parser.add_argument("--chars", type=int, default=400, help="of a prompt, on both sides")
    parser.add_argument("--llama", action="store_true", help="llama.cpp's perplexity as well")
    args = parser.parse_args()
    windows, lengths = cut_windows(args.model, args.code, args.bytes)
    lines = choose_lines(args.code, args.lines)
    for name in args.formats:
        with tempfile.TemporaryDirectory() as folder:
            begun = now()
            made = export(export_config(args, name, Path(folder) / "out"))
            seconds = since(begun, now())
            weights = [*made.files("*.gguf"), *made.files("*.safetensors")]
            path = weights[0] if name.startswith("gguf") else made.path
            report(
                format=name,
                n_bytes=sum(file.stat().st_size for file in weights),
                **score_windows(path, windows, lengths),
                **insert_lines(path, lines, args.chars),
                **(ask_llama_cpp(path, windows) if args.llama and name[:4] == "gguf" else {}),
                export_seconds=seconds,
            )


def export_config(args: argparse.Namespace, name: str, out_dir: Path) -> ExportConfig:
    """The settings of "FORMAT", "FORMAT:TYPE", and either with "+code" where it is calibrated."""
    name, _, calibrated = name.partition("+")
    kind, _, stored = name.partition(":")
    settings: dict[str, Any] = {"format": kind, "type": stored or None}
    if calibrated:
        settings |= {"calibrate": args.calibrate, "calibration_windows": args.windows}
        settings |= {"calibration_length": args.length}
    return ExportConfig(model=args.model, out_dir=out_dir, **settings)


def cut_windows(model: Path, code: Path, n_bytes: int) -> tuple[Windows, np.ndarray]:
    """The tokens of the first `n_bytes` of the Python files under `code`, and bytes of tokens."""
    tokenizer = open_tokenizer(model)
    text = "\n".join(p.read_text("utf-8") for p in sorted(code.rglob("*.py")))[:n_bytes]
    ids = np.array(tokenizer.encode(text))
    lengths = [len(tokenizer.token_bytes(i)) for i in range(tokenizer.vocab_size)]
    return held_out_windows(ids, WINDOW, len(ids)), np.array(lengths)


def choose_lines(code: Path, count: int) -> list[HiddenLine]:
    """Lines of 5 to 50 characters of the Python files under `code`, drawn by chance."""
    samples: Iterator[dict[str, Any]] = (
        {
            "repo": code.name,
            "paths": [str(path)],
            "languages": ["python"],
            "starts": [0],
            "content": path.read_text("utf-8"),
        }
        for path in sorted(code.rglob("*.py"))
    )
    return questions(samples, count, 5, 50, seed=0) if count else []


def score_windows(path: Path, windows: Windows, lengths: np.ndarray) -> dict[str, float]:
    """Bits per byte, and perplexity per token."""
    model = load_model(path, dtype=torch.float32)
    bits = sum(window_bits(model, windows, 2))
    n_tokens = sum(len(window) - 1 for window in windows)
    n_bytes = sum(float(lengths[window[1:]].sum()) for window in windows)
    return {"bits_per_byte": bits / n_bytes, "perplexity": 2 ** (bits / n_tokens)}


def insert_lines(path: Path, asked: list[HiddenLine], n_chars: int) -> dict[str, float]:
    """How many lines the engine inserts exactly, from `n_chars` of code before and after each.

    A model that was not trained to insert sees what stands before alone.
    """
    if not asked:
        return {}
    answers: list[str] = []
    params = SamplingParams(max_tokens=24, stop=("\n",))
    with TextEngine.open(path, max_streams=10, max_length=1024) as engine:
        for group in batches(asked, 10):
            places = [(line.prefix[-n_chars:], line.suffix[:n_chars]) for line in group]
            if engine.can_insert:
                done = engine.insert(places, params)
            else:
                done = engine.complete([prefix for prefix, _ in places], params)
            answers += [each.text.rstrip() for each in done]
    score = score_answers(asked, answers)
    return {"exact": score.n_lines_saved, "edit_similarity": score.edit_similarity}


def ask_llama_cpp(path: Path, windows: Windows) -> dict[str, float]:
    """llama.cpp's perplexity of the same tokens."""
    from llama_cpp import Llama

    model = Llama(str(path), n_ctx=WINDOW, n_batch=WINDOW, logits_all=True, verbose=False)
    nats = n_tokens = 0.0
    for window in windows:
        model.reset()
        model.eval(window[:-1].tolist())
        scores = torch.from_numpy(np.array(model.scores[: len(window) - 1]))
        targets = torch.from_numpy(window[1:].astype(np.int64))
        nats += float(torch.nn.functional.cross_entropy(scores, targets, reduction="sum"))
        n_tokens += len(targets)
    return {"llama_cpp_perplexity": math.exp(nats / n_tokens)}


if __name__ == "__main__":
    main()
