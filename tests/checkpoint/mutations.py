"""Broken and odd checkpoints: small files, each changed in one way by a seeded generator.

Run as a program it tries every case of one table and prints what came out as JSON, a line per case:

    right     the model and tokenizer give what the unchanged files give
    changed   they give something else, without a word
    line      one line that names the file
    fault     anything else: a traceback, more memory or processor time than allowed
"""

import json
import os
import random
import signal
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Files = dict[str, Any]
"""Contents by name; a callable makes something that is not a plain file."""
LINE, RIGHT, EITHER = ("line",), ("right",), ("right", "line")
ANY = ("right", "line", "changed")
CASE_SECONDS = 10
"""Of processor time: the slowest sound case takes well under one."""
TEXT = "def add(a, b):\n    return a + b\n"
HIDDEN, LAYERS, HEADS, WIDTH, VOCAB = 32, 2, 4, 48, 288
CONFIG = {
    "model_type": "llama",
    "vocab_size": VOCAB,
    "hidden_size": HIDDEN,
    "intermediate_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "bos_token_id": 256,
    "eos_token_id": 257,
    "pad_token_id": None,
}


@dataclass(frozen=True)
class Case:
    """One changed checkpoint and what may come of it."""

    name: str
    files: Files
    allowed: tuple[str, ...]


def shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of the small Llama under their published names."""
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCAB, HIDDEN)}
    for i in range(LAYERS):
        p, kv = f"model.layers.{i}.", HIDDEN // 2
        found |= {p + "input_layernorm.weight": (HIDDEN,)}
        found |= {p + "post_attention_layernorm.weight": (HIDDEN,)}
        found |= {p + f"self_attn.{n}_proj.weight": (HIDDEN, HIDDEN) for n in "qo"}
        found |= {p + f"self_attn.{n}_proj.weight": (kv, HIDDEN) for n in "kv"}
        found |= {p + f"mlp.{n}_proj.weight": (WIDTH, HIDDEN) for n in ("gate", "up")}
        found |= {p + "mlp.down_proj.weight": (HIDDEN, WIDTH)}
    return found | {"model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCAB, HIDDEN)}


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {n: rng.normal(0, 0.2, s).astype(np.float32) for n, s in shapes().items()}


def byte_names() -> list[str]:
    """GPT-2's character of every byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    names = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}
    return [names[b] for b in range(256)]


MARKS = ["<|begin|>", "<|end|>"]
MERGES = [("d", "e"), ("de", "f"), ("r", "e"), ("t", "u")]


def tokenizer_json() -> dict[str, Any]:
    names = byte_names()
    vocabulary = {name: i for i, name in enumerate(names)}
    vocabulary |= {a + b: 258 + i for i, (a, b) in enumerate(MERGES)}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "version": "1.0",
        "normalizer": None,
        "pre_tokenizer": level | {"use_regex": True},
        "decoder": level | {"use_regex": True},
        "added_tokens": [
            {
                "id": 256 + i,
                "content": text,
                "special": True,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
            }
            for i, text in enumerate(MARKS)
        ],
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [f"{a} {b}" for a, b in MERGES]},
    }


