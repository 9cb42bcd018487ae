"""Text to token ids and back, for our own tokenizers and every published one.

Input: a folder with tokenizer.json (and tokenizer_config.json, config.json where they are), or the
file. Output: a Tokenizer: ids, text, bytes, special tokens, stops; StreamDecoder for text as it is
generated.

The file goes to the `tokenizers` library directly: transformers 5 rebuilds coder-v1's and loses
spaces (transformers#46489). Text is text: the special tokens in it are only read as such when asked
for.

Not here: training (bpe.py), insertion prompts (fim.py), chat (chat.py), GGUF (from_gguf.py).
"""

import codecs
import json
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import tokenizers

from codling.core.errors import TokenizerError, name_faults
from codling.tokens.families import SPLITS, SplitsName, TokenizerFamily, resolve
from codling.tokens.template_files import read_templates
from codling.tokens.text_core import inside_core, text_core
from codling.tokens.validation import (
    read_optional,
    read_tokenizer_config,
    read_tokenizer_json,
    token_text,
)

ByteChars = Literal["round-trip", "exact"]
StopMode = Literal["complete", "insert", "chat"]
Piece = str | int
"""A part of a prompt: text, which never becomes a special token, or the id of one."""

_LONG = 4096
"""Characters that take a millisecond or so to encode."""
_CONTROL = re.compile(r"<.*>|\[[A-Z_0-9]+\]", re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


@dataclass(frozen=True, kw_only=True)
class SpecialTokens:
    """The ids of the special tokens; None where the tokenizer has none."""

    bos: int | None = None
    eos: int | None = None
    pad: int | None = None
    fim_hole: int | None = None
    fim_begin: int | None = None
    fim_end: int | None = None
    user: int | None = None
    assistant: int | None = None
    eot: int | None = None


class Tokenizer:
    """A byte-level BPE with its special tokens.

    `byte_chars` decides on the 13 characters of which coder-v1 and llm have added tokens (such as
    the u umlaut, 32009). The ids are always the published ones; "round-trip" decodes them to the
    character, "exact" to what the published tokenizer gives, a replacement character.
    """

    def __init__(
        self,
        tokenizer_json: Mapping[str, Any],
        *,
        tokenizer_config: Mapping[str, Any] | None = None,
        model_config: Mapping[str, Any] | None = None,
        byte_chars: ByteChars = "round-trip",
    ) -> None:
        """From the parsed contents of tokenizer.json, tokenizer_config.json and config.json."""
        self.config = dict(tokenizer_config or {})
        self._model_config = dict(model_config or {})
        added = {a["content"]: a["id"] for a in tokenizer_json["added_tokens"]}
        n_base = len(set(_vocabulary(tokenizer_json)) - set(added))
        self.family: TokenizerFamily = resolve(
            added, n_base, self._model_config
        ) or _describe_unknown(self.config, self._model_config, added)
        _add_missing(added, self.family, n_base)
        self._added = added
        self._control = _control_tokens(tokenizer_json, added)
        self._control_ids = frozenset(self._control.values())
        self._control_pattern = _any_of(self._control)
        self._lookalike_pattern = _lookalikes(self.family)
        self._core = text_core(tokenizer_json, self._control)
        self._core_inside = inside_core(tokenizer_json, self._control) or self._core
        self.splits = _known_splits(tokenizer_json, self._control)
        self._bytes = _byte_table(tokenizer_json, added, self.family, byte_chars)
        self.strips_space = _strips_space(tokenizer_json)
        self.specials = _special_ids(self.family, added | _vocabulary(tokenizer_json))

    @classmethod
    def open(cls, path: Path, *, byte_chars: ByteChars = "round-trip") -> Self:
        """The tokenizer of a folder or of a tokenizer.json; TokenizerError if there is none."""
        folder, file = (path, path / "tokenizer.json") if path.is_dir() else (path.parent, path)
        if not file.exists():
            raise TokenizerError(f"no tokenizer.json at {path}; name a folder that holds one")
        if file.suffix == ".gguf":
            raise TokenizerError(
                f"{path} is a GGUF file; name its tokenizer's folder, which codling adopt makes"
            )
        with name_faults(file, TokenizerError):
            config = read_tokenizer_config(folder / "tokenizer_config.json")
            return cls(
                read_tokenizer_json(file),
                tokenizer_config=config | {"chat_template": read_templates(folder, config)},
                model_config=read_optional(folder / "config.json"),
                byte_chars=byte_chars,
            )

    @property
    def fim_mode(self) -> Literal["psm", "spm"]:
        """The order of insertion prompts that the model was taught: what tokenizer_config.json says
        under "fim_mode" (written by our training), PSM for every published model."""
        return "spm" if self.config.get("fim_mode") == "spm" else "psm"

    @property
    def vocab_size(self) -> int:
        """One more than the largest id; a model may have more rows than that, as padding."""
        return len(self._bytes)

    @property
    def can_insert(self) -> bool:
        """Whether the model was trained to fill a hole: FIM tokens, and not the 236B of V2."""
        ids = (self.specials.fim_begin, self.specials.fim_hole, self.specials.fim_end)
        is_236b = self._model_config.get("n_routed_experts") == 160
        return None not in ids and not (self.family.name == "v2" and is_236b)

    @property
    def start_ids(self) -> list[int]:
        """What documents and prompts begin with: bos where the model wants it, else nothing."""
        bos = self.specials.bos
        return [bos] if self.adds_bos and bos is not None else []

    @property
    def adds_bos(self) -> bool:
        """Whether documents and prompts begin with `specials.bos`."""
        return self.specials.bos is not None and bool(
            self.config.get("add_bos_token", self.family.adds_bos)
        )

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        """The ids of `text`; nothing is added. Special tokens in the text are text, unless allowed.

        Raises TokenizerError if the text holds half of a surrogate pair.
        """
        if allow_special:
            return self.encode_pieces(self.split_special(text))
        if len(text) > _LONG and threading.current_thread() is not threading.main_thread():
            return self.encode_batch([text])[0]  # which releases the GIL
        return self._encode(self._core, text)

    def encode_pieces(self, pieces: Iterable[Piece]) -> list[int]:
        """The ids of a prompt in pieces: a special token by its id, everything else as text.

        Neighbouring texts are read as one: where one ends is not a border between tokens.
        """
        ids: list[int] = []
        texts: list[str] = []
        for piece in [*pieces, None]:
            if isinstance(piece, str):
                texts.append(piece)
                continue
            if text := "".join(texts):
                ids += self._encode(self._core_inside if ids else self._core, text)
            texts.clear()
            if piece is not None:
                ids.append(piece)
        return ids

    def split_special(self, text: str) -> list[Piece]:
        """A trusted text in pieces: the special tokens in it are read as such."""
        pieces: list[Piece] = []
        start = 0
        for match in self._control_pattern.finditer(text):
            pieces += [text[start : match.start()], self._control[match.group()]]
            start = match.end()
        return [*pieces, text[start:]]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of many texts, on all cores (TOKENIZERS_PARALLELISM=false: on one)."""
        try:
            done = self._core.encode_batch_fast(list(texts), add_special_tokens=False)
        except (TypeError, UnicodeEncodeError):
            raise next(_surrogate_error(t) for t in texts if surrogate_at(t) is not None) from None
        except BaseException as error:
            _name_panic(error)
            raise
        return [e.ids for e in done]

    def encode_prompt(self, text: str) -> list[int]:
        """The ids of a user's prompt: `bos` first where the model wants it, special tokens read as
        such.

        Raises TokenizerError for a look-alike of a special token.
        """
        self.refuse_lookalikes(text)
        ids = self.encode_pieces(self.split_special(text))
        start = self.start_ids
        return ids if ids[: len(start)] == start else start + ids

    def decode(self, ids: Iterable[int], *, skip_special: bool = True) -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD."""
        skipped = self._control_ids if skip_special else frozenset()
        raw = b"".join(self.token_bytes(i) for i in ids if i not in skipped)
        text = raw.decode("utf-8", errors="replace")
        return text[1:] if self.strips_space and text.startswith(" ") else text

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for; nothing for the padding rows of a model."""
        return self._bytes[token_id] if 0 <= token_id < len(self._bytes) else b""

    def join_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of a run of tokens, special ones included; all ids must be in the
        vocabulary."""
        return b"".join(map(self._bytes.__getitem__, ids))

    @cached_property
    def token_lengths(self) -> npt.NDArray[np.int64]:
        """How many bytes each token stands for, [vocab_size]."""
        return np.array([len(b) for b in self._bytes], dtype=np.int64)

    def is_special(self, token_id: int) -> bool:
        """Whether a token is a mark of the format, not text."""
        return token_id in self._control_ids

    def special_text(self, token_id: int) -> str:
        """The text that stands for a special token, for example in a chat template."""
        return self.token_bytes(token_id).decode("utf-8", errors="replace")

    @property
    def control_tokens(self) -> Mapping[str, int]:
        """The special tokens, by their text."""
        return self._control

    def token_id(self, text: str) -> int | None:
        """The id of a special token, by its text."""
        return self._control.get(text)

    def stop_ids(self, mode: StopMode) -> frozenset[int]:
        """The tokens that end an answer.

        "complete" and "insert" end at the base model's end, also in instruct models, which would
        end code too early at their own; "chat" ends with the turn.
        """
        ids = {self.specials.eos}
        if mode == "complete":
            ids |= {self._control.get(t) for t in self.family.complete_stops}
        if mode == "insert":
            ids |= {self._control.get(t) for t in self.family.insert_stops}
        if mode == "chat":
            ids.add(self.specials.eot)
            ids.add(self._control.get(token_text(self.config.get("eos_token")) or ""))
        return frozenset(i for i in ids if i is not None)

    def refuse_lookalikes(self, text: str, *, at_start: bool = False) -> None:
        """Raise TokenizerError if `text` holds a special token in mistyped characters.

        With `at_start` only if it begins with one: further on, a file may quote them.
        """
        start = len(text) - len(text.lstrip()) if at_start else 0
        found = self._lookalike_pattern.match(text, start) if at_start else None
        matches = [found] if found else [] if at_start else self._lookalike_pattern.finditer(text)
        for match in matches:
            if match.group() not in self._control:
                raise TokenizerError(
                    f"the prompt holds {match.group()}, which only looks like the special token "
                    f"{_nearest(match.group(), self._control)}; use that spelling, or send prefix "
                    "and suffix apart and let codling place the tokens"
                )

    def _encode(self, core: tokenizers.Tokenizer, text: str) -> list[int]:
        try:
            ids: list[int] = core.encode(text, add_special_tokens=False).ids
        except (TypeError, UnicodeEncodeError):
            raise _surrogate_error(text) from None
        except BaseException as error:
            _name_panic(error)
            raise
        return ids


def _name_panic(error: BaseException) -> None:
    """Raise a panic of the library, which is no Exception, as our own error: there are texts on
    which a foreign tokenizer's regular expressions fail."""
    if type(error).__name__ == "PanicException":
        reason = " ".join(str(error).split())[:100]
        raise TokenizerError(
            f"the tokenizer fails on this text ({reason}); take another"
        ) from error


class StreamDecoder:
    """Text of a growing list of ids: never half a character, in sum equal to `decode` of all.

    With `continues` the ids follow others: a blank at their beginning is kept.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, continues: bool = False, shown: Iterable[str] = ()
    ) -> None:
        """`shown`: special tokens that are text all the same."""
        self._tokenizer = tokenizer
        self._shown = {tokenizer.token_id(text) for text in shown}
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._at_start = tokenizer.strips_space and not continues

    def push(self, token_id: int) -> str:
        """The characters that `token_id` completes; special tokens give none."""
        if self._tokenizer.is_special(token_id) and token_id not in self._shown:
            return ""
        return self._strip(self._utf8.decode(self._tokenizer.token_bytes(token_id)))

    def flush(self) -> str:
        """What is left at the end: U+FFFD for an incomplete character."""
        return self._strip(self._utf8.decode(b"", final=True))

    def _strip(self, text: str) -> str:
        if text and self._at_start:
            self._at_start = False
            return text.removeprefix(" ")
        return text


def byte_level_alphabet() -> dict[str, int]:
    """The printable character by which byte-level BPE names each byte (GPT-2's table).

    >>> byte_level_alphabet()["Ġ"]
    32
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


def _vocabulary(tokenizer_json: Mapping[str, Any]) -> dict[str, int]:
    model = tokenizer_json.get("model", {})
    if model.get("type", "BPE") != "BPE":
        raise TokenizerError(
            f"the tokenizer is of type {model['type']}; codling reads BPE, as all code models use"
        )
    vocabulary: dict[str, int] = model["vocab"]
    return vocabulary


def _describe_unknown(
    config: Mapping[str, Any], model_config: Mapping[str, Any], added: Mapping[str, int]
) -> TokenizerFamily:
    """The family of a tokenizer that is not in the table, as far as its files tell."""
    names = {id_: text for text, id_ in added.items()}

    def find_named(key: str) -> str | None:
        token_id = model_config.get(f"{key}_id")
        by_id = names.get(token_id) if isinstance(token_id, int) else None
        return token_text(config.get(key)) or by_id

    return TokenizerFamily(
        name="other",
        bos=find_named("bos_token"),
        eos=find_named("eos_token"),
        pad=find_named("pad_token"),
        fim_begin=find_named("fim_begin_token"),
        fim_hole=find_named("fim_hole_token"),
        fim_end=find_named("fim_end_token"),
        adds_bos=bool(config.get("add_bos_token")),
    )


def _add_missing(added: dict[str, int], family: TokenizerFamily, n_base: int) -> None:
    taken = set(added.values())
    for token_id, text in (family.missing or {}).items():
        if text not in added and token_id not in taken and token_id >= n_base:
            added[text] = token_id


def _control_tokens(tokenizer_json: Mapping[str, Any], added: Mapping[str, int]) -> dict[str, int]:
    """The added tokens that are marks, not text: not the byte characters, nor runs of spaces."""
    special = {a["content"] for a in tokenizer_json["added_tokens"] if a.get("special")}
    return {t: i for t, i in added.items() if t in special or _CONTROL.fullmatch(t)}


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """Matches any of the texts, the longest first; nothing if there are none."""
    ordered = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered)) if ordered else r"(?!)")


