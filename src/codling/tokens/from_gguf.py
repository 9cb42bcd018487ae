"""A tokenizer from the metadata of a GGUF file.

Input: the `tokenizer.ggml.*` keys as plain values, as checkpoint/ reads them. Output: a Tokenizer
like that of the published files. GGUF stores the vocabulary and the merges, but of the splitter
only a name (`tokenizer.ggml.pre`); the splitters are here, as the published tokenizer.json files
have them.

Not here: reading the file (checkpoint/), and SentencePiece vocabularies, which no code model here
uses.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codling.core.errors import TokenizerError
from codling.tokens.families import CODER_V1, CODER_V1_SPLITS, QWEN2_SPLIT, TokenizerFamily, resolve
from codling.tokens.tokenizer import ByteChars, Tokenizer
from codling.tokens.validation import check_names, token_at

FIM_MODE = "codling.fim_mode"
"""Our own key: the order of insertion prompts, where it is not PSM."""
_TEMPLATE = "tokenizer.chat_template"
_KEYS = "tokenizer.ggml."
_NORMAL, _CONTROL, _UNUSED = 1, 3, 5
_ARCHITECTURES = {"deepseek2": "deepseek_v2"}
_CASED = (
    "41-5a 61-7a b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376 377 37b-37d 37f "
    "386 388-38a 38c 38e-3a1 3a3-3f5 3f7-481 48a-52f 531-556 10a0-10c5 13a0-13f5 13f8-13fd "
    "1c90-1cba 1cbd-1cbf 1d00-1d2b 1d6b-1d77 1d79-1d9a 1e00-1f15 1f18-1f1d 1f20-1f45 "
    "1f48-1f4d 1f50-1f57 1f59 1f5b 1f5d 1f5f-1f7d 1f80-1fb4 1fb6-1fbc 1fbe 1fc2-1fc4 "
    "1fc6-1fcc 1fd0-1fd3 1fd6-1fdb 1fe0-1fec 1ff2-1ff4 1ff6-1ffc 2102 2107 210a-2113 2115 "
    "2119-211d 2124 2126 2128 212a-212d 212f-2134 2139 213c-213f 2145-2149 214e 2183 2184 "
    "2c00-2c7b 2c7e-2ce4 2ceb-2cee 2cf2 2cf3 a640-a66d a680-a69b a722-a76f a771-a787 "
    "a78b-a78e ab70-abbf fb00-fb06 fb13-fb17 ff21-ff3a ff41-ff5a 10400-1044f 104b0-104d3 "
    "104d8-104fb 10c80-10cb2 10cc0-10cf2 118a0-118df 1e900-1e943 "
)
"""The letters of V2's words, in hexadecimal ranges: the cased letters of an early Unicode
version."""


@dataclass(frozen=True)
class TokenizerFiles:
    """The contents of the files that a published tokenizer would have."""

    tokenizer_json: dict[str, Any]
    tokenizer_config: dict[str, Any]
    model_config: dict[str, Any]
    """Of config.json only what tokens depend on."""


def tokenizer_from_gguf(
    metadata: Mapping[str, Any], *, byte_chars: ByteChars = "round-trip"
) -> Tokenizer:
    """The tokenizer that a GGUF file holds.

    Raises TokenizerError if it holds none, or one whose kind or splitter is unknown.
    """
    files = tokenizer_files(metadata)
    return Tokenizer(
        files.tokenizer_json,
        tokenizer_config=files.tokenizer_config,
        model_config=files.model_config,
        byte_chars=byte_chars,
    )


def tokenizer_files(metadata: Mapping[str, Any]) -> TokenizerFiles:
    """The files of the tokenizer that a GGUF file holds; TokenizerError as tokenizer_from_gguf."""
    kind = metadata.get("tokenizer.ggml.model")
    if kind != "gpt2":
        raise TokenizerError(
            f"the GGUF file's tokenizer is of kind {kind!r}; codling reads byte-level BPE (gpt2)"
        )
    tokens: Any
    tokens, kinds, merges = (metadata.get(_KEYS + k) for k in ("tokens", "token_type", "merges"))
    check_names(tokens, kinds, merges, _KEYS)
    names: list[str] = tokens
    types: list[int] = kinds or [_NORMAL] * len(names)
    marks = {t: i for i, (t, k) in enumerate(zip(names, types, strict=True)) if k not in _NOT_ADDED}
    vocabulary = {t: i for i, t in enumerate(names) if types[i] != _UNUSED}
    model_config = _model_config(metadata)
    family = resolve(marks, len(vocabulary) - len(marks), model_config)
    pre = metadata.get(f"{_KEYS}pre")
    splitter = _splitter(pre, family)
    is_ours = family is CODER_V1  # our vocabularies are trained on texts as they stand
    return TokenizerFiles(
        {
            "version": "1.0",
            "normalizer": {"type": "NFC"} if splitter in _NFC and not is_ours else None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": SPLITTERS[splitter]},
            "decoder": _byte_level(regex=True),
            "added_tokens": [_added_token(t, i, types[i] == _CONTROL) for t, i in marks.items()],
            "model": {
                "type": "BPE",
                "vocab": vocabulary,
                "merges": merges,
                "ignore_merges": splitter == "llama-bpe",
            },
        },
        _tokenizer_config(metadata, names, pre),
        model_config,
    )


def _splitter(pre: object, family: TokenizerFamily | None) -> str:
    """The key in `SPLITTERS`; if the file says "default" or nothing, the vocabulary decides."""
    if pre in (None, "default"):
        return _SPLITTER_OF.get(family.name, "gpt-2") if family else "gpt-2"
    name = _SAME_SPLITTER.get(pre, pre) if isinstance(pre, str) else ""
    if name not in SPLITTERS:
        known = ", ".join(sorted([*SPLITTERS, *_SAME_SPLITTER]))
        raise TokenizerError(
            f"the GGUF file's tokenizer.ggml.pre is {str(pre)[:60]!r}; known: {known}"
        )
    return name


def _model_config(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What config.json would say of the architecture, as far as tokens depend on it."""
    architecture = metadata.get("general.architecture", "")
    config: dict[str, Any] = {"model_type": _ARCHITECTURES.get(architecture, architecture)}
    if experts := metadata.get(f"{architecture}.expert_count"):
        config["n_routed_experts"] = experts
    return config


