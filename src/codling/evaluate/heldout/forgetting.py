"""What tuning cost elsewhere: bits per byte on code that has nothing to do with the repository.

Input: an engine, and a folder of other code; by default a fixed list of modules of this Python's
standard library. Output: bits per byte, to be compared between base and tuned model.

Not here: the commits' questions (score_commits.py).
"""

import math
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

from codling.core.shards import read_rows
from codling.corpus.collect import collect
from codling.corpus.config import CollectConfig
from codling.engine.text import TextEngine

MUCH = 0.02
"""From so much more bits per byte on other code on, it is said and what can be done."""
FIXED = (
    "argparse.py",
    "ast.py",
    "configparser.py",
    "difflib.py",
    "fractions.py",
    "heapq.py",
    "json/decoder.py",
    "pathlib.py",
    "shlex.py",
    "statistics.py",
    "textwrap.py",
    "zipfile.py",
)
"""Modules of the standard library, from whose beginnings forgetting is measured by default."""


def foreign_bits(engine: TextEngine, texts: Iterator[str], n_tokens: int) -> float:
    """Bits per byte on the beginnings of the texts, in windows of the engine's length."""
    nats, n_bytes, left = 0.0, 0, n_tokens
    for text in texts:
        ids = engine.tokenizer.encode(text)[: min(left, engine.max_length)]
        if left < 2 or len(ids) < 2:
            continue
        for entry in engine.score(ids)[1:]:
            assert entry is not None
            nats -= entry.logprob
            n_bytes += len(entry.bytes)
        left -= len(ids)
    return nats / math.log(2) / max(1, n_bytes)


def read_foreign_texts(folder: Path | None, beside: Path) -> Iterator[str]:
    """The files of a folder or repository, collected into `beside`; or the fixed ones."""
    if folder is None:
        standard = Path(sysconfig.get_path("stdlib"))
        present = (standard / name for name in FIXED)
        yield from (p.read_text(encoding="utf-8") for p in present if p.is_file())
        return
    raw = collect(
        CollectConfig(sources=(folder,), out_dir=beside / "raw", own=True, heldout_fraction=0.0)
    )
    yield from (row["content"] for row in read_rows(raw, "documents", ["content"]))


def forgetting_text(bits: Mapping[str, float]) -> str:
    """One sentence on what tuning changed elsewhere, with a cure if it is much.

    >>> forgetting_text({"base": 1.0, "tuned": 1.004})
    'On other code the tuned model needs +0.4% bits per byte.'
    """
    change = bits["tuned"] / bits["base"] - 1
    text = f"On other code the tuned model needs {100 * change:+.1f}% bits per byte"
    if change <= MUCH:
        return text + "."
    return (
        f"{text}: it forgets (more than {100 * MUCH:.0f}%); mix other code in with --replay PATH, "
        "or take a lower rate or fewer minutes."
    )