def _lookalikes(family: TokenizerFamily) -> re.Pattern[str]:
    """Matches the sentence and FIM tokens in every mix of the characters that people confuse."""
    own = {family.bos, family.eos, family.fim_begin, family.fim_hole}
    texts = {t for t in (*own, family.fim_end) if t}
    bars, spaces = "[|\uff5c]", "[_\u2581 ]"
    classes = {"|": bars, "\uff5c": bars, "_": spaces, "\u2581": spaces}
    patterns = ("".join(classes.get(c, re.escape(c)) for c in t) for t in sorted(texts))
    return re.compile("|".join(patterns) if texts else r"(?!)")


def _nearest(text: str, control: Mapping[str, int]) -> str:
    def simplify(t: str) -> str:
        return t.replace("\uff5c", "|").replace("\u2581", "_").replace(" ", "_")

    return next(t for t in control if simplify(t) == simplify(text))


def _known_splits(
    tokenizer_json: Mapping[str, Any], control: Mapping[str, int]
) -> SplitsName | None:
    """The splitter by which alone words are found, with no normaliser and no added text tokens;
    None for all others."""
    parts = (tokenizer_json.get("pre_tokenizer") or {}).get("pretokenizers") or [{}]
    patterns = tuple(
        p["pattern"].get("Regex", "").replace("\r", r"\r").replace("\n", r"\n")
        for p in parts[:-1]
        if p["type"] == "Split" and p["behavior"] == "Isolated" and not p["invert"]
    )
    last = parts[-1]
    is_plain = (
        len(parts) == len(patterns) + 1
        and last.get("type") == "ByteLevel"
        and not (last.get("use_regex") or last.get("add_prefix_space"))
        and not tokenizer_json.get("normalizer")
        and all(a["content"] in control for a in tokenizer_json["added_tokens"])
    )
    return next((n for n, known in SPLITS.items() if is_plain and patterns == known), None)