def safetensors(
    tensors: dict[str, np.ndarray],
    edit: Callable[[dict[str, Any]], None] = lambda _header: None,
    *,
    tail: bytes = b"",
) -> bytes:
    """A file of these tensors, its header changed by `edit`."""
    header: dict[str, Any] = {}
    data = b""
    for name, tensor in tensors.items():
        code = {"f": "F", "i": "I", "b": "BOOL"}[tensor.dtype.kind]
        code = code if code == "BOOL" else f"{code}{8 * tensor.itemsize}"
        place = [len(data), len(data) + tensor.nbytes]
        header[name] = {"dtype": code, "shape": list(tensor.shape), "data_offsets": place}
        data += tensor.tobytes()
    edit(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data + tail


def checkpoint() -> Files:
    """The unchanged folder: two shards with an index."""
    all_weights = weights()
    names = list(all_weights)
    shards = {"a.safetensors": names[:7], "b.safetensors": names[7:]}
    files: Files = {f: safetensors({n: all_weights[n] for n in ns}) for f, ns in shards.items()}
    index = {"metadata": {}, "weight_map": {n: f for f, ns in shards.items() for n in ns}}
    config = {"bos_token": MARKS[0], "eos_token": MARKS[1], "add_bos_token": True}
    return files | {
        "config.json": dumped(CONFIG),
        "model.safetensors.index.json": dumped(index),
        "tokenizer.json": dumped(tokenizer_json()),
        "tokenizer_config.json": dumped(config),
    }


def dumped(value: object) -> bytes:
    return json.dumps(value).encode()


NUMBERS = (-1, 0, 7, 1.5, 10**9, 2**31, 2**63, 10**30, True, "big", [], {}, [[1]])
CONFIG_CHANGES: dict[str, tuple[Any, ...]] = {
    "model_type": (None, 5, [], "gpt2", "x" * 10_000),
    **dict.fromkeys(
        ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"), NUMBERS
    ),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "head_dim"), NUMBERS),
    "max_position_embeddings": (*tuple(n for n in NUMBERS if n not in (7, True)), True),
    "rms_norm_eps": (-1, 2, 1e30, True, "small", []),
    "rope_theta": (-1.0, 0.5, 1.0, 1e30, True, "big", []),
    "rope_scaling": (
        5,
        "x",
        [],
        {"type": 5},
        {"type": "linear", "factor": 0},
        {"type": "longrope"},
        {"type": "yarn", "factor": 1e30},
        {"type": "linear", "factor": "2"},
        {"type": "yarn", "factor": 2, "beta_fast": 0},
        {"rope_type": "yarn", "factor": 2.0, "mscale": "x"},
    ),
    "tie_word_embeddings": ("true", 1, []),
    "bos_token_id": (-1, VOCAB, 10**9, 1.5, "a", {}),
    "eos_token_id": (-1, [-1], [257, 10**9], "a", [[1]]),
    "pad_token_id": (-2, "a", 10**9),
    "attention_bias": (True, "yes"),
    "quantization_config": (
        {"quant_method": "gptq"},
        {"quant_method": "compressed-tensors", "format": "marlin-24"},
        {"quant_method": "compressed-tensors", "format": "pack-quantized"},
    ),
}


def config_cases(base: Files) -> Iterator[Case]:
    for key, values in CONFIG_CHANGES.items():
        for value in values:
            changed = dumped(CONFIG | {key: value})
            yield Case(f"config {key}={value!r:.20}", base | {"config.json": changed}, EITHER)
    for key in CONFIG:
        changed = dumped({k: v for k, v in CONFIG.items() if k != key})
        yield Case(f"config without {key}", base | {"config.json": changed}, EITHER)
    for key in ("rms_norm_eps", "rope_theta", "pad_token_id"):
        for text in ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5_000):
            config = dumped(CONFIG | {key: "HERE"}).replace(b'"HERE"', text.encode())
            yield Case(f"config {key}={text[:12]}", base | {"config.json": config}, LINE)
    pad = dumped(CONFIG | {"pad_token_id": -1})
    yield Case("config without padding", base | {"config.json": pad}, RIGHT)


def odd_files() -> Iterator[tuple[str, Callable[[Path], None]]]:
    yield "a pipe", os.mkfifo
    yield "a folder", os.mkdir
    yield "a loop of links", lambda p: p.symlink_to(p)
    yield "a device", lambda p: p.symlink_to("/dev/zero")


