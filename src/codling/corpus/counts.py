"""Counts of shards as they stand in a manifest, where "dropped_by_rule/binary" is in a table.

Not here: what is counted (each stage).
"""

from collections.abc import Mapping


def nested(counts: Mapping[str, int]) -> dict[str, int | dict[str, int]]:
    """Flat counts with the part before a slash as a table, the largest entries first.

    >>> nested({"documents": 3, "by_language/c": 1, "by_language/python": 2})
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
