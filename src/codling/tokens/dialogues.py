"""The stage `data dialogues`: instruction data as people have it become tokens for tuning.

Input: JSON Lines (plain or .gz) or JSON lists, whose rows may be of different shapes
(dialogue_rows.py), and the tokenizer of the model that will learn them. Output: an artefact of kind
"dialogues" (dialogue_files.py). A row that cannot be used, or that a check refuses
(dialogue_checks.py), is never dropped in silence: it has a line in dropped.jsonl with its file, its
line and the reason, every reason is counted, and report.md tells of all together.

The held-out part is chosen by the first question, so that rows about the same one stay together.

Not here: tuning (posttrain/tune.py).
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self

import numpy as np
import pyarrow as pa

from codling.core.artifact import Draft
from codling.core.errors import ConfigError, SourceError, TokenizerError
from codling.core.files import write_json, write_json_lines
from codling.core.inputs import source_input, tokenizer_input
from codling.core.log import say
from codling.core.ranges import Context, PositiveShare, ProperShare, Ranged, Seed
from codling.core.recipe import aside
from codling.core.shards import write_table
from codling.core.stage import Work, stage
from codling.corpus.contamination.benchmark_texts import benchmark_files
from codling.corpus.tables.schemas import Split
from codling.tokens.dialogue_checks import QuestionLanguage, RowChecks, SecretsRule
from codling.tokens.dialogue_files import (
    DIALOGUE_SCHEMA,
    DROPPED,
    KIND,
    DialogueMeta,
    DialogueSplit,
)
from codling.tokens.dialogue_labels import (
    DialogueEncoder,
    Labelled,
    published_labels,
    published_template,
)
from codling.tokens.dialogue_report import REPORT, render_report
from codling.tokens.dialogue_rows import (
    SYSTEM_ROLES,
    Dialogue,
    RowError,
    explain_loss,
    number_rows,
    read_dialogue,
)
from codling.tokens.template_files import TEMPLATE
from codling.tokens.token_files import META, dtype_for
from codling.tokens.tokenizer import Tokenizer

_SPLITS: tuple[Split, ...] = ("train", "heldout")


@dataclass(frozen=True, kw_only=True)
class DialoguesConfig(Ranged):
    """Settings of `codling data dialogues`."""

    files: tuple[Path, ...] = aside()
    """JSON Lines (also .gz) or .json with a list."""
    tokenizer_dir: Path = aside(Path("runs/tokenizer"))
    """The folder of the model that will learn them, or its tokenizer (codling adopt)."""
    out_dir: Path = aside(Path("runs/dialogues"))
    """Where the tokens go."""
    template: str | None = None
    """The chat template: one of the model's own by name, a preset (chatml, coder-v1, codling,
    starcoder2, v2), or a file; by default the model's own, or that of its family."""
    labels: Literal["answers", "published"] = "answers"
    """answers: by the chat template, and only whole answers count. published: to the token what
    DeepSeek-Coder's finetune_deepseekcoder.py makes of instruction and output, cut answers too."""
    context: Context = 2048
    """Tokens of a document at most."""
    heldout_share: ProperShare = 0.02
    """Share of the rows that is held out, to choose the best weights by."""
    seed: Seed = 0
    """Decides which rows are held out."""
    similarity: PositiveShare = 0.8
    """Share of common five-word runs, in question and answers alike, from which a row repeats an
    earlier one and leaves; 1: only equal rows leave."""
    secrets: SecretsRule = "drop"
    """Rows that hold a key, token or password: drop them, redact it (placeholders), or keep."""
    benchmarks: tuple[Path, ...] = ()
    """Benchmark files or folders, also .gz: rows that share ten words in a row with their texts, or
    a short text whole, leave."""
    only_permissive: bool = False
    """Rows whose license field names a licence that is not permissive leave."""
    languages: tuple[QuestionLanguage, ...] = ()
    """Languages of the questions that stay, by their letters; all by default."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.files:
            raise ConfigError("files is empty; name a file of JSON Lines")
        if folder := next((path for path in self.files if path.is_dir()), None):
            raise ConfigError(f"{folder} is a folder; name the files of JSON Lines in it")
        if self.labels == "published" and self.template is not None:
            raise ConfigError("template is not used with --labels published; leave it out")
        if self.labels == "published" and (self.benchmarks or self.languages):
            raise ConfigError(
                "benchmarks and languages are not used with --labels published, which learns every "
                "row; leave them out"
            )


@stage(KIND, version=2)
def dialogues(config: DialoguesConfig) -> Work:
    """Turn instruction data into tokens of which only the answers count.

    Rows that repeat others, are cut, hold secrets or texts of --benchmarks are left out and told of
    in report.md. They may be DeepSeek-Coder's and Alpaca's (instruction, input, output), ShareGPT's
    (conversations), OpenAI's (messages), prompt with completion, or question with answer, in any
    order in one file.

    Example:
        codling data dialogues rows.jsonl --tokenizer-dir models/qwen2.5-coder-0.5b --out-dir \
