"""The table of special tokens: one row per family of published models, and which row a file belongs
to.

Input: the added tokens of a tokenizer and the checkpoint's config. Output: a TokenizerFamily, whose
strings give the ids of sentence ends, FIM and chat. Tokens are found by their text, never by a
number, so a tokenizer that we train ourselves belongs to coder-v1 like the published one, with
other ids.

Not here: encoding (tokenizer.py) and the wording of chats (chat.py).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal


def _mark(words: str) -> str:
    """DeepSeek writes its marks with U+FF5C and U+2581, not with the ASCII bar and underscore."""
    return "<\uff5c" + words.replace(" ", "\u2581") + "\uff5c>"


BOS = _mark("begin of sentence")
EOS = _mark("end of sentence")
FIM_HOLE = _mark("fim hole")
FIM_BEGIN = _mark("fim begin")
FIM_END = _mark("fim end")
PAD = "<pad>"
USER = "<|User|>"
ASSISTANT = "<|Assistant|>"
EOT = "<|EOT|>"

CODER_V1_ORDER = (BOS, EOS, FIM_HOLE, FIM_BEGIN, FIM_END, PAD, USER, ASSISTANT, EOT)
"""The order in which coder-v1's special tokens follow its vocabulary (32013 to 32021)."""

CODER_V1_SPLITS = (
    r"[\r\n]",
    r"\s?\p{L}+",
    r"\s?\p{P}+",
    "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
    r"\p{N}",
)
"""coder-v1's pre-tokeniser: each pattern in turn isolates its matches in what the former ones
left."""

QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Qwen2's pre-tokeniser: letters with any one sign or blank before them, signs with the line ends
that follow."""

SplitsName = Literal["coder-v1", "qwen2"]
SPLITS: Mapping[SplitsName, tuple[str, ...]] = {
    "coder-v1": CODER_V1_SPLITS,
    "qwen2": (QWEN2_SPLIT,),
}
"""The pre-tokenisers that a tokenizer can be trained with; both are known to llama.cpp."""


@dataclass(frozen=True, kw_only=True)
class TokenizerFamily:
    """What one family of published tokenizers calls its special tokens; None where it has none."""

    name: str
    bos: str | None = None
    eos: str | None = None
    """Ends a document: the base model's end, also in instruct models."""
    pad: str | None = None
    fim_begin: str | None = None
    """Precedes the prefix."""
    fim_hole: str | None = None
    """Stands between prefix and suffix."""
    fim_end: str | None = None
    """Follows the suffix; the middle comes next."""
    user: str | None = None
    assistant: str | None = None
    eot: str | None = None
    """Ends a turn of an instruct model."""
    adds_bos: bool = False
    """Whether prompts begin with `bos`."""
    complete_stops: tuple[str, ...] = ()
    """Tokens that end a completion besides `eos`."""
    insert_stops: tuple[str, ...] = ()
    """Tokens that end an insertion besides `eos`."""
    byte_chars: str = ""
    """Characters that stand in the vocabulary as added tokens although they are names of single
    bytes."""
    missing: Mapping[int, str] | None = None
    """Tokens that the models know but some published files leave out."""
    template: str | None = None
    """The preset in templates/ that fits its chat models, if a checkpoint brings no template."""


CODER_V1 = TokenizerFamily(
    name="coder-v1",
    bos=BOS,
    eos=EOS,
    pad=EOS,
    fim_begin=FIM_BEGIN,
    fim_hole=FIM_HOLE,
    fim_end=FIM_END,
    user=USER,
    assistant=ASSISTANT,
    eot=EOT,
    adds_bos=True,
    byte_chars="õ÷ÁýÀÿøúþüùöû",
    template="coder-v1",
)
LLM = TokenizerFamily(
    name="llm",
    bos=BOS,
    eos=EOS,
    pad=EOS,
    eot=EOT,
    adds_bos=True,
    byte_chars="øöúÿõ÷ûýÀùÁþü",
    template="v2",
)
"""LLM-7B, LLM-67B and coder-7b-v1.5: V2's vocabulary, without FIM, other tokens from 100002 on."""
V2 = TokenizerFamily(
    name="v2",
    bos=BOS,
    eos=EOS,
    pad=EOS,
    fim_begin=FIM_BEGIN,
    fim_hole=FIM_HOLE,
    fim_end=FIM_END,
    adds_bos=True,
    missing={100002: FIM_HOLE, 100003: FIM_BEGIN, 100004: FIM_END},
    template="v2",
)
QWEN25_CODER = TokenizerFamily(
    name="qwen2.5-coder",
    eos="<|endoftext|>",
    pad="<|endoftext|>",
    fim_begin="<|fim_prefix|>",
    fim_hole="<|fim_suffix|>",
    fim_end="<|fim_middle|>",
    eot="<|im_end|>",
    complete_stops=("<|im_end|>",),
    insert_stops=(
        "<|im_start|>",
        "<|im_end|>",
        "<|fim_prefix|>",
        "<|fim_middle|>",
        "<|fim_suffix|>",
        "<|fim_pad|>",
        "<|repo_name|>",
        "<|file_sep|>",
    ),
    template="chatml",
)
STARCODER2 = TokenizerFamily(
    name="starcoder2",
    eos="<|endoftext|>",
    pad="<|endoftext|>",
    fim_begin="<fim_prefix>",
    fim_hole="<fim_suffix>",
    fim_end="<fim_middle>",
    complete_stops=("<file_sep>",),
    insert_stops=("<file_sep>", "<repo_name>", "<fim_prefix>", "<fim_pad>"),
    template="starcoder2",
)
CHATML = TokenizerFamily(
    name="chatml",
    eos="<|endoftext|>",
    pad="<|endoftext|>",
    eot="<|im_end|>",
    complete_stops=("<|im_end|>",),
    template="chatml",
)
"""Models with `<|im_start|>` turns and without FIM, for example SmolLM2-Instruct."""

FAMILIES = {g.name: g for g in (CODER_V1, LLM, V2, QWEN25_CODER, STARCODER2, CHATML)}

_V2_VOCABULARY = 100_000


def resolve(
    tokens: Collection[str], n_base: int, model_config: Mapping[str, Any]
) -> TokenizerFamily | None:
    """The family of a tokenizer, or None if it is not in the table.

    `tokens` are all added tokens; `n_base` counts the vocabulary without them; `model_config` is
    the checkpoint's config.json (empty where there is none).
    """
    if BOS in tokens:
        return _resolve_deepseek(tokens, n_base, model_config)
    for family in (QWEN25_CODER, STARCODER2):
        if {family.fim_begin, family.fim_hole, family.fim_end} <= set(tokens):
            return family
    return CHATML if {"<|im_start|>", "<|im_end|>"} <= set(tokens) else None


def _resolve_deepseek(
    tokens: Collection[str], n_base: int, model_config: Mapping[str, Any]
) -> TokenizerFamily:
    if n_base != _V2_VOCABULARY:
        return CODER_V1
    if FIM_BEGIN in tokens:
        return V2
    # Both vocabularies end at 100001 in some files: then the architecture decides.
    is_llm = model_config.get("model_type") == "llama" or any(c in tokens for c in LLM.byte_chars)
    return LLM if is_llm else V2
