"""Broken and odd GGUF files for mutations.py: a small file written byte by byte, and changed."""

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from gguf.constants import GGMLQuantizationType
from gguf.quants import quantize

from checkpoint.mutations import (
    ANY,
    CONFIG,
    EITHER,
    HEADS,
    HIDDEN,
    LAYERS,
    LINE,
    MARKS,
    MERGES,
    RIGHT,
    VOCAB,
    WIDTH,
    Case,
    Files,
    byte_names,
    flipped,
    odd_files,
    weights,
)

U32, I32, F32, BOOL, STRING, ARRAY, U64, F64 = 4, 5, 6, 7, 8, 9, 10, 12
CODES = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    U32: "I",
    I32: "i",
    F32: "f",
    BOOL: "?",
    U64: "Q",
    F64: "d",
}
NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
TOP = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


@dataclass(frozen=True)
class Stored:
    """One tensor: its dimensions, the fastest first, type and bytes; `offset` None means right."""

    name: str
    dims: tuple[int, ...]
    kind: int
    data: bytes
    offset: int | None = None


@dataclass(frozen=True)
class Parts:
    """A GGUF file before it is bytes; what is None is as it should be."""

    pairs: dict[str, tuple[int, Any]]
    tensors: tuple[Stored, ...]
    version: int = 3
    n_tensors: int | None = None
    n_pairs: int | None = None
    order: str = "<"
    more: bytes = b""
    """Behind the pairs, counted as one more."""
    alignment: int = field(default=32)


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value_bytes(kind: int, value: Any) -> bytes:
    if kind == STRING:
        return text(value)
    if kind == ARRAY:
        element, values = value
        head = struct.pack("<IQ", element, len(values))
        return head + b"".join(value_bytes(element, v) for v in values)
    return struct.pack("<" + CODES[kind], value)


def to_bytes(parts: Parts) -> bytes:
    pairs = [
        text(k) + struct.pack("<I", t) + value_bytes(t, v) for k, (t, v) in parts.pairs.items()
    ]
    n_pairs = len(pairs) + bool(parts.more) if parts.n_pairs is None else parts.n_pairs
    n_tensors = len(parts.tensors) if parts.n_tensors is None else parts.n_tensors
    head = b"GGUF" + struct.pack(parts.order + "IQQ", parts.version, n_tensors, n_pairs)
    entries, data = b"", b""
    for t in parts.tensors:
        offset = len(data) if t.offset is None else t.offset
        entries += text(t.name) + struct.pack("<I", len(t.dims))
        entries += b"".join(struct.pack("<Q", d) for d in t.dims)
        entries += struct.pack("<IQ", t.kind, offset)
        data += t.data + b"\0" * (-len(t.data) % parts.alignment)
    front = head + b"".join(pairs) + parts.more + entries
    return front + b"\0" * (-len(front) % parts.alignment) + data


def published() -> Parts:
    """The small Llama of mutations.py, its matrices in Q8_0, as llama.cpp's converter has it."""
    tokens = [*byte_names(), *MARKS, *(a + b for a, b in MERGES)]
    tokens += [f"[PAD{i}]" for i in range(len(tokens), VOCAB)]
    types = [1] * 256 + [3, 3] + [1] * len(MERGES)
    types += [5] * (VOCAB - len(types))
    pairs: dict[str, tuple[int, Any]] = {
        "general.architecture": (STRING, "llama"),
        "llama.block_count": (U32, LAYERS),
        "llama.context_length": (U32, 64),
        "llama.embedding_length": (U32, HIDDEN),
        "llama.feed_forward_length": (U32, WIDTH),
        "llama.attention.head_count": (U32, HEADS),
        "llama.attention.head_count_kv": (U32, 2),
        "llama.attention.layer_norm_rms_epsilon": (F32, CONFIG["rms_norm_eps"]),
        "llama.rope.freq_base": (F32, CONFIG["rope_theta"]),
        "tokenizer.ggml.model": (STRING, "gpt2"),
        "tokenizer.ggml.pre": (STRING, "gpt-2"),
        "tokenizer.ggml.tokens": (ARRAY, (STRING, tokens)),
        "tokenizer.ggml.token_type": (ARRAY, (I32, types)),
        "tokenizer.ggml.merges": (ARRAY, (STRING, [f"{a} {b}" for a, b in MERGES])),
        "tokenizer.ggml.bos_token_id": (U32, 256),
        "tokenizer.ggml.eos_token_id": (U32, 257),
        "tokenizer.ggml.add_bos_token": (BOOL, True),
    }
    return Parts(pairs, tuple(stored(n, w) for n, w in weights().items()))


