"""A model as a plain Hugging Face folder: transformers, vLLM and SGLang load it unchanged.

Input: a shape, tensors that are read one by one, and a tokenizer's folder. Output: config.json,
safetensors (in shards with an index where they are large), and the tokenizer's files, settled so
that other libraries make the same ids of a text.

Not here: the files themselves (checkpoint/store.py), rounding (compressed.py).
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from codling.checkpoint.load import is_gguf
from codling.checkpoint.store import (
    CONFIG,
    GENERATION_CONFIG,
    TokenIds,
    save_tensors,
)
from codling.checkpoint.stored import PublishedTensor
from codling.checkpoint.tokenizer_files import settle_tokenizer
from codling.core.errors import CheckpointError
from codling.core.foreign_json import read_object
from codling.model.config import ModelConfig
from codling.tokens.tokenizer import Tokenizer

HF_TYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}


def write_hf_model(  # noqa: PLR0913  a model in parts
    folder: Path,
    shape: ModelConfig,
    tensors: Sequence[PublishedTensor],
    model: Path,
    tokenizer_dir: Path,
    stored: torch.dtype,
    shard_bytes: int,
    quantization: Mapping[str, Any] | None = None,
) -> None:
    """Write the model that lay at `model` to `folder`, its weights in type `stored`.

    `quantization` is what config.json says of tensors that have a type of their own.

    A published model's generation_config.json goes with it, for the tokens that end its answers;
    that of a tuned model's tokenizer comes before it.
    """
    shutil.copytree(tokenizer_dir, folder, dirs_exist_ok=True)
    settle_tokenizer(folder)
    save_tensors(
        tensors,
        shape,
        folder,
        dtype=stored,
        ids=_token_ids(model, tokenizer_dir),
        max_shard_bytes=shard_bytes,
        more_settings={"quantization_config": quantization} if quantization else None,
    )
    places = (folder / GENERATION_CONFIG for folder in (tokenizer_dir, model))
    published = next((place for place in places if place.is_file()), None)
    if published is not None:
        shutil.copyfile(published, folder / GENERATION_CONFIG)


def _token_ids(model: Path, tokenizer_dir: Path) -> TokenIds:
    """What config.json says of special tokens: as before, else what the tokenizer says."""
    special = Tokenizer.open(tokenizer_dir).specials
    stated: Mapping[str, Any] = (
        {} if is_gguf(model) else read_object(tokenizer_dir / CONFIG, CheckpointError)
    )
    eos = stated.get("eos_token_id", special.eos)
    return TokenIds(
        bos=stated.get("bos_token_id", special.bos),
        eos=tuple(eos) if isinstance(eos, list) else eos,
        pad=stated.get("pad_token_id", special.pad),
    )
