"""The stage `data accepted`: completions that were taken, or typed instead, become training rows.

Input: the log of `codling serve --log-completions FILE --log-text`. Output: an artefact of kind
"samples", which `codling pack` takes: a row for each accepted or typed text, with the text around
it. Beside it accepted.jsonl: before, after, what was accepted, and what was shown in its place
where people typed something else. Secrets and addresses are redacted in both: each text of a row is
searched together with all that stood around it, and only then cut.

What was only dismissed teaches nothing; it is counted. Not here: the log (serve/outcomes.py).
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codling.core.errors import SourceError
from codling.core.files import write_json_lines
from codling.core.foreign_json import parse_lines
from codling.core.inputs import source_input
from codling.core.languages.table import detect
from codling.core.ranges import CountFromZero, Ranged
from codling.core.recipe import aside
from codling.core.shards import Shard
from codling.core.stage import Work, stage
from codling.corpus.layout import file_text
from codling.corpus.licenses.notices import OWN
from codling.corpus.redaction.redact import RedactConfig, redact, redact_parts
from codling.corpus.tables.schemas import SAMPLE_SCHEMA

_WANTED = ("taken", "typed")
_REDACTED = RedactConfig()


@dataclass(frozen=True, kw_only=True)
class AcceptedConfig(Ranged):
    """Settings of `codling data accepted`."""

    file: Path = aside()
    """The log of `codling serve --log-completions FILE --log-text`."""
    out_dir: Path = aside()
    """Where the samples go."""
    before_chars: CountFromZero = 2000
    """Characters before the accepted text that a row keeps."""
    after_chars: CountFromZero = 1000
    """Characters after it."""
    min_chars: CountFromZero = 5
    """Shorter texts are not informative."""


@stage("samples", version=2)
def accepted(config: AcceptedConfig) -> Work:
    """Turn a log of completions into training rows: what was taken, or typed instead.

    Raises SourceError for a log without text.

    Example:
        codling data accepted completions.jsonl --out-dir runs/app/accepted
    """
    rows, counts = _read(config)
    draft = yield [source_input(config.file)]
    Shard(draft.path, 0).write_rows("samples", [_sample(row) for row in rows], SAMPLE_SCHEMA)
    write_json_lines(draft.file("accepted.jsonl"), rows)
    draft.counts |= {"samples": len(rows)} | dict(counts)


def _read(config: AcceptedConfig) -> tuple[list[dict[str, Any]], Counter[str]]:
    shown: dict[str, dict[str, Any]] = {}
    counts: Counter[str] = Counter()
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for number, event in parse_lines(config.file):
        if not isinstance(event, dict) or not isinstance(event.get("id"), str):
            raise SourceError(f"{config.file}:{number} is not a line of a log of completions")
        if event.get("event") == "shown":
            shown[event["id"]] = event
            counts["shown"] += 1
            continue
        counts[f"{event.get('outcome')}"] += 1
        if event.get("outcome") in _WANTED:
            row = _row(event, shown.get(event["id"]), config, number)
            if row is not None:
                # What is told of a choice last is what became of it.
                found[event["id"], event["index"]] = row
    if not found:
        raise SourceError(
            f"{config.file} holds no completion that was taken or typed over "
            f"({counts['shown']:,} shown); clients tell by POST /v1/completions/ID/outcome"
        )
    return list(found.values()), counts


def _row(
    event: dict[str, Any], shown: dict[str, Any] | None, config: AcceptedConfig, number: int
) -> dict[str, Any] | None:
    """One row without secrets and addresses, or None for a text that says too little."""
    if shown is None:
        return None
    index, texts = event.get("index"), shown.get("texts")
    before, after, path = (shown.get(key) for key in ("prompt", "suffix", "path"))
    if not (isinstance(texts, list) and isinstance(before, str) and isinstance(after, str)):
        raise SourceError(
            f"{config.file}:{number}: the log holds no text; serve with --log-text to train on it"
        )
    if not isinstance(index, int) or not 0 <= index < len(texts):
        raise SourceError(f"{config.file}:{number} names a choice that was not shown")
    other = texts[index]
    text = event.get("text", other)
    if not isinstance(text, str) or not isinstance(other, str):
        return None
    (before, text, after), _ = redact_parts((before, text, after), _REDACTED)
    if len(text.strip()) < config.min_chars:
        return None
    shown_text = None
    if event["outcome"] == "typed":
        (_, shown_text, _), _ = redact_parts((shown["prompt"], other, shown["suffix"]), _REDACTED)
    return {
        "path": redact(path, _REDACTED)[0] if isinstance(path, str) else "",
        "before": before[-config.before_chars :] if config.before_chars else "",
        "text": text,
        "after": after[: config.after_chars],
        "shown": shown_text,
        "outcome": event["outcome"],
        "model": shown.get("model", ""),
        "time": event.get("time"),
    }


def _sample(row: dict[str, Any]) -> dict[str, Any]:
    whole = row["before"] + row["text"] + row["after"]
    language = detect(row["path"], whole[:512].encode("utf-8", "replace")) or ""
    content = file_text(language, row["path"], whole) if row["path"] else whole
    digest = hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()
    return {
        "id": digest[:16],
        "source": "accepted",
        "repo": "accepted",
        "split": "train",
        "paths": [row["path"]],
        "languages": [language],
        "licenses": [OWN],
        "sha256s": [digest],
        "starts": [0],
        "content": content,
    }
