"""The report of `data dialogues`: what stays of the rows and what is in it, what leaves and why.

Input: the rows that left, the documents, and what the checks tallied. Output: report.md, Markdown
that reads well as text.

Not here: the checks (dialogue_checks.py).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from codling.tokens.dialogue_checks import Tallies

REPORT = "report.md"
_EXAMPLES = 3
_MOST = 20
"""Rows of a table at most."""
_SHARES = {"least": 0.0, "10%": 0.1, "median": 0.5, "90%": 0.9, "99%": 0.99, "most": 1.0}


def render_report(
    dropped: Sequence[Mapping[str, Any]],
    documents: Sequence[Mapping[str, Any]],
    tallies: Tallies,
    counts: Mapping[str, Any],
) -> str:
    """The whole report."""
    n_kept = sum(tallies.n_turns.values())
    heldout = sum(document["split"] == "heldout" for document in documents)
    lines = [
        "# Instruction data",
        "",
        f"{n_kept + len(dropped):,} rows were read and {n_kept:,} stay: {len(documents):,} "
        f"documents with {counts['tokens']:,} tokens, of which {counts['counted_tokens']:,} count; "
        f"{heldout:,} documents are held out.",
        *_explain_dropped(dropped),
        *_lengths(documents),
        *_table("Shape of the rows", counts["shapes"]),
        *_table("Language of the questions", tallies.languages),
        *_table("Language that the code blocks of an answer name", tallies.code),
        *_table("Licence that rows state", tallies.licenses),
        *_table("Answers of a dialogue", tallies.n_turns),
        *_notes(tallies, counts),
    ]
    return "\n".join(lines) + "\n"


def _explain_dropped(dropped: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    by_reason: dict[str, list[Mapping[str, Any]]] = {}
    for entry in dropped:
        by_reason.setdefault(entry["reason"], []).append(entry)
    yield from ("", "## Left out", "")
    if not by_reason:
        yield "Nothing."
        return
    yield from ("| reason | rows | the first |", "|---|---:|---|")
    for reason, entries in sorted(by_reason.items(), key=lambda each: -len(each[1])):
        first = "; ".join(
            f"{entry['file']} line {entry['row']}"
            + (f" ({entry['detail']})" * bool(entry["detail"]))
            for entry in entries[:_EXAMPLES]
        )
        yield f"| {reason} | {len(entries):,} | {_cell(first)} |"


def _lengths(documents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from ("", "## Length in tokens", "", f"| | {' | '.join(_SHARES)} |")
    yield "|---|" + "---:|" * len(_SHARES)
    for name, key in (("document", "length"), ("of it counted", "n_counted")):
        values = [document[key] for document in documents]
        found = np.quantile(values, list(_SHARES.values()), method="nearest")
        yield f"| {name} | {' | '.join(f'{int(value):,}' for value in found)} |"


def _table(title: str, counts: Mapping[Any, int]) -> Iterator[str]:
    yield from ("", f"## {title}", "", "| | rows |", "|---|---:|")
    most = sorted(counts.items(), key=lambda each: (-each[1], str(each[0])))
    for name, n in most[:_MOST]:
        yield f"| {_cell(str(name))} | {n:,} |"
    if len(most) > _MOST:
        yield f"| {len(most) - _MOST:,} others | {sum(n for _, n in most[_MOST:]):,} |"


def _notes(tallies: Tallies, counts: Mapping[str, Any]) -> Iterator[str]:
    notes = {
        "rows with tools or calls of them": tallies.n_with_tools,
        "long answers that end within a sentence, perhaps cut (they stay)": tallies.n_open_ends,
        "secrets that became placeholders": tallies.n_redacted,
        "documents of which nothing counts": counts["unlabelled"],
        "answers without their end": counts["cut_answers"],
        "answers that lost the oldest turns before them": counts["answers_after_a_cut"],
        "answers left out because they are too long": counts["answers_too_long"],
    }
    yield from ("", "## Besides", "")
    yield from _list(f"{n:,} {what}" for what, n in notes.items() if n) or ["Nothing."]


def _list(notes: Iterable[str]) -> list[str]:
    return [f"- {note}" for note in notes]


def _cell(text: str) -> str:
    """A text as the cell of a table: one line, and a bar in it is none of the table's."""
    shown = json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"')
    return shown.replace("|", "\\|")[:400]
