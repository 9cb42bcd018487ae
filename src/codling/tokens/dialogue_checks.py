"""What is wrong with a row of instruction data that reads well: checks for `data dialogues`.

Input: a dialogue and the row that it was read from. Output: why it leaves, or the dialogue, perhaps
with its secrets replaced; and tallies of what was seen, for the report.

    duplicate, near-duplicate   question and answers stood in an earlier row, or nearly so
    cut-answer                  an answer whose code fence never closes, or whose row says that its
                                length ended it
    benchmark                   ten words in a row of a benchmark's text (corpus/decontaminate.py)
    secret                      a key, token or password (corpus/redaction)
    license                     the row names a licence that is not permissive
    language                    the question is in none of the languages asked for

Not here: what is no dialogue at all (dialogue_rows.py), what is too long (dialogue_labels.py).
"""

import hashlib
import json
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from codling.corpus.contamination.benchmark_texts import benchmark_files, read_texts
from codling.corpus.contamination.ngrams import find
from codling.corpus.decontaminate import MatchLimits, make_index
from codling.corpus.duplicates import minhash
from codling.corpus.licenses.notices import LicenseConfig, allowed_licenses
from codling.corpus.licenses.spdx import expression, is_allowed
from codling.corpus.prose.text import language_reason
from codling.corpus.redaction.redact import RedactConfig, find_edits, redact_parts
from codling.grading.fences import find_blocks, is_fence_open
from codling.tokens.chat import Message
from codling.tokens.dialogue_rows import Dialogue, RowError

QuestionLanguage = Literal["english", "chinese", "other"]
SecretsRule = Literal["drop", "redact", "keep"]
_ONLY_SECRETS = RedactConfig(emails=False, addresses=False)
_LICENSE_KEYS = ("license", "licence", "licenses", "license_type")
_ENDS = ("finish_reason", "stop_reason")
_CUT_OFF = ("length", "max_tokens", "max_length")
_MOST_ALIKE = 32
"""Rows of one hash that a new one is compared with: long prompts may be the same in all rows."""
_LONG_ANSWER = 200
"""Characters from which an answer that ends within a sentence is counted."""


class CheckSettings(Protocol):
    """The settings of `data dialogues` that say what leaves."""

    @property
    def similarity(self) -> float:
        """Share of common shingles from which two rows are the same; 1: only equal ones."""

    @property
    def secrets(self) -> SecretsRule:
        """What happens to secrets."""

    @property
    def benchmarks(self) -> tuple[Path, ...]:
        """Files whose texts must not be learned."""

    @property
    def only_permissive(self) -> bool:
        """Whether a row that names another licence leaves."""

    @property
    def languages(self) -> tuple[QuestionLanguage, ...]:
        """The languages of questions that stay; all where none is named."""


@dataclass
class Tallies:
    """What was seen, for the report; of rows that stay."""

    languages: Counter[str] = field(default_factory=Counter)
    """Languages of the questions."""
    code: Counter[str] = field(default_factory=Counter)
    """Languages that the fences of answers name."""
    licenses: Counter[str] = field(default_factory=Counter)
    """Licences that rows name, as SPDX expressions where they are understood."""
    n_turns: Counter[int] = field(default_factory=Counter)
    """Answers of a row."""
    n_open_ends: int = 0
    """Long answers that end within a sentence: perhaps cut."""
    n_with_tools: int = 0
    n_redacted: int = 0
    """Secrets that were replaced."""