def text_cases(base: Files, name: str, rng: random.Random) -> Iterator[Case]:
    """What may befall any JSON file."""
    data: bytes = base[name]

    def case(what: str, content: object, allowed: tuple[str, ...]) -> Case:
        return Case(f"{name} {what}", base | {name: content}, allowed)

    yield case("with a byte-order mark", b"\xef\xbb\xbf" + data, RIGHT)
    yield case("in UTF-16", data.decode().encode("utf-16"), RIGHT)
    yield case("in UTF-32", data.decode().encode("utf-32"), RIGHT)
    yield case("with spaces around", b" \n" + data + b"\r\n", RIGHT)
    for what, content in {
        "empty": b"",
        "null": b"null",
        "a list": b"[]",
        "a number": b"5",
        "followed by more": data + b"}",
        "nested": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        "nested lists": b"[" * 50_000 + b"]" * 50_000,
        "with a nested value": data[:-1] + b', "more": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        "with a name twice": data[:-1] + b', "more": 1, "more": 2}',
        "with NaN": data[:-1] + b', "more": NaN}',
        "with half a surrogate": data[:-1] + b', "more": "\\ud800"}',
        "with a long number": data[:-1] + b', "more": ' + b"9" * 100_000 + b"}",
        "not text": b"\xff\xfe\xfd" + data,
    }.items():
        yield case(what, content, LINE)
    for what, make in odd_files():
        yield case(what, make, LINE)
    for _ in range(6):
        yield case(f"cut at {(at := rng.randrange(1, len(data)))}", data[:at], LINE)
    for _ in range(8):
        at = rng.randrange(8 * len(data))
        yield case(f"with bit {at} flipped", flipped(data, at), ANY)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


BUFFERS = {
    "model.layers.0.self_attn.rotary_emb.cos_cached": np.zeros((1, 1, 64, 8), np.float32),
    "model.layers.0.self_attn.rotary_emb.sin_cached": np.full((2, 2), np.nan, np.float32),
    "model.layers.1.self_attn.rotary_emb.inv_freq": np.zeros(4, np.float32),
    "model.rotary_emb.inv_freq": np.zeros(4, np.float64),
    "model.layers.0.self_attn.masked_bias": np.zeros((), np.float32),
    "model.layers.0.self_attn.bias": np.zeros((1, 1, 4, 4), np.bool_),
    "position_ids": np.zeros((1, 4), np.int64),
}


def weight_cases(base: Files) -> Iterator[Case]:
    own = {n: w for n, w in weights().items() if n in list(shapes())[:7]}
    name = "model.layers.0.self_attn.q_proj.weight"

    def case(what: str, data: object, allowed: tuple[str, ...] = LINE) -> Case:
        return Case(f"weights {what}", base | {"a.safetensors": data}, allowed)

    def edited(what: str, **values: Any) -> Case:
        return case(what, safetensors(own, lambda h: h[name].update(values)))

    for code in ("F8_E4M3", "I32", "BOOL", "", None, 5, "F64"):
        yield edited(f"of type {code}", dtype=code)
    for shape in ([-1, 32], [32.0, 32], [True, 1024], [2**62, 4], [0], [], "x", None, {}, [1] * 50):
        yield edited(f"of shape {shape!r:.20}", shape=shape)
    for place in (
        [0, 1],
        [-4, 0],
        [4096, 0],
        [0, 2**63],
        [0.0, 4096.0],
        [],
        None,
        "x",
        [0, 4096, 1],
    ):
        yield edited(f"at {place!r:.20}", data_offsets=place)
    yield edited("over its neighbour", data_offsets=[4, 4 + 4096])
    yield case("with an entry that is none", safetensors(own, lambda h: h.update(x=5)))
    yield case("with one too many", safetensors({**own, "more": np.zeros(3, np.float32)}))
    yield case("with one too few", safetensors({n: w for n, w in own.items() if n != name}))
    yield case("with a tail", safetensors(own, tail=b"\0" * 8))
    yield case(
        "with one twice", safetensors({**own, "lm_head.weight": weights()["lm_head.weight"]})
    )
    for wrong in (np.nan, np.inf, -np.inf):
        bad = own[name].copy()
        bad[3, 5] = wrong
        yield case(f"with {wrong}", safetensors({**own, name: bad}))
    for buffer, value in BUFFERS.items():
        yield case(f"with {buffer}", safetensors({**own, buffer: value}), RIGHT)
    yield case(
        "with metadata", safetensors(own, lambda h: h.update(__metadata__={"a": "b"})), RIGHT
    )


