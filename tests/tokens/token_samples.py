"""Samples for the tests of tokens: rows, and an artefact made of them."""

from pathlib import Path
from typing import Any

from codling.core.artifact import Artifact, Draft, produce
from codling.core.shards import Shard
from codling.corpus.tables.schemas import SAMPLE_SCHEMA

LINES = (
    "def add(a, b):\n    return a + b\n\n\n"
    "class Stack:\n    def push(self, item):\n        self.items.append(item)  # café 你好\n"
    "for i in range(1234):\n\tprint(i, 'x' * i)\r\n"
)


def sample_row(name: str, content: str, split: str = "train") -> dict[str, Any]:
    return {
        "id": name,
        "source": "test",
        "repo": "test",
        "split": split,
        "paths": [f"{name}.py"],
        "languages": ["python"],
        "licenses": ["MIT"],
        "sha256s": ["0" * 64],
        "starts": [0],
        "content": content,
    }


def make_samples(folder: Path, rows: list[list[dict[str, Any]]]) -> Artifact:
    """An artefact of kind "samples" with one shard per list."""

    def work(draft: Draft) -> None:
        for index, shard_rows in enumerate(rows):
            Shard(draft.path, index).write_rows("samples", shard_rows, SAMPLE_SCHEMA)

    return produce(folder, kind="samples", version=1, config={"rows": rows}, inputs=[], work=work)
