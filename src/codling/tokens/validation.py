"""The files of a tokenizer, checked before a tokenizer is made of them.

Input: the parsed contents of tokenizer.json and tokenizer_config.json, or the token lists of a GGUF
file, which others wrote. Output: TokenizerError that names file and place, or nothing. A table of
tokens is made only after every id is known to be small.

Not here: parts that the `tokenizers` library reads itself (it refuses what it does not know), and
chat templates (chat.py).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

from codling.core.errors import TokenizerError
from codling.core.foreign_json import read_object

MAX_TOKENS = 1 << 22
"""Sixteen times the largest published vocabulary."""
_TEXTS = ("bos_token", "eos_token", "pad_token", "unk_token")
_MARKS = ("fim_begin_token", "fim_hole_token", "fim_end_token")
_FLAGS = ("add_bos_token", "add_eos_token")
_PARTS = ("normalizer", "pre_tokenizer", "decoder", "post_processor")
_MAX_GROWTH = 64
"""How many times as long replacements may make a text; published ones keep its length."""
_SHOWN = 60
_ID_RULE = f"a number from 0 to {MAX_TOKENS - 1:,}"


def read_tokenizer_json(path: Path) -> dict[str, Any]:
    """The contents of a tokenizer.json, with a list of added tokens even if it has none."""
    value = read_object(path, TokenizerError)
    check_tokenizer_json(value, str(path))
    return value | {"added_tokens": value.get("added_tokens") or []}


def read_tokenizer_config(path: Path) -> dict[str, Any]:
    """The contents of a tokenizer_config.json; nothing if there is no such file."""
    value = read_optional(path)
    check_tokenizer_config(value, str(path))
    return value


def read_optional(path: Path) -> dict[str, Any]:
    """The object in a settings file; nothing if there is no such file."""
    # A link that leads nowhere is a fault, not an absent file.
    return read_object(path, TokenizerError) if path.exists() or path.is_symlink() else {}


def check_tokenizer_json(value: Mapping[str, Any], where: str) -> None:
    """Refuse a tokenizer.json whose tokens, ids or merges are not of their types."""
    model = value.get("model")
    if not isinstance(model, Mapping):
        _refuse(where, "model", model, "an object")
    for name in _PARTS:
        if not isinstance(value.get(name), Mapping | None):
            _refuse(where, name, value[name], "an object")
        if _growth(value.get(name)) > _MAX_GROWTH:
            _refuse(where, name, value[name], f"one that adds less: {_MAX_GROWTH} times at most")
    if model.get("type", "BPE") != "BPE":
        return  # refused by its name later
    vocabulary = model.get("vocab")
    if not isinstance(vocabulary, Mapping) or not vocabulary:
        _refuse(where, "model.vocab", vocabulary, "an object of tokens and their ids")
    if not isinstance(model.get("merges"), list):
        _refuse(where, "model.merges", model.get("merges"), "a list")
    ids = _index_by_id(vocabulary, where)
    _check_added(value.get("added_tokens"), ids, where)


def _growth(part: object) -> int:
    """How many times as long a part's replacements can make a text: each works on the output of the
    one before it. The nesting is bounded by the reader of JSON."""
    if isinstance(part, list):
        return prod(map(_growth, part))
    if not isinstance(part, Mapping):
        return 1
    content = part.get("content") if part.get("type") == "Replace" else ""
    own = max(1, len(content)) if isinstance(content, str) else 1
    return own * prod(_growth(v) for v in part.values() if isinstance(v, Mapping | list))


def check_tokenizer_config(value: Mapping[str, Any], where: str) -> None:
    """Refuse a tokenizer_config.json whose special tokens or switches are not of their types."""
    for key in (*_TEXTS, *_MARKS):
        entry = value.get(key)
        if entry is not None and token_text(entry) is None:
            _refuse(where, key, entry, "a token's text")
    for key in _FLAGS:
        if not isinstance(value.get(key), bool | None):
            _refuse(where, key, value[key], "true or false")


def token_text(entry: object) -> str | None:
    """The text of a token as tokenizer_config.json names it: a string or an AddedToken."""
    text = entry.get("content") if isinstance(entry, Mapping) else entry
    return text if isinstance(text, str) else None


def check_names(names: object, types: object, merges: object, prefix: str) -> None:
    """Refuse a GGUF file's lists of tokens, their types and merges if they cannot belong together.

    `prefix` stands before the names of the lists in messages.
    """
    if not _are_texts(names) or not 1 <= len(names) <= MAX_TOKENS:
        _refuse("the GGUF file", f"{prefix}tokens", names, "a list of texts")
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        _refuse("the GGUF file", f"{prefix}tokens", twice, "each token once")
    if types is not None and not (
        isinstance(types, list) and len(types) == len(names) and set(map(type, types)) <= {int}
    ):
        _refuse("the GGUF file", f"{prefix}token_type", types, "a number for each token")
    if merges is None:
        raise TokenizerError(
            f"the GGUF file has no {prefix}merges, without which text cannot be cut into tokens; "
            "convert the model again with a current llama.cpp"
        )
    if not _are_texts(merges) or not all(" " in merge for merge in merges):
        _refuse("the GGUF file", f"{prefix}merges", merges, "a list of pairs")


def token_at(names: Sequence[str], token_id: object, key: str) -> str:
    """The token of an id that a GGUF file names; TokenizerError if there is none."""
    if type(token_id) is not int or not 0 <= token_id < len(names):
        _refuse("the GGUF file", key, token_id, f"an id from 0 to {len(names) - 1:,}")
    return names[token_id]


def _are_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and set(map(type, value)) <= {str}


def _index_by_id(vocabulary: Mapping[str, Any], where: str) -> dict[int, str]:
    """The tokens by their ids, each of which must be small and one token's only."""
    found: dict[int, str] = {}
    for text, token_id in vocabulary.items():
        if type(token_id) is not int or not 0 <= token_id < MAX_TOKENS:
            _refuse(where, f"the id of {text[:_SHOWN]!r}", token_id, _ID_RULE)
        if found.setdefault(token_id, text) != text:
            _refuse_double(where, found[token_id], text, token_id)
    return found


def _check_added(added: object, ids: dict[int, str], where: str) -> None:
    if not isinstance(added, list | None):
        _refuse(where, "added_tokens", added, "a list")
    for number, entry in enumerate(added or []):
        token_id = entry.get("id") if isinstance(entry, Mapping) else None
        text = entry.get("content") if isinstance(entry, Mapping) else None
        if not isinstance(text, str) or not text:
            _refuse(where, f"added token {number}", entry, "a token with its text")
        if type(token_id) is not int or not 0 <= token_id < MAX_TOKENS:
            _refuse(where, f"the id of {text[:_SHOWN]!r}", token_id, _ID_RULE)
        if ids.setdefault(token_id, text) != text:
            _refuse_double(where, ids[token_id], text, token_id)


def _refuse_double(where: str, one: str, other: str, token_id: int) -> NoReturn:
    both = f"{one[:_SHOWN]!r} and {other[:_SHOWN]!r}"
    raise TokenizerError(f"{where}: {both} have one id, {token_id}; fetch it again")


def _refuse(where: str, what: str, value: object, rule: str) -> NoReturn:
    shown = repr(value[:3] if isinstance(value, list) else value)
    shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
    raise TokenizerError(f"{where}: {what} is {shown}, but must be {rule}; fetch it again")
