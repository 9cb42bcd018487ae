"""Fill in the middle: the training transforms, and the one place where insertion prompts are built.

Input: text with a hole: what is before it, in it and after it. Output: ids in the order of
coder-v1,

    PSM   begin prefix hole suffix end | middle eos
    SPM   begin hole suffix end prefix | middle eos

where `|` is the end of the prompt. Cuts fall between characters, not tokens, so that the model
learns to go on from a prompt that ends inside a token (arXiv:2207.14255, section 3). Some holes are
whole lines without their indentation: what an editor asks for most.

Not here: which documents are transformed (pack.py) and when an insertion ends (Tokenizer.stop_ids).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from codling.core.errors import RequestError, TokenizerError
from codling.tokens.families import FIM_BEGIN, FIM_END, FIM_HOLE
from codling.tokens.spans import Spans
from codling.tokens.tokenizer import Tokenizer

FimMode = Literal["psm", "spm"]

_CHARS_PER_TOKEN = 6
"""A generous bound: only this many characters per token of room are read, not a whole file."""
_INDENTED = re.compile(r"^[ \t]+\S", re.MULTILINE)
_WORD = re.compile(r"[ \t]?\w+\Z")
_MAX_WORD = 32
"""Characters that an answer writes again, token by token."""
_STEPS = 8
"""A trimmed prefix begins at a multiple of 1/8 of its room: it does not move while the user types,
so that a prefix cache stays useful."""


@dataclass(frozen=True)
class Hole:
    """Text in three parts; `prefix + middle + suffix` is the whole."""

    prefix: str
    middle: str
    suffix: str


def cut(text: str, rng: Random) -> Hole:
    """Two different places between characters, evenly drawn, make the hole.

    A text of fewer than two characters has no two places with something between; its hole is all of
    it.
    """
    if len(text) < 2:
        return Hole("", text, "")
    start, end = sorted(rng.sample(range(len(text) + 1), 2))
    return Hole(text[:start], text[start:end], text[end:])


def psm(prefix: str, middle: str, suffix: str) -> str:
    """Prefix, suffix, middle: the training text of one insertion, in coder-v1's tokens.

    >>> psm("ab", "cd", "ef") == FIM_BEGIN + "ab" + FIM_HOLE + "ef" + FIM_END + "cd"
    True
    """
    return f"{FIM_BEGIN}{prefix}{FIM_HOLE}{suffix}{FIM_END}{middle}"


def spm(prefix: str, middle: str, suffix: str) -> str:
    """Suffix, prefix, middle: prefix and middle stay together after the marks.

    >>> spm("ab", "cd", "ef") == FIM_BEGIN + FIM_HOLE + "ef" + FIM_END + "abcd"
    True
    """
    return f"{FIM_BEGIN}{FIM_HOLE}{suffix}{FIM_END}{prefix}{middle}"


def join(
    tokenizer: Tokenizer,
    prefix: Sequence[int],
    middle: Sequence[int],
    suffix: Sequence[int],
    mode: FimMode,
) -> list[int]:
    """The ids of one insertion from the ids of its parts: three more than they hold; no bos, no
    eos."""
    begin, hole, end = _marks(tokenizer)
    if mode == "psm":
        return [begin, *prefix, hole, *suffix, end, *middle]
    return [begin, hole, *suffix, end, *prefix, *middle]


@dataclass(frozen=True)
class Draw:
    """One insertion task as it was drawn: where the hole is, as shares of the text, the order, and
    whether the hole is a line."""

    start: float
    end: float
    mode: FimMode
    is_line: bool = False

    @classmethod
    def of(cls, rng: Random, spm_share: float, line_share: float = 0.0) -> "Draw":
        """Two even draws for the hole, one for the order, one for its kind."""
        start, end = sorted((rng.random(), rng.random()))
        mode: FimMode = "spm" if rng.random() < spm_share else "psm"
        return cls(start, end, mode, rng.random() < line_share)


def training_task(tokenizer: Tokenizer, spans: Spans, draw: Draw) -> list[int] | None:
    """The ids that teach one insertion: bos (where prompts have it), the task, eos.

    None if the run of tokens does not begin and end between characters.
    """
    made = make_task(tokenizer, spans, draw)
    return None if made is None else made[0]


def make_task(tokenizer: Tokenizer, spans: Spans, draw: Draw) -> tuple[list[int], int] | None:
    """As `training_task`, with the number of ids that stand before the middle."""
    n_bytes = len(spans.raw)
    line = line_hole(spans.raw, int(draw.start * (n_bytes + 1))) if draw.is_line else None
    start, end = line or (
        spans.char_border(int(draw.start * (n_bytes + 1))),
        spans.char_border(int(draw.end * (n_bytes + 1))),
    )
    if draw.mode == "spm" and spans.raw[start - 1 : start] == b" ":
        start -= 1  # as in CursorPrompt: the blank goes with the word after it
    try:
        prefix, middle = spans.encode(0, start), spans.encode(start, end)
        suffix = spans.encode(end, n_bytes)
    except UnicodeDecodeError:
        return None
    eos = tokenizer.specials.eos
    assert eos is not None
    ids = [*tokenizer.start_ids, *join(tokenizer, prefix, middle, suffix, draw.mode), eos]
    return ids, len(ids) - len(middle) - 1


class CursorPrompt(list[int]):
    """The ids of a prompt at a cursor, and what the answer begins with that the caller has: it must
    (`is_certain`, tokens/healing.py), or it may.

    In SPM the prompt ends with the prefix. Where that ends with a blank, the blank is left to the
    answer: in this tokenizer a word's token includes the blank before it, so after a lone blank a
    word without one would be an uncommon continuation. In PSM with nothing after the hole,
    published models write the indentation of the cursor's line once more, or do not (seen in
    Qwen2.5-Coder); so it is left to the answer, unless no other line shows how the file is
    indented. The engine takes `lead` off the answer.
    """

    def __init__(self, ids: Sequence[int], lead: str = "", *, is_certain: bool = False) -> None:
        super().__init__(ids)
        self.lead, self.is_certain = lead, is_certain

    @property
    def forced(self) -> str:
        """What the answer must begin with; empty where nothing is certain."""
        return self.lead if self.is_certain else ""


def line_hole(raw: bytes, at: int) -> tuple[int, int] | None:
    """Begin and end, in bytes, of the line around byte `at` without its indentation and line end.

    A blank line gives way to the next one that is not; None if there is none.

    >>> line_hole(b"if a:\\n\\n    b()\\n", 6)
    (11, 14)
    """
    begin = raw.rfind(b"\n", 0, at) + 1
    while begin < len(raw):
        end = raw.find(b"\n", begin)
        end = len(raw) if end < 0 else end
        line = raw[begin:end].rstrip()
        if line:
            return begin + len(line) - len(line.lstrip()), begin + len(line)
        begin = end + 1
    return None


def insertion_prompt(  # noqa: PLR0913 -- a text, its order, its bound, healing
    tokenizer: Tokenizer,
    prefix: str,
    suffix: str,
    *,
    mode: FimMode | None = None,
    max_tokens: int | None = None,
    heals: bool = False,
) -> CursorPrompt:
    """The ids after which the model generates the text between `prefix` and `suffix`.

    `mode` None takes the order that the model was taught (Tokenizer.fim_mode).
    `heals` leaves the word that the prefix of a prompt in PSM ends with to the answer, which must
    begin with it (tokens/healing.py): models that were taught holes between tokens find the rest of
    a word more often, and the prompt does not change while one is typed.
    With `max_tokens` the prompt is no longer than that: the prefix loses its beginning, the suffix
    its end; what is near the hole stays, and the suffix gets a quarter of the room, or what the
    prefix leaves.

    Raises TokenizerError if the model has no FIM tokens or a part begins with a look-alike of one
    (a prompt built by hand; a file may quote them later in its text); RequestError if `max_tokens`
    has no room even for the marks.
    """
    _marks(tokenizer)
    mode = mode or tokenizer.fim_mode
    word = _last_word(prefix) if heals and mode == "psm" else ""
    lead = word or _lead(prefix, suffix, mode)
    is_certain = bool(word) or mode == "spm"
    if is_certain or _INDENTED.search(prefix, 0, len(prefix) - len(lead)):
        prefix = prefix.removesuffix(lead)
    for text in (prefix, suffix):
        tokenizer.refuse_lookalikes(text, at_start=True)
    head = tokenizer.start_ids
    if max_tokens is None:
        before, after = tokenizer.encode(prefix), tokenizer.encode(suffix)
    else:
        room = max_tokens - len(head) - 3
        if room < 1:
            raise RequestError(
                f"{max_tokens} tokens leave no room for an insertion prompt; allow more, or ask "
                "for a shorter answer",
                param="max_tokens",
            )
        before, after = _trim(tokenizer, prefix, suffix, room)
    ids = head + join(tokenizer, before, (), after, mode)
    return CursorPrompt(ids, lead, is_certain=is_certain)


def near_suffix(tokenizer: Tokenizer, suffix: str, n_tokens: int | None) -> str:
    """What a prompt takes of a suffix: in PSM, where it is computed again after every word, its
    beginning of at most so many tokens up to the end of a line; all in SPM, and for None.

    Where that would leave less than half of those tokens, the cut falls between two characters.
    """
    if n_tokens is None or tokenizer.fim_mode == "spm":
        return suffix
    near = suffix[: n_tokens * _CHARS_PER_TOKEN]
    ids = tokenizer.encode(near)
    if len(ids) <= n_tokens and len(near) == len(suffix):
        return suffix
    text = tokenizer.join_bytes(ids[:n_tokens]).decode("utf-8", errors="ignore")
    end = text.rfind("\n") + 1
    return text[:end] if 2 * end >= len(text) else text


def without_indentation(text: str) -> tuple[str, str]:
    r"""A text to be continued without the blanks of a line that only has blanks, and these.

    After them a model would meet no token that begins with a blank; it writes them itself.

    >>> without_indentation("if a:\n    "), without_indentation("x = ")
    (('if a:\n', '    '), ('x = ', ''))
    """
    line = text[text.rfind("\n") + 1 :]
    lead = line if not line.strip(" \t") else ""
    return text.removesuffix(lead), lead


def _last_word(prefix: str) -> str:
    """The word that a prefix ends with and the blank before it; empty after anything else."""
    found = _WORD.search(prefix, max(0, len(prefix) - _MAX_WORD - 1))
    return found[0] if found and len(found[0]) <= _MAX_WORD else ""


def _lead(prefix: str, suffix: str, mode: FimMode) -> str:
    """The blanks at the end of the prefix that the answer may begin with."""
    if mode == "spm":
        return " " if prefix.endswith(" ") else ""
    line = prefix[prefix.rfind("\n") + 1 :]
    return line if line and not line.strip(" \t") and not suffix.strip() else ""


def _marks(tokenizer: Tokenizer) -> tuple[int, int, int]:
    ids = tokenizer.specials
    if (
        not tokenizer.can_insert
        or ids.fim_begin is None
        or ids.fim_hole is None
        or ids.fim_end is None
    ):
        raise TokenizerError(
            "this model cannot insert: it was not trained with FIM tokens; ask for a completion "
            "of the prefix alone, or choose a model that has them"
        )
    return ids.fim_begin, ids.fim_hole, ids.fim_end


def _trim(tokenizer: Tokenizer, prefix: str, suffix: str, room: int) -> tuple[list[int], list[int]]:
    after = tokenizer.encode(suffix[: room * _CHARS_PER_TOKEN])
    before = tokenizer.encode(_last_part(prefix, room * _CHARS_PER_TOKEN))
    for_after = min(len(after), max(room // 4, room - len(before)))
    return _last_tokens(before, room - for_after), after[:for_after]


def _last_part(text: str, n_chars: int) -> str:
    """The last characters of a long text, from the start of a line; at least `n_chars` of them."""
    if len(text) <= 2 * n_chars:
        return text
    step = max(1, n_chars // _STEPS)
    start = (len(text) - n_chars) // step * step
    line = re.compile(r"\n").search(text, max(0, start - step), start)
    return text[line.end() if line else start :]


def _last_tokens(ids: list[int], room: int) -> list[int]:
    excess = len(ids) - room
    if excess <= 0:
        return ids
    step = max(1, room // _STEPS)
    return ids[-(-excess // step) * step :]
