"""Which weights of a published model are trained, and what is written of them.

Input: a base and how it is trained. Output: a model for the loop; afterwards an adapter in peft's
format, or with all weights a checkpoint with the base's tokenizer.

Not here: LoRA itself (lora.py), and what is learned (adapt.py, tune.py).
"""

import math
from pathlib import Path

import torch

from codling.checkpoint.adapter import ADAPTER, save_adapter
from codling.checkpoint.load import is_gguf, load_model, read_stored
from codling.checkpoint.tokenizer_files import write_tokenizer
from codling.core.artifact import Draft
from codling.core.errors import ConfigError
from codling.model.config import ModelConfig
from codling.model.device import choose_device, choose_type
from codling.model.transformer import Transformer
from codling.posttrain.config import PosttrainConfig
from codling.posttrain.lora import add_lora, matrices
from codling.train.run import publish_checkpoint
from codling.train.summary import Summary


def kind_of(config: PosttrainConfig) -> str:
    """The kind of the artefact that training gives."""
    return ADAPTER if config.mode == "lora" else "checkpoint"


def check_vocabulary(model: Path, shape: ModelConfig, n_tokens: int) -> None:
    """ConfigError if a tokenizer has more tokens than the model of that shape."""
    if n_tokens > shape.vocab_size:
        raise ConfigError(
            f"{model}: its tokenizer has {n_tokens} tokens but the model only "
            f"{shape.vocab_size}; take both from the same checkpoint"
        )


def prepare(path: Path, config: PosttrainConfig, *, shared: bool = False) -> Transformer:
    """The base, ready to be trained: frozen and with LoRA beside it, or whole in fp32.

    Weights that will be `shared` out among processes stay in the file until then."""
    if config.mode == "full":
        return load_model(path, dtype=_type_to_share(path) if shared else torch.float32)
    dtype = choose_type(config.precision, choose_device(config.device))
    model = load_model(path, dtype=dtype)
    add_lora(model, config.rank, config.alpha, torch.Generator().manual_seed(config.seed))
    return model


def _type_to_share(path: Path) -> torch.dtype:
    """The one type of the stored weights, in which they stay in the file's pages until they are
    shared out block by block; fp32 where there are several, or they must be computed."""
    types = {tensor.dtype for tensor in read_stored(path)[1]}
    return types.pop() if len(types) == 1 and not is_gguf(path) else torch.float32


def publish(
    draft: Draft, model: Transformer, config: PosttrainConfig, path: Path, fim_mode: str
) -> None:
    """Write what was trained into the draft."""
    if config.mode == "lora":
        save_adapter(
            matrices(model),
            draft.path,
            rank=config.rank,
            alpha=config.alpha,
            base_name=str(config.model),
        )
        return
    tokenizer_dir = draft.inner("tokenizer").path
    write_tokenizer(path, tokenizer_dir)
    publish_checkpoint(draft, model, model.config, tokenizer_dir, fim_mode)


def validation_bits(summary: Summary, n_tokens: int, n_bytes: int) -> dict[str, float]:
    """The losses on what was set aside, before and after, as bits per byte of a text of so many
    tokens and bytes."""
    per_nat = n_tokens / max(1, n_bytes) / math.log(2)
    named = {
        "validation_bits_before": summary.heldout_loss_before,
        "validation_bits": summary.heldout_loss,
    }
    return {name: loss * per_nat for name, loss in named.items() if loss is not None}