def frame_cases(base: Files, rng: random.Random) -> Iterator[Case]:
    """Changes that know nothing of tensors."""

    def case(what: str, data: object, allowed: tuple[str, ...] = LINE) -> Case:
        return Case(f"weights {what}", base | {"a.safetensors": data}, allowed)

    data: bytes = base["a.safetensors"]
    for length in (0, 1, 2, len(data), 2**31, 2**63, 2**64 - 1):
        yield case(f"with a header of {length}", struct.pack("<Q", length) + data[8:])
    deep = b'{"a":' * 100_000
    yield case("with a nested header", struct.pack("<Q", len(deep)) + deep + data)
    for what, make in odd_files():
        yield case(what, make)
    for at in [0, 7, *(rng.randrange(8, len(data)) for _ in range(10))]:
        yield case(f"cut at {at}", data[:at])
    n_header = int.from_bytes(data[:8], "little")
    for _ in range(16):
        at = rng.randrange(8 * (8 + n_header))
        yield case(f"with bit {at} of the header flipped", flipped(data, at), EITHER)
    for _ in range(8):
        at = rng.randrange(8 * (8 + n_header), 8 * len(data))
        yield case(f"with bit {at} flipped", flipped(data, at), ANY)


def index_cases(base: Files) -> Iterator[Case]:
    index = json.loads(base["model.safetensors.index.json"])
    for value in (
        "../a.safetensors",
        "/etc/passwd",
        "absent.safetensors",
        "a.bin",
        5,
        None,
        "",
        [],
    ):
        changed = {**index["weight_map"], "lm_head.weight": value}
        files = base | {"model.safetensors.index.json": dumped({"weight_map": changed})}
        yield Case(f"index names {value!r}", files, LINE)
    for value in (None, [], {}, 5, "x"):
        files = base | {"model.safetensors.index.json": dumped({"weight_map": value})}
        yield Case(f"index is {value!r}", files, LINE)


def tokenizer_cases(base: Files) -> Iterator[Case]:
    def case(what: str, edit: Callable[[dict[str, Any]], None], allowed=LINE) -> Case:
        value = tokenizer_json()
        edit(value)
        return Case(f"tokenizer {what}", base | {"tokenizer.json": dumped(value)}, allowed)

    for token_id in (-1, 10**9, 2**63, 10**30, 1.5, True, "1", None, [], 98):
        yield case(f"id {token_id!r}", lambda t, i=token_id: t["model"]["vocab"].update(a=i))
        yield case(
            f"mark {token_id!r}",
            lambda t, i=token_id: t["added_tokens"][0].update(id=i),
            EITHER if token_id == 98 else LINE,
        )
    for value in (None, 5, "x", [], {}, [5], [[]], {"a": []}):
        for key in ("vocab", "merges"):
            allowed = EITHER if (key, value) == ("merges", []) else LINE
            if allowed == LINE:
                yield case(f"{key} {value!r}", lambda t, k=key, v=value: t["model"].update({k: v}))
        if value is not None and value != []:
            yield case(f"marks {value!r}", lambda t, v=value: t.update(added_tokens=v))
        if value is not None:
            yield case(f"decoder {value!r}", lambda t, v=value: t.update(decoder=v))
            yield case(f"splitter {value!r}", lambda t, v=value: t.update(pre_tokenizer=v))
    for value in (None, 5, [], {}, {"type": "Unigram"}, {"type": 5}):
        yield case(f"model {value!r}", lambda t, v=value: t.update(model=v))
    yield case("merge of no token", lambda t: t["model"]["merges"].append("q zz"))
    yield case("merge of one", lambda t: t["model"]["merges"].append("q"))
    yield case("mark without text", lambda t: t["added_tokens"][0].update(content=""))
    yield case(
        "with bad regex",
        lambda t: t.update(
            pre_tokenizer={
                "type": "Split",
                "pattern": {"Regex": "("},
                "behavior": "Isolated",
                "invert": False,
            }
        ),
    )
    yield case(
        "merges as pairs", lambda t: t["model"].update(merges=[list(m) for m in MERGES]), RIGHT
    )