runs/app/dialogues
    """
    tokenizer = Tokenizer.open(config.tokenizer_dir)
    if tokenizer.specials.eos is None:
        raise TokenizerError(f"{config.tokenizer_dir} names no eos token; tuning needs one")
    labeller = _Labeller(tokenizer, config)
    draft = yield [
        *map(source_input, config.files),
        tokenizer_input(config.tokenizer_dir),
        *map(source_input, benchmark_files(config.benchmarks)),
    ]
    with _DialogueWriter(draft, tokenizer) as writer:
        for file in config.files:
            for number, row in number_rows(file):
                try:
                    split, documents = labeller.label(row)
                except RowError as error:
                    writer.drop(file, number, error)
                    continue
                for document in documents:
                    writer.add(file, number, split, document)
        _say_dropped(writer.dropped)
        _refuse_nothing(writer, config)
    _publish(draft, writer, labeller, config)


class _Labeller:
    """Turns rows into labelled documents, and counts what it meets."""

    def __init__(self, tokenizer: Tokenizer, config: DialoguesConfig) -> None:
        self._tokenizer, self._config = tokenizer, config
        self.is_published = config.labels == "published"
        self.encoder = (
            None
            if self.is_published
            else DialogueEncoder(tokenizer, config.template, config.context)
        )
        self.checks = RowChecks(config)
        self.shapes: Counter[str] = Counter()
        self.n_unlabelled = 0
        """Documents of which no token counts; only DeepSeek-Coder's script makes such."""
        self.n_cut = 0
        """Answers without their end; only DeepSeek-Coder's script makes such."""

    def label(self, row: object) -> tuple[Split, list[Labelled]]:
        """The split of a row and its documents; RowError if it has none."""
        if isinstance(row, RowError):
            raise row
        dialogue = read_dialogue(row)
        if self.encoder is None:
            documents = [self._label_published(row)]
        else:
            dialogue = self.checks.check(dialogue, row)
            documents = self.encoder.documents(dialogue)
        self.checks.count(dialogue, row)
        self.shapes[dialogue.shape] += 1
        self.n_unlabelled += sum(document.n_counted == 0 for document in documents)
        self.n_cut += sum(document.is_cut and document.n_counted > 0 for document in documents)
        return self._split(dialogue), documents

    def _label_published(self, row: Any) -> Labelled:  # noqa: ANN401 -- JSON, read as a dialogue already
        if not all(isinstance(row.get(key), str) for key in ("instruction", "output")):
            raise RowError("unknown-shape", "published labels need instruction and output")
        context = self._config.context
        return published_labels(self._tokenizer, row["instruction"], row["output"], context)

    def _split(self, dialogue: Dialogue) -> Split:
        question = next(m["content"] for m in dialogue.messages if m["role"] not in SYSTEM_ROLES)
        place = int.from_bytes(_digest([self._config.seed, question])[:7]) / (1 << 56)
        return "heldout" if place < self._config.heldout_share else "train"


@dataclass
class _OpenStream:
    """One split under construction."""

    ids: BinaryIO
    mask: BinaryIO
    n_documents: int = 0
    n_tokens: int = 0
    n_counted: int = 0
    n_bytes: int = 0


@dataclass
class _DialogueWriter:
    """Writes documents and what was dropped into the draft."""

    draft: Draft
    tokenizer: Tokenizer
    streams: dict[Split, _OpenStream] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    dropped: list[dict[str, Any]] = field(default_factory=list)
    open_files: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        for split in _SPLITS:
            ids, mask = (
                self.open_files.enter_context(self.draft.file(f"{split}.{kind}").open("wb"))
                for kind in ("bin", "mask")
            )
            self.streams[split] = _OpenStream(ids, mask)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.open_files.close()
        if kind is not None:
            # Nothing can go on with them: left behind, they would look like unfinished work.
            for stream in self.streams.values():
                for file in (stream.ids, stream.mask):
                    Path(file.name).unlink()

    def add(self, file: Path, number: int, split: Split, document: Labelled) -> None:
        """Append one document to its stream."""
        stream = self.streams[split]
        counted = np.array(document.counted, dtype=np.bool_)
        ids = np.array(document.ids, dtype=dtype_for(self.tokenizer.vocab_size))
        stream.ids.write(ids.tobytes())
        stream.mask.write(counted.tobytes())
        self.rows.append(
            {
                "file": str(file),
                "row": number,
                "split": split,
                "start": stream.n_tokens,
                "length": len(ids),
                "n_counted": int(counted.sum()),
            }
        )
        stream.n_documents += 1
        stream.n_tokens += len(ids)
        stream.n_counted += int(counted.sum())
        stream.n_bytes += int(self.tokenizer.token_lengths[ids[counted]].sum())

    def drop(self, file: Path, number: int, error: RowError) -> None:
        """Note a row that is left out."""
        entry = {"file": str(file), "row": number, "reason": error.reason, "detail": error.detail}
        self.dropped.append(entry)