def stored(name: str, weight: np.ndarray) -> Stored:
    if name not in TOP:
        _, _, layer, rest = name.split(".", 3)
        kind = rest.removesuffix(".weight")
        name = f"blk.{layer}.{NAMES[kind]}.weight"
    blocks = weight.ndim == 2 and weight.shape[1] % 32 == 0
    used = GGMLQuantizationType.Q8_0 if blocks else GGMLQuantizationType.F32
    data = quantize(weight, used).tobytes()
    return Stored(TOP.get(name, name), weight.shape[::-1], int(used), data)


NUMBERS = ((U32, 0), (I32, -1), (U32, 2**31), (U64, 2**63), (U32, 10**9), (F32, 1.5), (BOOL, True))
OTHERS: tuple[Any, ...] = (
    (STRING, "big"),
    (ARRAY, (U32, [])),
    (ARRAY, (I32, [1, 2])),
    (ARRAY, (STRING, ["a"])),
)
REALS = ((F32, float("nan")), (F32, float("inf")), (F64, -1.0), (F64, 1e300), (BOOL, True))
WHOLE = ("block_count", "embedding_length", "feed_forward_length", "attention.head_count")


def pair_cases(base: Parts) -> Iterator[tuple[str, Parts, tuple[str, ...]]]:
    def having(key: str, *value: Any) -> Parts:
        return replace(base, pairs=base.pairs | {key: value})

    for key in (*WHOLE, "attention.head_count_kv", "context_length", "attention.key_length"):
        for kind, value in (*NUMBERS, *OTHERS):
            yield f"{key} {value!r:.20}", having(f"llama.{key}", kind, value), EITHER
    for key in ("attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.scaling.factor"):
        for kind, value in (*REALS, *OTHERS):
            allowed = EITHER if key == "rope.scaling.factor" else LINE
            yield f"{key} {value!r:.20}", having(f"llama.{key}", kind, value), allowed
    same, other = (ARRAY, (U32, [2, 2])), (ARRAY, (U32, [2, 4]))
    yield "equal heads per layer", having("llama.attention.head_count_kv", *same), RIGHT
    yield "other heads per layer", having("llama.attention.head_count_kv", *other), LINE
    for kind, value in ((I32, -32), (U32, 0), (U32, 3), (U32, 33), (U64, 2**40), (STRING, "32")):
        yield f"alignment {value}", having("general.alignment", kind, value), LINE
    yield "alignment 32", having("general.alignment", U32, 32), RIGHT
    yield "alignment 8", having("general.alignment", U32, 8), EITHER
    yield "other architecture", having("general.architecture", STRING, "x" * 1000), LINE
    yield "architecture 5", having("general.architecture", U32, 5), LINE
    yield "one part of two", having("split.count", U32, 2), LINE


def token_cases(base: Parts) -> Iterator[tuple[str, Parts, tuple[str, ...]]]:
    def having(key: str, *value: Any) -> Parts:
        return replace(base, pairs=base.pairs | {key: value})

    for name in ("bos", "eos", "padding", "fim_pre"):
        for kind, value in ((I32, -1), (U32, 2**32 - 1), (U32, VOCAB), (F32, 1.0), (STRING, "a")):
            key = f"tokenizer.ggml.{name}_token_id"
            yield f"{name} {value}", having(key, kind, value), LINE
    for key in ("tokens", "token_type", "merges"):
        kinds: tuple[Any, ...] = ((U32, 5), *OTHERS[:3], (ARRAY, (STRING, ["a", "a"])))
        for kind, value in kinds:
            name = f"tokenizer.ggml.{key}"
            # Without merges every byte is a token: that is sound.
            allowed = ANY if key == "merges" else LINE
            yield f"{key} {value!r:.20}", having(name, kind, value), allowed
    for key in base.pairs:
        rest = {k: v for k, v in base.pairs.items() if k != key}
        yield f"without {key}", replace(base, pairs=rest), ANY if "os_token" in key else EITHER
    yield "unknown splitter", having("tokenizer.ggml.pre", STRING, "new"), LINE
    yield "a word-piece tokenizer", having("tokenizer.ggml.model", STRING, "bert"), LINE