class RowChecks:
    """Checks rows one after the other, and remembers what it saw."""

    def __init__(self, settings: CheckSettings) -> None:
        """SourceError for a benchmark that cannot be read."""
        self._settings = settings
        self.tallies = Tallies()
        self._seen: set[bytes] = set()
        self._near = _NearDuplicates(settings.similarity)
        self._allowed = allowed_licenses(LicenseConfig())
        files = benchmark_files(settings.benchmarks)
        self._texts = [text for path in files for text in read_texts(path, ())]
        self._index = make_index(self._texts, MatchLimits()) if self._texts else None

    def check(self, dialogue: Dialogue, row: object) -> Dialogue:
        """The dialogue as it stays; RowError with the first reason for which it leaves.

        It is not counted yet: it may turn out too long (`count`).
        """
        self._refuse_equal(dialogue)
        _refuse_cut(dialogue, row)
        self._refuse_language(dialogue)
        self._refuse_license(_stated_license(row))
        self._refuse_benchmark(dialogue)
        kept = self._without_secrets(dialogue)
        self._refuse_similar(kept)
        return kept

    def count(self, dialogue: Dialogue, row: object) -> None:
        """Note what a row that stays is like."""
        tallies, stated = self.tallies, _stated_license(row)
        tallies.languages[language_of(_question(dialogue))] += 1
        tallies.licenses[stated or "not stated"] += 1
        answers = [str(m.get("content") or "") for m in dialogue.messages if _is_answer(m)]
        tallies.n_turns[len(answers)] += 1
        tallies.n_with_tools += dialogue.tools is not None or any(
            "tool_calls" in message for message in dialogue.messages
        )
        for answer in answers:
            blocks = find_blocks(answer)
            tallies.n_open_ends += _ends_openly(answer)
            names = {block.language or "unnamed" for block in blocks}
            tallies.code.update(names or {"no code block"})

    def _refuse_equal(self, dialogue: Dialogue) -> None:
        """Blind to case and white space."""
        said = [_fold(message) for message in dialogue.messages]
        text = json.dumps([said, dialogue.tools], sort_keys=True)
        digest = hashlib.sha256(text.encode()).digest()
        if digest in self._seen:
            raise RowError("duplicate", "the same messages stood in an earlier row")
        self._seen.add(digest)

    def _refuse_similar(self, dialogue: Dialogue) -> None:
        asked, answered = _texts_of(dialogue, answers=False), _texts_of(dialogue, answers=True)
        if self._near.has_seen(asked, answered):
            raise RowError("near-duplicate", "question and answers nearly stood in an earlier row")

    def _refuse_language(self, dialogue: Dialogue) -> None:
        wanted, found = self._settings.languages, language_of(_question(dialogue))
        if wanted and found not in wanted:
            raise RowError("language", f"the question is in {found}, not {' or '.join(wanted)}")

    def _refuse_license(self, stated: str) -> None:
        if self._settings.only_permissive and stated and not is_allowed(stated, self._allowed):
            raise RowError("license", f"{stated} is not permissive")

    def _refuse_benchmark(self, dialogue: Dialogue) -> None:
        if self._index is None:
            return
        # A text of its own each: ten words must not reach from a question into its answer.
        for message in dialogue.messages:
            said = str(message.get("content") or "").encode("utf-8", "replace")
            if hit := find(self._index, np.frombuffer(said, np.uint8)):
                excerpt = said[hit[1] : hit[1] + 60].decode("utf-8", "ignore")
                raise RowError("benchmark", f"{self._texts[hit[0]].name}: {excerpt!r}")

    def _without_secrets(self, dialogue: Dialogue) -> Dialogue:
        if self._settings.secrets == "keep":
            return dialogue
        calls = json.dumps([m.get("tool_calls") for m in dialogue.messages if "tool_calls" in m])
        parts = [str(message.get("content") or "") for message in dialogue.messages]
        cleaned, edits = redact_parts(parts, _ONLY_SECRETS)
        in_calls = find_edits(calls, _ONLY_SECRETS)
        if not edits and not in_calls:
            return dialogue
        if in_calls or self._settings.secrets == "drop":
            kinds = sorted({edit.kind for edit in (*edits, *in_calls)})
            raise RowError("secret", ", ".join(kinds))
        self.tallies.n_redacted += len(edits)
        pairs = zip(dialogue.messages, cleaned, strict=True)
        kept = [{**m, "content": text} if m.get("content") else m for m, text in pairs]
        return replace(dialogue, messages=tuple(kept))