def _byte_table(
    tokenizer_json: Mapping[str, Any],
    added: Mapping[str, int],
    family: TokenizerFamily,
    byte_chars: ByteChars,
) -> list[bytes]:
    vocabulary = _vocabulary(tokenizer_json)
    table = [b""] * (1 + max([*vocabulary.values(), *added.values()], default=-1))
    to_bytes = _byte_level if _has_part(tokenizer_json, "ByteLevel") else _sentencepiece
    alphabet = byte_level_alphabet()
    for text, token_id in vocabulary.items():
        table[token_id] = to_bytes(text, alphabet)
    for text, token_id in added.items():
        exact = byte_chars == "exact" and text in family.byte_chars
        table[token_id] = _byte_level(text, alphabet) if exact else text.encode()
    return table


def _byte_level(text: str, alphabet: Mapping[str, int]) -> bytes:
    try:
        return bytes(map(alphabet.__getitem__, text))
    except KeyError:
        return text.encode()


def _sentencepiece(text: str, _alphabet: Mapping[str, int]) -> bytes:
    if match := _BYTE_TOKEN.fullmatch(text):
        return bytes([int(match.group(1), 16)])
    return text.replace("\u2581", " ").encode()


def _has_part(tokenizer_json: Mapping[str, Any], kind: str) -> bool:
    return f'"type": "{kind}"' in json.dumps(tokenizer_json.get("decoder"))


def _strips_space(tokenizer_json: Mapping[str, Any]) -> bool:
    """Whether the decoder drops the space that a SentencePiece tokenizer puts before the text."""
    return _has_part(tokenizer_json, "Strip") or _has_part(tokenizer_json, "Metaspace")


def _special_ids(family: TokenizerFamily, ids: Mapping[str, int]) -> SpecialTokens:
    named = {f.name: getattr(family, f.name) for f in fields(SpecialTokens)}
    return SpecialTokens(**{n: ids[t] for n, t in named.items() if t is not None and t in ids})


def surrogate_at(text: str) -> int | None:
    """Where a text holds half of a surrogate pair, which no Unicode text does; None if nowhere."""
    match = None if text.isascii() else _SURROGATE.search(text)
    return None if match is None else match.start()


def _surrogate_error(text: str) -> TokenizerError:
    at = surrogate_at(text)
    assert at is not None
    return TokenizerError(
        f"the text holds half a surrogate pair (U+{ord(text[at]):04X}) at character {at}; send "
        "valid Unicode"
    )
