"""Scores of groups that are cells of a grid, such as "4096 tokens at 50%", as a coloured table.

Input: scores by group. Output: HTML, or nothing if the groups are not a grid. Not here: the rest of
the report (evaluate/scoreboard.py).
"""

import html
from collections.abc import Mapping
from typing import Any

_AT = " at "


def heat_map(groups: Mapping[str, Mapping[str, Any]]) -> str:
    """A row for each name after " at ", a column for each name before it; "" if there is no grid.

    >>> heat_map({"python": {}})
    ''
    """
    if not groups or not all(_AT in name for name in groups):
        return ""
    values = {name: next(iter(scores.values()))["value"] for name, scores in groups.items()}
    columns = list(dict.fromkeys(name.partition(_AT)[0] for name in groups))
    rows = list(dict.fromkeys(name.partition(_AT)[2] for name in groups))
    head = "".join(f"<th>{html.escape(name.strip())}</th>" for name in ("", *columns))
    body = "".join(
        f"<tr><th>{html.escape(row.strip())}</th>"
        + "".join(_cell(values.get(f"{column}{_AT}{row}")) for column in columns)
        + "</tr>"
        for row in rows
    )
    return f"<table class='map'><tr>{head}</tr>{body}</table>\n"


def _cell(value: float | None) -> str:
    """Red is 0, green is 1."""
    if value is None:
        return "<td></td>"
    return f"<td style='background:hsl({120 * value:.0f} 60% 75%)'>{100 * value:.0f}</td>"