def _publish(
    draft: Draft, writer: _DialogueWriter, labeller: _Labeller, config: DialoguesConfig
) -> None:
    table = pa.Table.from_pylist(writer.rows, DIALOGUE_SCHEMA)
    write_table(draft.file("index-00000.parquet"), table)
    write_json_lines(draft.file(DROPPED), writer.dropped)
    reasons = Counter(entry["reason"] for entry in writer.dropped)
    encoder = labeller.encoder
    _warn(labeller, config)
    source = published_template(writer.tokenizer) if encoder is None else encoder.source
    draft.file(TEMPLATE).write_text(source, encoding="utf-8")
    draft.counts |= {
        "documents": len(writer.rows),
        "counted_tokens": sum(s.n_counted for s in writer.streams.values()),
        "tokens": sum(s.n_tokens for s in writer.streams.values()),
        "shapes": dict(labeller.shapes),
        "dropped": dict(reasons),
        "unlabelled": labeller.n_unlabelled,
        "cut_answers": labeller.n_cut,
        "answers_after_a_cut": encoder.n_cut if encoder else 0,
        "answers_too_long": encoder.n_too_long if encoder else 0,
    }
    write_json(draft.file(META), asdict(_meta(writer, config)))
    tallies = labeller.checks.tallies
    draft.counts["redacted"] = tallies.n_redacted
    if tallies.n_redacted:
        say(f"{tallies.n_redacted:,} secrets became placeholders")
    report = render_report(writer.dropped, writer.rows, tallies, draft.counts)
    draft.file(REPORT).write_text(report, encoding="utf-8")


def _refuse_nothing(writer: _DialogueWriter, config: DialoguesConfig) -> None:
    """SourceError if no row is left to learn from."""
    if writer.streams["train"].n_counted:
        return
    reasons = Counter(entry["reason"] for entry in writer.dropped)
    why = explain_loss(reasons)
    if writer.streams["train"].n_documents:
        why = f"every row is cut before its answer: give a longer context than {config.context:,}"
    if n := writer.streams["heldout"].n_documents:
        why = f"all {n:,} documents that stay are held out: lower --heldout-share"
    raise SourceError(f"no row of {config.files[0]} can be learnt; {why}")


def _say_dropped(dropped: Sequence[Mapping[str, Any]]) -> None:
    """One line for every reason for which rows left."""
    reasons = Counter(str(entry["reason"]) for entry in dropped)
    for reason, n in reasons.most_common():
        first = next(entry for entry in dropped if entry["reason"] == reason)
        what, detail = "row" if n == 1 else "rows", first["detail"]
        where = f"{first['file']} line {first['row']}" + f" ({detail})" * bool(detail)
        say(f"{n:,} {what} left out: {reason}; the first is {where}")


def _warn(labeller: _Labeller, config: DialoguesConfig) -> None:
    """Say what the length of the context costs."""
    longer = f"give a longer context than {config.context:,}"
    if labeller.n_unlabelled:
        say(
            f"{labeller.n_unlabelled:,} rows are cut before their answer and teach nothing; "
            f"{longer}"
        )
    if labeller.n_cut:
        say(f"{labeller.n_cut:,} answers are cut and teach no end; {longer}")
    if labeller.encoder is not None and labeller.encoder.n_too_long:
        say(f"{labeller.encoder.n_too_long:,} answers do not fit and are left out; {longer}")


def _meta(writer: _DialogueWriter, config: DialoguesConfig) -> DialogueMeta:
    eos = writer.tokenizer.specials.eos
    assert eos is not None
    splits = {
        name: DialogueSplit(
            n_documents=s.n_documents,
            n_tokens=s.n_tokens,
            n_counted=s.n_counted,
            n_bytes=s.n_bytes,
        )
        for name, s in writer.streams.items()
    }
    return DialogueMeta(
        vocab_size=writer.tokenizer.vocab_size,
        dtype=dtype_for(writer.tokenizer.vocab_size),
        eos=eos,
        context=config.context,
        labels=config.labels,
        splits=splits,
    )


def _digest(value: object) -> bytes:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).digest()
