"""Counts of shards as they are in a manifest, where "dropped_by_rule/binary" is in a table.

Not here: what else is counted (each stage).
"""

from collections.abc import Mapping
from typing import Any

_BY_RULE = "dropped_by_rule/"


def nest_counts(counts: Mapping[str, int]) -> dict[str, int | dict[str, int]]:
    """Flat counts with the part before a slash as a table, the largest entries first.

    >>> nest_counts({"documents": 3, "by_language/c": 1, "by_language/python": 2})
    {'documents': 3, 'by_language': {'python': 2, 'c': 1}}
    """
    found: dict[str, int | dict[str, int]] = {}
    for name, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        table, slash, key = name.partition("/")
        if slash:
            inner = found.setdefault(table, {})
            assert isinstance(inner, dict)
            inner[key] = n
        else:
            found[name] = n
    return found


def document_counts(row: Mapping[str, Any]) -> dict[str, int]:
    """What one row of the table of documents adds to the counts."""
    return {
        "documents": 1,
        "bytes": row["n_bytes"],
        f"{row['split']}_documents": 1,
        f"{row['split']}_bytes": row["n_bytes"],
        f"by_language/{row['language']}": 1,
        f"by_license/{row['license']}": 1,
    }


def largest_rule(counts: Mapping[str, int]) -> tuple[str, int]:
    """The rule that dropped most, and how many; ("", 0) if nothing was dropped.

    >>> largest_rule({"dropped_by_rule/binary": 1, "dropped_by_rule/empty": 2, "dropped": 3})
    ('empty', 2)
    """
    rules = {k.removeprefix(_BY_RULE): n for k, n in counts.items() if k.startswith(_BY_RULE)}
    rule = max(rules, key=rules.__getitem__, default="")
    return rule, rules.get(rule, 0)
