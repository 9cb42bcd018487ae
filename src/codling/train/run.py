"""The frame of a training stage: tokens in, a checkpoint out, on one process or several.

Not here: the loop (trainer.py), and where the model comes from (pretrain.py, extend.py).
"""

import math
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from codling.checkpoint.store import TokenIds, save_hf
from codling.core.artifact import Artifact, Draft, Input, is_complete, open_artifact, produce
from codling.core.errors import ConfigError, TokenizerError
from codling.core.files import write_json
from codling.core.foreign_json import read_object
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.tokens.dataset import TokenDataset
from codling.tokens.token_files import StreamMeta, read_meta
from codling.tokens.tokenizer import Tokenizer
from codling.train.config import LoopConfig
from codling.train.parallel.ranks import Ranks
from codling.train.trainer import Batches, Summary, Trainer

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
)


def train_on_tokens(  # noqa: PLR0913 (a model, its data, its settings and its place)
    model: Transformer,
    config: LoopConfig,
    tokens_dir: Path,
    folder: Path,
    ranks: Ranks,
    balance_alpha: float = 0.0,
) -> Summary:
    """Run the loop over a token stream; windows as long as the model's max_position."""
    context = model.config.max_position
    if config.batch_size % ranks.n_ranks:
        raise ConfigError(
            f"batch_size is {config.batch_size}, which {ranks.n_ranks} processes cannot share "
            "evenly; choose a multiple"
        )
    meta = read_meta(tokens_dir)
    dataset = TokenDataset(tokens_dir, "train", context, config.batch_size, config.seed)
    trainer = Trainer(
        model,
        _batches(dataset, ranks),
        config,
        folder,
        heldout=_heldout(tokens_dir, context, config, meta),
        bytes_per_token=meta.splits["train"].n_bytes / max(1, meta.splits["train"].n_tokens),
        balance_alpha=balance_alpha,
        ranks=ranks,
    )
    return trainer.run()


def publish_checkpoint(
    draft: Draft,
    model: Transformer,
    shape: ModelConfig,
    tokenizer_dir: Path,
    fim_mode: str = "psm",
) -> None:
    """Write the model in bf16, and its tokenizer's files, into the draft.

    `fim_mode` goes into tokenizer_config.json, where insertion prompts look for it.
    """
    folder = tokenizer_dir if tokenizer_dir.is_dir() else tokenizer_dir.parent
    for path in (p for pattern in _TOKENIZER_FILES for p in folder.glob(pattern) if p.is_file()):
        shutil.copyfile(path, draft.file(path.relative_to(folder).as_posix()))
    settings = draft.file("tokenizer_config.json")
    if settings.is_file():
        stored = read_object(settings, TokenizerError)
        write_json(settings, stored | {"fim_mode": fim_mode})
    special = Tokenizer.open(tokenizer_dir).specials
    ids = TokenIds(bos=special.bos, eos=special.eos, pad=special.pad)
    save_hf(model, shape, draft.path, dtype=torch.bfloat16, ids=ids)


def counts_of(summary: Summary, meta: StreamMeta) -> dict[str, float | int | None]:
    """What the manifest says of a run."""
    counts = asdict(summary)
    held = meta.splits["heldout"]
    if summary.heldout_loss is not None and held.n_tokens:
        bytes_per_token = held.n_bytes / held.n_tokens
        counts["heldout_bits_per_byte"] = summary.heldout_loss / math.log(2) / bytes_per_token
    return counts


def produce_on_ranks(  # noqa: PLR0913 (the arguments of produce, and who we are)
    out_dir: Path,
    config: LoopConfig,
    inputs: list[Artifact | Input],
    work: Callable[[Draft], None],
    ranks: Ranks,
    version: int,
) -> Artifact:
    """`produce` for one or several processes: rank 0 owns the folder, the others only compute."""
    settings = {"kind": "checkpoint", "version": version, "config": config, "inputs": inputs}
    if ranks.is_main:
        artifact = produce(out_dir, work=work, **settings)  # type: ignore[arg-type]
        ranks.wait()
        return artifact
    if not is_complete(out_dir, **settings):  # type: ignore[arg-type]
        work(Draft(out_dir.absolute().with_name(out_dir.name + ".partial"), "checkpoint", ""))
    ranks.wait()
    return open_artifact(out_dir, "checkpoint")


def _batches(dataset: TokenDataset, ranks: Ranks) -> Batches:
    rows = ranks.rows(dataset.batch_size)

    def batch(number: int) -> tuple[Tensor, Tensor]:
        tokens = dataset.batch(number)[rows]
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    return batch


def _heldout(
    tokens_dir: Path, context: int, config: LoopConfig, meta: StreamMeta
) -> tuple[tuple[Tensor, Tensor], ...]:
    """A few batches of held-out windows, the same throughout the run."""
    if not meta.splits["heldout"].n_tokens or not config.n_heldout_evals:
        return ()
    n_windows = max(1, min(config.heldout_tokens, meta.splits["heldout"].n_tokens) // context)
    size = min(config.batch_size, n_windows)
    dataset = TokenDataset(tokens_dir, "heldout", context, size, 0)
    batches = (dataset.batch(i) for i in range(n_windows // size))
    return tuple((b[:, :-1].contiguous(), b[:, 1:].contiguous()) for b in batches)
