"""Samples: the files of one subgraph in order, joined, each under a comment that holds its path.

Input: documents of one repository and split, in order. Output: rows of SAMPLE_SCHEMA.

    # pkg/a.py
    import os
    ...
    # pkg/b.py
    from pkg import a
    ...

The layout is the one of context.py, so that a repository looks the same in training and at the
cursor. Not here: the order (dependencies/order.py).
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from codling.core.languages.table import path_comment

if TYPE_CHECKING:
    from codling.corpus.tables.schemas import Document  # which loads pyarrow


def file_text(language: str, path: str, content: str) -> str:
    r"""One file as it is in a sample: its path comment, its content, a last line break.

    >>> file_text("python", "a.py", "x = 1")
    '# a.py\nx = 1\n'
    """
    end = "" if content.endswith("\n") or not content else "\n"
    return path_comment(language, path) + content + end


def samples(documents: "Sequence[Document]", max_chars: int) -> Iterator[dict[str, Any]]:
    """Rows of SAMPLE_SCHEMA: `documents` joined, cut between files where `max_chars` is passed."""
    texts: list[str] = []
    first = size = 0
    for i, document in enumerate(documents):
        text = file_text(document.language, document.path, document.content)
        if texts and size + len(text) > max_chars:
            yield _row(documents[first:i], texts)
            texts, first, size = [], i, 0
        texts.append(text)
        size += len(text)
    if texts:
        yield _row(documents[first:], texts)


def _row(documents: "Sequence[Document]", texts: Sequence[str]) -> dict[str, Any]:
    starts = [0]
    for text in texts[:-1]:
        starts.append(starts[-1] + len(text))
    source, repo, split = documents[0].source, documents[0].repo, documents[0].split
    assert all((d.source, d.repo, d.split) == (source, repo, split) for d in documents)
    named = [source, repo, split, *(f"{d.sha256} {d.path}" for d in documents)]
    return {
        "id": hashlib.sha256("\n".join(named).encode()).hexdigest()[:16],
        "source": source,
        "repo": repo,
        "split": split,
        "paths": [d.path for d in documents],
        "languages": [d.language for d in documents],
        "licenses": [d.license for d in documents],
        "sha256s": [d.sha256 for d in documents],
        "starts": starts,
        "content": "".join(texts),
    }
