"""Writing a checkpoint that transformers, vLLM and SGLang load unchanged.

Input: a model, or its tensors one by one. Output in a folder: config.json, generation_config.json,
and model.safetensors or shards with model.safetensors.index.json. Each file is whole or absent
(core/files.py); config.json comes last.

Not here: tokenizer files (tokens/), the optimiser's state (train/), manifests (core/artifact.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codling.checkpoint.names import parameter_parts
from codling.checkpoint.safetensors_writer import write_safetensors
from codling.checkpoint.settings import to_published
from codling.checkpoint.stored import PublishedTensor
from codling.core.files import replace_file, write_json
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
)
CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def find_tokenizer_files(folder: Path) -> list[Path]:
    """The files in `folder` of which a published tokenizer consists."""
    found = (path for pattern in _TOKENIZER_FILES for path in folder.glob(pattern))
    return [path for path in found if path.is_file()]


@dataclass(frozen=True, kw_only=True)
class TokenIds:
    """The special tokens that config.json and generation_config.json name."""

    bos: int | None = None
    eos: int | tuple[int, ...] | None = None
    pad: int | None = None


def save_hf(  # noqa: PLR0913 (settings of one file format, each with a plain meaning)
    model: Transformer,
    config: ModelConfig,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    ids: TokenIds | None = None,
    max_shard_bytes: int = 5_000_000_000,
) -> None:
    """Write `model`, whose shape `config` is, to `folder` in the published format.

    `dtype` None keeps the type of the weights; beyond `max_shard_bytes` they are split into shards.
    Weight files of an earlier checkpoint in the same folder are removed.
    """
    stored_type = dtype or model.embed_tokens.weight.dtype
    tensors = [_offer(name, tensor) for name, tensor in published_tensors(model)]
    save_tensors(
        tensors, config, folder, dtype=stored_type, ids=ids, max_shard_bytes=max_shard_bytes
    )


def _offer(name: str, tensor: Tensor) -> PublishedTensor:
    return PublishedTensor(name, tuple(tensor.shape), lambda: tensor)


def save_tensors(  # noqa: PLR0913 (as save_hf)
    tensors: Sequence[PublishedTensor],
    config: ModelConfig,
    folder: Path,
    *,
    dtype: torch.dtype,
    ids: TokenIds | None = None,
    max_shard_bytes: int = 5_000_000_000,
    more_settings: Mapping[str, Any] | None = None,
) -> None:
    """`save_hf` of a model whose tensors are read one at a time.

    `more_settings` goes into config.json, too.
    """
    settings = to_published(config)
    folder.mkdir(parents=True, exist_ok=True)
    written = _write_weights(tensors, folder, dtype, max_shard_bytes)
    for stale in folder.glob("model*.safetensors*"):
        if stale.name not in written:
            stale.unlink()
    numbers = _id_settings(ids or TokenIds())
    write_json(folder / GENERATION_CONFIG, {"_from_model_config": True, **numbers})
    type_name = str(dtype).removeprefix("torch.")
    write_json(
        folder / CONFIG,
        {**settings, **numbers, "torch_dtype": type_name, "use_cache": True}
        | dict(more_settings or {}),
    )


def _id_settings(ids: TokenIds) -> dict[str, Any]:
    eos = list(ids.eos) if isinstance(ids.eos, tuple) else ids.eos
    # An absent key would mean transformers' default, which is a token of another vocabulary.
    return {"bos_token_id": ids.bos, "eos_token_id": eos, "pad_token_id": ids.pad}


def _write_weights(
    tensors: Sequence[PublishedTensor], folder: Path, dtype: torch.dtype, max_shard_bytes: int
) -> set[str]:
    """Write all shards, one tensor in memory at a time; returns the names of the files."""
    plan = _plan_shards(tensors, dtype, max_shard_bytes)
    if len(plan) == 1:
        _write_shard(plan[0], folder / WEIGHTS, dtype)
        return {WEIGHTS}
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(plan, start=1):
        file_name = f"model-{number:05d}-of-{len(plan):05d}.safetensors"
        _write_shard(shard, folder / file_name, dtype)
        weight_map |= dict.fromkeys((t.name for t in shard), file_name)
    total = sum(t.n_bytes(dtype) for t in tensors)
    write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})
    return {INDEX, *weight_map.values()}


def _plan_shards(
    tensors: Sequence[PublishedTensor], dtype: torch.dtype, max_bytes: int
) -> list[list[PublishedTensor]]:
    plan: list[list[PublishedTensor]] = [[]]
    room = max_bytes
    for tensor in tensors:
        n_bytes = tensor.n_bytes(dtype)
        if plan[-1] and n_bytes > room:
            plan.append([])
            room = max_bytes
        plan[-1].append(tensor)
        room -= n_bytes
    return plan


def _write_shard(tensors: Sequence[PublishedTensor], path: Path, dtype: torch.dtype) -> None:
    with replace_file(path) as temporary:
        write_safetensors(temporary, tensors, dtype)


def published_tensors(model: Transformer) -> Iterator[tuple[str, Tensor]]:
    """Every tensor under its published name, as a view of the model's weights."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    for name, place in parameter_parts(model).items():
        tensor = parameters[place.parameter]
        yield name, tensor[place.index] if place.index else tensor