@dataclass
class _NearDuplicates:
    """Pairs of texts by their MinHash signatures, in bands (duplicates/minhash.py)."""

    similarity: float
    bands: dict[int, deque[int]] = field(default_factory=dict)
    """The last rows with each hash of a band of what is asked."""
    signatures: list[NDArray[np.uint32]] = field(default_factory=list)
    """Two rows each: of what is asked, and of what is answered."""

    def has_seen(self, asked: str, answered: str) -> bool:
        """Whether an earlier pair is this one's in both texts; else it is remembered."""
        if self.similarity >= 1:
            return False
        texts = [asked.encode("utf-8", "replace"), answered.encode("utf-8", "replace")]
        offsets = np.cumsum([0, *map(len, texts)]).astype(np.int64)
        data = np.frombuffer(b"".join(texts), np.uint8)
        signature = minhash.signatures(data, offsets)[0]
        keys = minhash.band_hashes(signature)[:, 0].tolist()
        found = {number for key in keys for number in self.bands.get(key, ())}
        # The share of equal values estimates the share of common shingles.
        alike = ((self.signatures[n] == signature).mean(axis=1).min() for n in found)
        if max(alike, default=0.0) >= self.similarity:
            return True
        for key in keys:
            self.bands.setdefault(key, deque(maxlen=_MOST_ALIKE)).append(len(self.signatures))
        self.signatures.append(signature)
        return False


def language_of(text: str) -> QuestionLanguage:
    """The language of a question by its letters.

    >>> language_of("Sort a list."), language_of("用 Python 写一个排序程序"), language_of("Привет")
    ('english', 'chinese', 'other')
    """
    if language_reason("chinese", text) is None:
        return "chinese"
    return "english" if language_reason("english", text) is None else "other"


def _refuse_cut(dialogue: Dialogue, row: object) -> None:
    for message in dialogue.messages:
        if _is_answer(message) and is_fence_open(str(message.get("content") or "")):
            raise RowError("cut-answer", "a code block never closes")
    if isinstance(row, Mapping):
        for key in _ENDS:
            if row.get(key) in _CUT_OFF:
                raise RowError("cut-answer", f"{key} is {row[key]}")


def _ends_openly(answer: str) -> bool:
    """Whether a long answer ends within a sentence, outside of code."""
    text = answer.rstrip()
    last = text.rpartition("\n")[2]
    is_prose = " " in last and not last.startswith((" ", "\t", "#", "-", "*"))
    is_open: bool = is_prose and (text[-1].isalnum() or text[-1] in ",-(")
    return len(text) >= _LONG_ANSWER and is_open


def _stated_license(row: object) -> str:
    """The licence that a row names, as SPDX where it is understood; "" if it names none."""
    if not isinstance(row, Mapping):
        return ""
    places: list[Mapping[str, Any]] = [row]
    places += [row[key] for key in ("metadata", "meta") if isinstance(row.get(key), Mapping)]
    for place in places:
        for key in _LICENSE_KEYS:
            value = place.get(key)
            named = value if isinstance(value, list) else [value]
            texts = [text for text in named if isinstance(text, str) and text.strip()]
            if texts:
                return " AND ".join(expression(text) or text.strip()[:60] for text in texts)
    return ""


def _texts_of(dialogue: Dialogue, *, answers: bool) -> str:
    wanted = (m for m in dialogue.messages if _is_answer(m) == answers)
    return "\n".join(_text_of(message) for message in wanted)


def _question(dialogue: Dialogue) -> str:
    return _texts_of(dialogue, answers=False)


def _text_of(message: Message) -> str:
    calls = message.get("tool_calls")
    text = str(message.get("content") or "")
    return f"{text}\n{json.dumps(calls, sort_keys=True)}" if calls else text


def _fold(message: Message) -> tuple[str, str]:
    return str(message["role"]), " ".join(_text_of(message).lower().split())


def _is_answer(message: Message) -> bool:
    return bool(message["role"] == "assistant")