def frame_cases(base: Parts) -> Iterator[tuple[str, Parts, tuple[str, ...]]]:
    for version in (0, 1, 4, 99, 2**31):
        yield f"version {version}", replace(base, version=version), LINE
    yield "version 2", replace(base, version=2), RIGHT
    yield "big-endian", replace(base, order=">"), LINE
    for n in (0, 1, 10**6, 2**31, 2**63, 2**64 - 1):
        yield f"{n} tensors", replace(base, n_tensors=n), LINE
        yield f"{n} settings", replace(base, n_pairs=n), LINE
    key = text("more")
    for what, more in {
        "a text of 2^63": key + struct.pack("<IQ", STRING, 2**63),
        "a name of 2^63": struct.pack("<Q", 2**63),
        "an array of 2^63": key + struct.pack("<IIQ", ARRAY, 0, 2**63),
        "texts of 2^63": key + struct.pack("<IIQ", ARRAY, STRING, 2**63),
        "nested arrays": key + struct.pack("<I", ARRAY) + struct.pack("<IQ", ARRAY, 1) * 50_000,
        "type 99": key + struct.pack("<I", 99),
        "an array of type 99": key + struct.pack("<IIQ", ARRAY, 99, 1),
        "a name twice": text("general.architecture") + struct.pack("<I", STRING) + text("llama"),
    }.items():
        yield what, replace(base, more=more), LINE
    harmless = key + struct.pack("<I", STRING) + text("\0 any text")
    yield "another setting", replace(base, more=harmless), RIGHT


def tensor_cases(base: Parts) -> Iterator[tuple[str, Parts, tuple[str, ...]]]:
    at = next(i for i, t in enumerate(base.tensors) if t.name == "blk.0.attn_q.weight")
    own = base.tensors[at]

    def having(tensor: Stored, *more: Stored) -> Parts:
        return replace(base, tensors=(*base.tensors[:at], tensor, *base.tensors[at + 1 :], *more))

    for dims in (
        (),
        (0, 32),
        (32, 2**62),
        (2**32, 2**32),
        (2**40, 2**40, 2**40),
        (31, 32),
        (32,),
        (32, 31),
        (32, 32, 1),
        (1,) * 5,
        (1,) * 10_000,
    ):
        yield f"dims {dims!r:.30}", having(replace(own, dims=dims)), LINE
    for kind in (2, 3, 5, 99, 2**31):
        yield f"kind {kind}", having(replace(own, kind=kind)), ANY if kind in (2, 3) else LINE
    for offset in (1, 32, 2**40, 2**63, 2**64 - 32):
        yield f"offset {offset}", having(replace(own, offset=offset)), LINE
    yield "name twice", having(own, own), LINE
    yield "name not text", having(replace(own, name="\ud7ff" * 100)), LINE
    yield "unknown name", having(own, replace(own, name="blk.7.attn_q.weight")), LINE
    yield "one missing", replace(base, tensors=base.tensors[:at] + base.tensors[at + 1 :]), LINE
    for what, scale in {"NaN": 0x7E00, "infinity": 0x7C00}.items():
        data = struct.pack("<H", scale) + own.data[2:]
        yield f"a scale of {what}", having(replace(own, data=data)), LINE
    norm = base.tensors[1]
    bad = struct.pack("<f", float("nan")) + norm.data[4:]
    tensors = (base.tensors[0], replace(norm, data=bad), *base.tensors[2:])
    yield "a norm of NaN", replace(base, tensors=tensors), LINE


def gguf_table() -> tuple[Files, Iterator[Case]]:
    parts, rng = published(), random.Random(20261127)
    data = to_bytes(parts)

    def case(what: str, content: bytes | Callable[..., None], allowed: tuple[str, ...]) -> Case:
        return Case(f"gguf {what}", {"model.gguf": content}, allowed)

    def cases() -> Iterator[Case]:
        for table in (pair_cases, token_cases, frame_cases, tensor_cases):
            for what, changed, allowed in table(parts):
                yield case(what, to_bytes(changed), allowed)
        n_front = len(data) - sum(len(t.data) + -len(t.data) % 32 for t in parts.tensors)
        for at in [0, 3, 4, 8, 23, *(rng.randrange(24, len(data) - 32) for _ in range(20))]:
            yield case(f"cut at {at}", data[:at], LINE)
        for _ in range(60):
            bit = rng.randrange(8 * n_front)
            yield case(f"with bit {bit} of the front flipped", flipped(data, bit), ANY)
        for _ in range(15):
            bit = rng.randrange(8 * n_front, 8 * len(data))
            yield case(f"with bit {bit} flipped", flipped(data, bit), ANY)
        for what, make in odd_files():
            yield case(what, make, LINE)

    return {"model.gguf": data}, cases()
