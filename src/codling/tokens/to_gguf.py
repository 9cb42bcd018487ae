"""The metadata by which a GGUF file describes a tokenizer: from_gguf.py the other way.

Input: a Tokenizer and the parsed tokenizer.json it came from. Output: the `tokenizer.*` keys. Of
the splitter GGUF stores only a name. It is found by cutting a text with the tokenizer's splitter
and with each that is known, and proven by encoding it through the metadata: a tokenizer that would
come out as another is refused.

Not here: the file (checkpoint/gguf_writer.py).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import tokenizers

from codling.core.errors import TokenizerError
from codling.tokens.from_gguf import FIM_MODE, SPLITTERS, tokenizer_from_gguf
from codling.tokens.tokenizer import Tokenizer
from codling.tokens.validation import token_text

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
_CURE = "export it with --format hf"
_PROBE = (
    "def f(x: int) -> str:\n\treturn f'{x:>08.3f}'  # it's, WE'LL, don't\r\n\r\n"
    '    if (a[1234567] != b) && !c { s += "é ß 2½ x²"; }   \n\n\n'
    "Größe: 漢字かな交じり文, 한국어, кириллица, عربى ١٢٣ हिन्दी ไทย ①Ⅷ 👩‍💻 "
    "… “quoted”—dash \u3000 \u00a0x_y__z CamelCase HTTP2Server 3.14e-10 0xFF \\d+ \t  \n  end"
)
"""Letters, digits, signs, blanks and line ends of many kinds, each beside others."""
_EXTRA_MARKS = {
    "fim_pad": ("<|fim_pad|>", "<fim_pad>"),
    "fim_rep": ("<|repo_name|>", "<repo_name>", "<reponame>"),
    "fim_sep": ("<|file_sep|>", "<file_sep>"),
}
"""Marks that llama.cpp knows beside the three of an insertion."""


def tokenizer_metadata(
    tokenizer: Tokenizer, tokenizer_json: Mapping[str, Any], n_rows: int, architecture: str
) -> dict[str, Any]:
    """The keys of a model with `n_rows` rows of embeddings; what no token has is named [PADn].

    Raises TokenizerError if llama.cpp would read another tokenizer from them.
    """
    check_rows(tokenizer, n_rows)
    names, kinds = _vocabulary(tokenizer, tokenizer_json, n_rows)
    found: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": splitter_name(tokenizer_json),
        "tokenizer.ggml.tokens": names,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [
            merge if isinstance(merge, str) else " ".join(merge)
            for merge in tokenizer_json["model"].get("merges", ())
        ],
        "tokenizer.ggml.add_bos_token": tokenizer.adds_bos,
        **{f"tokenizer.ggml.{key}_token_id": i for key, i in _special_ids(tokenizer).items()},
        **_templates(tokenizer),
    }
    if tokenizer.fim_mode == "spm":
        found[FIM_MODE] = "spm"
    _prove(tokenizer, {"general.architecture": architecture, **found})
    return found


def check_rows(tokenizer: Tokenizer, n_rows: int) -> None:
    """TokenizerError if a model with `n_rows` rows of embeddings has none for some tokens."""
    if tokenizer.vocab_size > n_rows:
        raise TokenizerError(
            f"the tokenizer has {tokenizer.vocab_size} tokens but the model only {n_rows} rows; "
            "take both from the same checkpoint"
        )


def splitter_name(tokenizer_json: Mapping[str, Any]) -> str:
    """What llama.cpp calls the splitter of a tokenizer; TokenizerError if it is none of ours."""
    wanted = _cut(tokenizer_json.get("pre_tokenizer"))
    for name, parts in SPLITTERS.items():
        if _cut({"type": "Sequence", "pretokenizers": parts}) == wanted:
            return name
    raise TokenizerError(f"llama.cpp has no name for this tokenizer's splitter; {_CURE}")


def _cut(splitter: object) -> Sequence[object]:
    """The pieces of the probe, named by bytes as byte-level BPE does."""
    whole = {"version": "1.0", "added_tokens": [], "pre_tokenizer": splitter}
    whole["model"] = {"type": "BPE", "vocab": {}, "merges": []}
    found = tokenizers.Tokenizer.from_str(json.dumps(whole)).pre_tokenizer
    return [] if found is None else list(found.pre_tokenize_str(_PROBE))


def _vocabulary(
    tokenizer: Tokenizer, tokenizer_json: Mapping[str, Any], n_rows: int
) -> tuple[list[str], list[int]]:
    """Name and type of every row."""
    names = [f"[PAD{i}]" for i in range(n_rows)]
    kinds = [_UNUSED] * n_rows
    for text, i in tokenizer_json["model"]["vocab"].items():
        names[i], kinds[i] = text, _NORMAL
    for added in tokenizer_json["added_tokens"]:
        is_control = added.get("special") or added["content"] in tokenizer.control_tokens
        names[added["id"]] = added["content"]
        kinds[added["id"]] = _CONTROL if is_control else _USER_DEFINED
    for text, i in tokenizer.control_tokens.items():  # also those that some files leave out
        names[i], kinds[i] = text, _CONTROL
    return names, kinds


def _special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    special = tokenizer.specials
    text = token_text(tokenizer.config.get("eos_token"))
    ids = {
        "bos": special.bos,
        "eos": None if text is None else tokenizer.token_id(text),
        "padding": special.pad,
        "eot": special.eot,
    }
    if ids["eos"] is None:
        ids["eos"] = special.eos
    if tokenizer.can_insert:
        marks = (special.fim_begin, special.fim_hole, special.fim_end)
        ids |= dict(zip(("fim_pre", "fim_suf", "fim_mid"), marks, strict=True))
        for key, texts in _EXTRA_MARKS.items():
            ids[key] = next((i for t in texts if (i := tokenizer.token_id(t)) is not None), None)
    return {key: i for key, i in ids.items() if i is not None}


def _templates(tokenizer: Tokenizer) -> dict[str, Any]:
    """The chat templates: the usual one under its key, others with their names."""
    own: Mapping[str, str] = tokenizer.config.get("chat_template") or {}
    key = "tokenizer.chat_template"
    found: dict[str, Any] = {
        key if name == "default" else f"{key}.{name}": source for name, source in own.items()
    }
    if others := sorted(name for name in own if name != "default"):
        found["tokenizer.chat_templates"] = others
    return found


def _prove(tokenizer: Tokenizer, metadata: Mapping[str, Any]) -> None:
    """Refuse metadata from which another tokenizer comes out."""
    again = tokenizer_from_gguf(metadata)
    if again.encode(_PROBE) != tokenizer.encode(_PROBE) or again.adds_bos != tokenizer.adds_bos:
        raise TokenizerError(
            f"this tokenizer gives other tokens when it is described as GGUF does; {_CURE}"
        )
