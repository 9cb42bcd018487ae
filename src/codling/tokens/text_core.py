"""The part of a tokenizer that encodes text and nothing else.

Input: the parsed tokenizer.json, and which of its tokens are special. Output: a tokenizer of the
`tokenizers` library that does not know these: no text, whatever it looks like, becomes one of them.

Not here: where special tokens stand in a prompt (tokenizer.py, chat.py, fim.py).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import tokenizers
from tokenizers.models import BPE

from codling.core.errors import TokenizerError

_LISTS = {"type", "vocab", "merges"}
_OPTIONS = {
    "dropout",
    "unk_token",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "fuse_unk",
    "byte_fallback",
    "ignore_merges",
}


def text_core(tokenizer_json: Mapping[str, Any], control: Collection[str]) -> tokenizers.Tokenizer:
    """The tokenizer without the special tokens `control`; TokenizerError if it cannot be read."""
    kept = [a for a in tokenizer_json["added_tokens"] if a["content"] not in control]
    stripped = {**tokenizer_json, "added_tokens": kept, "post_processor": None}
    stripped["model"] = _without(tokenizer_json["model"], control)
    stripped |= {"truncation": None, "padding": None}
    try:
        core = _build(stripped)
        if any(core.token_to_id(a["content"]) != a["id"] for a in kept):
            # The library numbers added tokens one after the other, whatever their ids, unless the
            # model's vocabulary holds them: a special token that is gone would lend its number.
            named = {a["content"]: a["id"] for a in kept}
            vocab = {**stripped["model"]["vocab"], **named}
            core = _build({**stripped, "model": {**stripped["model"], "vocab": vocab}})
    except Exception as error:  # noqa: BLE001 -- the library raises bare Exception
        raise TokenizerError(f"the tokenizer cannot be read: {error}; fetch it again") from None
    return core


def _build(tokenizer_json: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """What `from_str` makes of the file, without writing and parsing a vocabulary where it is a
    plain BPE: a third of the time."""
    model = tokenizer_json["model"]
    pairs: list[Any] = [tuple(m.split(" ") if isinstance(m, str) else m) for m in model["merges"]]
    is_plain = model.keys() <= _LISTS | _OPTIONS and set(map(len, pairs)) <= {2}
    if tokenizer_json["added_tokens"] or not is_plain:
        return tokenizers.Tokenizer.from_str(json.dumps(tokenizer_json))
    empty = {**tokenizer_json, "model": {"type": "BPE", "vocab": {}, "merges": []}}
    core = tokenizers.Tokenizer.from_str(json.dumps(empty))
    options = {k: v for k, v in model.items() if k in _OPTIONS and v is not None}
    core.model = BPE(vocab=model["vocab"], merges=pairs, **options)
    return core


def inside_core(
    tokenizer_json: Mapping[str, Any], control: Collection[str]
) -> tokenizers.Tokenizer | None:
    """The same for text that does not begin the prompt, where that is read in another way.

    A SentencePiece tokenizer may put a blank before the first text only (its "prepend_scheme" is
    "first"), not before one that follows a special token. None for all others.
    """
    splitter = tokenizer_json.get("pre_tokenizer")
    later = _without_first_blank(splitter)
    if later == splitter:
        return None
    return text_core({**tokenizer_json, "pre_tokenizer": later}, control)


def _without_first_blank(part: object) -> object:
    """A pre-tokenizer, or a list of them, that puts no blank before the first text."""
    if isinstance(part, list):
        return [_without_first_blank(p) for p in part]
    if not isinstance(part, dict):
        return part
    changed = {key: _without_first_blank(value) for key, value in part.items()}
    return changed | ({"prepend_scheme": "never"} if part.get("prepend_scheme") == "first" else {})


def _without(model: Mapping[str, Any], control: Collection[str]) -> Mapping[str, Any]:
    """The BPE without special tokens that some files list in its vocabulary too."""
    listed = (set(control) & set(model["vocab"])) - {model.get("unk_token")}
    if not listed:
        return model
    merges = [m for m in model["merges"] if _merge_pair(m) not in listed]
    vocab = {text: token_id for text, token_id in model["vocab"].items() if text not in listed}
    return {**model, "vocab": vocab, "merges": merges}


def _merge_pair(merge: str | Sequence[str]) -> str:
    return merge.replace(" ", "", 1) if isinstance(merge, str) else "".join(merge)