def _tokenizer_config(metadata: Mapping[str, Any], names: list[str], pre: object) -> dict[str, Any]:
    """What tokenizer_config.json would say; FIM marks too, for models outside our table."""
    keys = {
        "bos_token": "bos",
        "eos_token": "eos",
        "pad_token": "padding",
        "fim_begin_token": "fim_pre",
        "fim_hole_token": "fim_suf",
        "fim_end_token": "fim_mid",
    }
    config: dict[str, Any] = {}
    for key, name in keys.items():
        place = f"{_KEYS}{name}_token_id"
        if metadata.get(place) is not None:
            config[key] = token_at(names, metadata[place], place)
    # llama.cpp's default of these splitters (src/llama-vocab.cpp).
    default = True if _SAME_SPLITTER.get(str(pre), pre) == "llama-bpe" else None
    if (adds := metadata.get(f"{_KEYS}add_bos_token", default)) is not None:
        config["add_bos_token"] = bool(adds)
    if metadata.get(FIM_MODE) == "spm":
        config["fim_mode"] = "spm"
    config["chat_template"] = {
        key.removeprefix(_TEMPLATE).removeprefix(".") or "default": source
        for key, source in metadata.items()
        if key == _TEMPLATE or key.startswith(f"{_TEMPLATE}.")
    }
    return config


def _added_token(text: str, token_id: int, special: bool) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": token_id, "content": text, "special": special, **flags}


def _split(pattern: str) -> dict[str, Any]:
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }


def _byte_level(*, regex: bool) -> dict[str, Any]:
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": regex,
    }


def _characters(ranges: str) -> str:
    """The inside of a regular expression's class.

    >>> _characters("41-43 e9")
    'A-Cé'
    """
    return "".join("-".join(chr(int(c, 16)) for c in r.split("-")) for r in ranges.split())


_NOT_ADDED = (_NORMAL, _UNUSED)
_DIGITS = {"type": "Digits", "individual_digits": True}
_GPT2 = [_byte_level(regex=True)]
_SINGLE_DIGITS = [_DIGITS, *_GPT2]
SPLITTERS: dict[str, list[dict[str, Any]]] = {
    "gpt-2": _GPT2,
    "smollm": _SINGLE_DIGITS,
    "starcoder": _SINGLE_DIGITS,
    "refact": _SINGLE_DIGITS,
    "codeshell": _SINGLE_DIGITS,
    "deepseek-coder": [*map(_split, CODER_V1_SPLITS), _byte_level(regex=False)],
    "deepseek-llm": [
        _split(r"[\r\n]"),
        _split(rf"\s?[{_characters(_CASED)}]+"),
        _split(rf"\s?[{_characters('21-2f 3a-7e ff01-ff0f ff1a-ff5e 2018-201f 3000-3002')}]+"),
        _split(r"\s+$"),
        _split(CODER_V1_SPLITS[3]),
        _DIGITS,
        _byte_level(regex=False),
    ],
    "qwen2": [_split(QWEN2_SPLIT), _byte_level(regex=False)],
    "llama-bpe": [
        _split(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
        _byte_level(regex=False),
    ],
}
_NFC = ("qwen2",)
_SAME_SPLITTER = {
    **dict.fromkeys(("deepseek-r1-qwen", "kormo", "megrez"), "qwen2"),
    **dict.fromkeys(
        ("llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"), "llama-bpe"
    ),
    **dict.fromkeys(
        ("phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "gigachat", "a.x-4.0"), "gpt-2"
    ),
    **dict.fromkeys(("mpt", "olmo", "mellum"), "gpt-2"),
    **dict.fromkeys(("command-r", "exaone", "minerva-7b"), "starcoder"),
}
"""Names that llama.cpp gives to splitters with one regular expression (src/llama-vocab.cpp)."""
_SPLITTER_OF = {
    "coder-v1": "deepseek-coder",
    "llm": "deepseek-llm",
    "v2": "deepseek-llm",
    "qwen2.5-coder": "qwen2",
    "starcoder2": "starcoder",
    "chatml": "smollm",
}
"""The splitter of each family, for files that do not name theirs."""
