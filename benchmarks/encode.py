"""Encoding a corpus: our bulk encoder beside the `tokenizers` library, then the whole of pack.

Both sides encode the interpreter's standard library with a tokenizer learned from it, in turns in
one process; the ids are compared. Figures are megabytes per second of wall time and of processor
time (both cores' together); "first" meets every word for the first time, with the kernels compiled
before.

    python benchmarks/encode.py --turns 3

Prints one JSON line per figure.
"""

import argparse
import json
import platform
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from codling import __version__
from codling.core.artifact import Artifact, Draft, produce
from codling.core.shards import Shard
from codling.corpus.tables.schemas import SAMPLE_SCHEMA
from codling.tokens.bpe import TokenizerConfig, learn_tokenizer
from codling.tokens.bulk import BulkEncoder
from codling.tokens.pack import PackConfig, pack
from codling.tokens.tokenizer import Tokenizer

T = TypeVar("T")


def main() -> None:
    """Read the command line, learn a tokenizer, and let the sides take turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    turns = parser.parse_args().turns
    texts = standard_library()
    n_bytes = sum(len(t.encode()) for t in texts)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples = as_samples(texts, folder / "samples")
        config = TokenizerConfig(
            samples_dir=samples.path, out_dir=folder / "tokenizer", vocab_size=8192
        )
        tokenizer_dir = timed("learn_tokenizer", n_bytes, lambda: learn_tokenizer(config)).path
        tokenizer = Tokenizer.open(tokenizer_dir)
        BulkEncoder(tokenizer).encode(["x = 1\n" * 200_000])
        for _ in range(turns):
            ours = BulkEncoder(tokenizer)
            ids, lengths = timed("encode, ours, first", n_bytes, lambda o=ours: o.encode(texts))
            timed("encode, ours, again", n_bytes, lambda o=ours: o.encode(texts))
            theirs = timed("encode, tokenizers", n_bytes, lambda: tokenizer.encode_batch(texts))
            assert np.array_equal(ids, np.concatenate([np.array(t, np.uint32) for t in theirs]))
            assert lengths.tolist() == [len(t) for t in theirs]
        for turn in range(turns):
            for context in (512, 4096):
                config_of_pack = PackConfig(
                    samples_dir=samples.path,
                    tokenizer_dir=tokenizer_dir,
                    out_dir=folder / f"tokens-{context}-{turn}",
                    context=context,
                )
                label = f"pack, {config_of_pack.fim_unit} level"
                timed(label, n_bytes, lambda c=config_of_pack: pack(c))


def timed(label: str, n_bytes: int, work: Callable[[], T]) -> T:
    """Run `work` and print its figures."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    row = {
        "what": label,
        "megabytes": round(n_bytes / 1e6, 1),
        "seconds": round(wall, 2),
        "processor_seconds": round(processor, 2),
        "mb_per_second": round(n_bytes / 1e6 / wall, 2),
        "mb_per_processor_second": round(n_bytes / 1e6 / processor, 2),
        "version": __version__,
        "machine": f"{platform.machine()} {platform.python_version()}",
    }
    print(json.dumps(row), flush=True)
    return result


def standard_library() -> list[str]:
    """The Python files of the running interpreter's standard library, in path order."""
    root = Path(sysconfig.get_paths()["stdlib"])
    texts = []
    for path in sorted(root.rglob("*.py")):
        if "site-packages" not in path.parts:
            try:
                texts.append(path.read_text("utf-8"))
            except UnicodeDecodeError:
                continue
    return texts


def as_samples(texts: list[str], folder: Path) -> Artifact:
    """One sample per file; every twentieth is held out."""

    def work(draft: Draft) -> None:
        rows = [
            {
                "id": str(i),
                "source": "stdlib",
                "repo": "stdlib",
                "split": "train" if i % 20 else "heldout",
                "paths": [],
                "languages": [],
                "licenses": [],
                "sha256s": [],
                "starts": [],
                "content": text,
            }
            for i, text in enumerate(texts)
        ]
        Shard(draft.path, 0).write_rows("samples", rows, SAMPLE_SCHEMA)

    return produce(folder, kind="samples", version=1, config={}, inputs=[], work=work)


if __name__ == "__main__":
    main()