def tokenizer_config_cases(base: Files) -> Iterator[Case]:
    changes = [
        (key, value)
        for key in ("bos_token", "eos_token", "pad_token")
        for value in (5, [], {}, {"content": 5}, True)
    ]
    for key, value in [*changes, ("add_bos_token", "yes"), ("add_bos_token", 1)]:
        config = {"bos_token": MARKS[0], "eos_token": MARKS[1], key: value}
        files = base | {"tokenizer_config.json": dumped(config)}
        yield Case(f"tokenizer_config {key}={value!r}", files, LINE)


def tables() -> dict[str, Callable[[], tuple[Files, Iterator[Case]]]]:
    from checkpoint.gguf_mutations import gguf_table

    return {"folder": folder_table, "gguf": gguf_table}


def folder_table() -> tuple[Files, Iterator[Case]]:
    base, rng = checkpoint(), random.Random(20261126)

    def cases() -> Iterator[Case]:
        yield from config_cases(base)
        for name in ("config.json", "model.safetensors.index.json", "tokenizer.json"):
            yield from text_cases(base, name, rng)
        yield from text_cases(base, "tokenizer_config.json", rng)
        yield from weight_cases(base)
        yield from frame_cases(base, rng)
        yield from index_cases(base)
        yield from tokenizer_cases(base)
        yield from tokenizer_config_cases(base)

    return base, cases()


class TooSlowError(BaseException):
    """A case took more processor time than allowed."""


def too_slow(*_: object) -> None:
    raise TooSlowError


def put(folder: Path, files: Files) -> Path:
    """Write the files; returns what to load: the folder, or the one .gguf in it."""
    for name, content in files.items():
        content(folder / name) if callable(content) else (folder / name).write_bytes(content)
    return folder / "model.gguf" if "model.gguf" in files else folder


def outcome_of(files: Files) -> tuple[object, str]:
    """(what the checkpoint gives, "") or (None, what was said)."""
    import torch

    from codling.checkpoint.load import load_model
    from codling.checkpoint.tokenizer_files import open_tokenizer
    from codling.core.errors import CodlingError

    with tempfile.TemporaryDirectory() as folder:
        path = put(Path(folder), files)
        try:
            tokenizer, model = open_tokenizer(path), load_model(path)
            ids = tokenizer.encode(TEXT)
            with torch.no_grad():
                logits = model.logits(model(torch.tensor([ids])))
            return (ids, tokenizer.decode(ids), tokenizer.specials, logits.tolist()), ""
        except CodlingError as error:
            said = str(error)
            good = "\n" not in said and len(said) < 600 and (folder in said)
            return None, said if good and "MemoryError" not in said else f"fault: {said}"
        except (Exception, TooSlowError) as error:  # noqa: BLE001 -- this is what is looked for
            return None, f"fault: {type(error).__name__}: {error}"


def main(name: str) -> None:
    import resource

    import torch

    torch.set_num_threads(1)
    base, cases = tables()[name]()
    right, said = outcome_of(base)
    assert right is not None, said
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 1_500_000_000,) * 2)
    signal.signal(signal.SIGPROF, too_slow)
    for case in cases:
        signal.setitimer(signal.ITIMER_PROF, CASE_SECONDS)
        given, said = outcome_of(case.files)
        signal.setitimer(signal.ITIMER_PROF, 0)
        kind = "fault" if said.startswith("fault") else "line" if said else ""
        kind = kind or ("right" if given == right else "changed")
        row = {"case": case.name, "kind": kind, "said": said[:300], "ok": kind in case.allowed}
        sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main(sys.argv[1])
