"""What the stages of a corpus dropped and redacted, counted from their artefacts.

Input: artefacts. Output: counts, with examples of what was dropped.

Not here: how they are shown (card.py, run_view.py).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from codling.core.artifact import Artifact
from codling.core.shards import read_rows

MAX_EXAMPLES = 20
"""Examples of a rule that are kept."""


@dataclass(frozen=True)
class Drop:
    """Files that one rule of one stage dropped."""

    stage: str
    rule: str
    n_files: int
    n_bytes: int
    examples: list[str]
    """Some of the files, each with the value that decided: a survivor, a text, a number."""


def read_drops(artifact: Artifact) -> list[Drop]:
    """What one stage dropped, by rule, the largest number of files first."""
    files: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    for row in read_rows(artifact, "dropped", ["repo", "path", "n_bytes", "rule", "value"]):
        rule = row["rule"]
        files[rule] += 1
        sizes[rule] += row["n_bytes"]
        if files[rule] <= MAX_EXAMPLES:
            examples.setdefault(rule, []).append(f"{row['repo']}/{row['path']}: {row['value']}")
    ranked = sorted(files, key=lambda r: (-files[r], r))
    return [Drop(artifact.path.name, r, files[r], sizes[r], examples[r]) for r in ranked]


def count_redactions(artifacts: Iterable[Artifact]) -> Counter[str]:
    """Placeholders by kind, in the stages that wrote them."""
    rows = (row for a in artifacts for row in read_rows(a, "redactions", ["kind"]))
    return Counter(row["kind"] for row in rows)
