"""Weights in a few small files, each of use alone, and a checkpoint made of them.

    python tools/gpu/weight_files.py back FILES --recipe recipes/base.toml \
        --tokens TOKENS --tokenizer TOKENIZER --out CHECKPOINT

A model's weights, in the order of their names, are one row of bf16 numbers. File i of n holds the
i-th part of it: a line of JSON (step, place, sizes, checksum), then the upper bytes of the numbers
compressed (sign and exponent: a few values), then the lower ones as they are. About 11 bits a
weight. Files of different steps still make a model: of a run that was cut off while it wrote.

Not here: training (train_base.py).
"""

import argparse
import json
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from codling.core.artifact import Artifact, Draft, open_artifact, produce
from codling.core.errors import ArtifactError, CheckpointError
from codling.core.files import replace_file
from codling.core.inputs import tokenizer_input
from codling.core.recipe import build, read_recipe
from codling.model.transformer import Transformer
from codling.tokens.token_files import read_meta
from codling.tokens.tokenizer import Tokenizer
from codling.train.pretrain import PretrainConfig, model_shape
from codling.train.run import publish_checkpoint

FILE_BYTES = 15 << 20
_BITS_EACH = 11
_CODEC = "zstd"


def main() -> int:
    """Make a checkpoint of the files that came back."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    back = verbs.add_parser("back")
    back.add_argument("files", type=Path)
    back.add_argument("--recipe", type=Path, required=True)
    back.add_argument("--tokens", type=Path, required=True)
    back.add_argument("--tokenizer", type=Path, required=True)
    back.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    made = make_checkpoint(
        options.files, options.recipe, options.tokens, options.tokenizer, options.out
    )
    print(json.dumps({"checkpoint": str(made.path), **made.counts}))
    return 0


def recipe_config(recipe: Path, tokens: Path, tokenizer: Path) -> PretrainConfig:
    """The recipe's [pretrain] with these tokens; its `model` is the whole shape."""
    values = read_recipe(recipe)["pretrain"]
    config = build(PretrainConfig, values, f"{recipe.name} [pretrain]")
    config = replace(config, tokens_dir=tokens, tokenizer_dir=tokenizer)
    shape = model_shape(config, Tokenizer.open(tokenizer).vocab_size, read_meta(tokens))
    return replace(config, model=shape)


def make_checkpoint(
    files: Path, recipe: Path, tokens: Path, tokenizer: Path, out: Path
) -> Artifact:
    """The artefact "checkpoint", with the tokens and the tokenizer that it was trained with."""
    config = recipe_config(recipe, tokens, tokenizer)
    model = Transformer(config.model)
    steps = read_weights(files, model)
    metrics = files / "metrics.jsonl.xz"

    def work(draft: Draft) -> None:
        publish_checkpoint(draft, model, config.model, tokenizer, read_meta(tokens).fim_mode)
        if metrics.is_file():
            shutil.copyfile(metrics, draft.file(metrics.name))
        draft.counts |= {"parameters": model.n_parameters(), "steps": steps}

    inputs = [open_artifact(tokens, "tokens"), tokenizer_input(tokenizer)]
    return produce(
        out,
        kind="checkpoint",
        version=1,
        config={"recipe": read_recipe(recipe)["pretrain"], "steps": steps},
        inputs=inputs,
        work=work,
    )


def write_weights(model: Transformer, folder: Path, step: int) -> list[Path]:
    """Write the files, each whole or as it was before; gives their paths."""
    numbers = _flat(model)
    n_files = -(-len(numbers) * _BITS_EACH // 8 // FILE_BYTES)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i, (start, end) in enumerate(_cuts(len(numbers), n_files)):
        path = folder / f"weights-{i:02d}-of-{n_files:02d}.bin"
        with replace_file(path) as temporary:
            temporary.write_bytes(_encoded(numbers[start:end], step, start, len(numbers)))
        paths.append(path)
    return paths


def read_weights(folder: Path, model: Transformer) -> list[int]:
    """Fill `model`; gives the steps of the files. CheckpointError if one is missing or damaged."""
    paths = sorted(folder.glob("weights-*-of-*.bin"))
    n_numbers = sum(p.numel() for _, p in _tensors(model))
    numbers = np.zeros(n_numbers, dtype="<u2")
    n_read, steps = 0, set()
    for path in paths:
        head, values = _decoded(path)
        if head["of"] != n_numbers:
            raise CheckpointError(
                f"{path} is of a model of {head['of']:,} weights, this recipe's has {n_numbers:,}"
            )
        numbers[head["start"] : head["start"] + len(values)] = values
        n_read += len(values)
        steps.add(int(head["step"]))
    if n_read != n_numbers:
        raise CheckpointError(f"{folder} has {n_read:,} of {n_numbers:,} weights; fetch the rest")
    place = 0
    stored = torch.from_numpy(numbers.view("<i2")).view(torch.bfloat16)
    with torch.no_grad():
        for _, parameter in _tensors(model):
            end = place + parameter.numel()
            parameter.copy_(stored[place:end].view(parameter.shape))
            place = end
    return sorted(steps)


def _tensors(model: Transformer) -> Iterator[tuple[str, Tensor]]:
    """The trained weights in the order of their names; tied ones once."""
    yield from sorted(model.named_parameters())


def _flat(model: Transformer) -> "np.ndarray[tuple[int], np.dtype[np.uint16]]":
    parts = [p.detach().to(torch.bfloat16).flatten() for _, p in _tensors(model)]
    return torch.cat(parts).cpu().view(torch.int16).numpy().view("<u2")


def _cuts(n: int, n_files: int) -> list[tuple[int, int]]:
    edges = [n * i // n_files for i in range(n_files + 1)]
    return [*pairwise(edges)]


def _encoded(numbers: np.ndarray, step: int, start: int, of: int) -> bytes:
    planes = numbers.view("u1")
    upper = pa.compress(planes[1::2].tobytes(), codec=_CODEC, asbytes=True)
    lower = planes[0::2].tobytes()
    head = {
        "step": step,
        "start": start,
        "of": of,
        "n": len(numbers),
        "upper": len(upper),
        "crc32": zlib.crc32(lower, zlib.crc32(upper)),
    }
    return json.dumps(head).encode() + b"\n" + upper + lower


def _decoded(path: Path) -> tuple[dict[str, int], np.ndarray]:
    line, _, body = path.read_bytes().partition(b"\n")
    try:
        head: dict[str, int] = json.loads(line)
        if len(body) != head["upper"] + head["n"] or zlib.crc32(body) != head["crc32"]:
            raise ArtifactError
    except (ValueError, KeyError, ArtifactError):
        raise CheckpointError(f"{path} is damaged; fetch it again") from None
    planes = np.empty(2 * head["n"], dtype="u1")
    upper = pa.decompress(body[: head["upper"]], head["n"], codec=_CODEC, asbytes=True)
    planes[1::2] = np.frombuffer(upper, "u1")
    planes[0::2] = np.frombuffer(body[head["upper"] :], "u1")
    return head, planes.view("<u2")


if __name__ == "__main__":
    raise SystemExit(main())
