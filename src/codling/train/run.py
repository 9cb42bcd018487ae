"""The frame of a training stage: tokens in, a checkpoint out, on one process or several.

Not here: the loop (trainer.py), and where the model comes from (pretrain.py, extend.py).
"""

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from codling.checkpoint.store import TokenIds, find_tokenizer_files, save_hf
from codling.core.artifact import (
    SHARDS,
    Artifact,
    Draft,
    Input,
    is_complete,
    open_artifact,
    produce,
)
from codling.core.errors import ConfigError, TokenizerError
from codling.core.files import write_json
from codling.core.foreign_json import read_object
from codling.core.log import say
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.tokens.dataset import TokenDataset
from codling.tokens.token_files import StreamMeta, read_meta
from codling.tokens.tokenizer import Tokenizer
from codling.train.config import ExpertsConfig, LoopConfig
from codling.train.languages import HeldoutLanguages, find_languages
from codling.train.loader import Batch, Batches
from codling.train.parallel.context import check_window
from codling.train.parallel.lost_ranks import RankWatch, end_soon
from codling.train.parallel.mesh import RankLayout
from codling.train.parallel.pipeline import count_rows
from codling.train.parallel.ranks import Ranks, join_ranks
from codling.train.summary import Summary
from codling.train.trainer import Trainer

_MIN_WINDOWS = 8
"""Fewer windows of training text are all trained on."""


def train_on_tokens(  # noqa: PLR0913 (a model, its data, its settings and its place)
    model: Transformer,
    config: LoopConfig,
    tokens_dir: Path,
    folder: Path,
    ranks: Ranks,
    experts: ExpertsConfig | None = None,
    *,
    context: int | None = None,
    validation_share: float = 0.0,
    replay: tuple[Path, float] | None = None,
    layout: RankLayout | None = None,
) -> Summary:
    """Run the loop over a token stream, in windows of `context` or the model's max_position.

    `validation_share` of the windows are not trained on: the weights that do best on them are kept,
    and they take the place of the held-out stream, which then chooses nothing.
    `replay`: other tokens, and the share of the windows that come from them. `layout`: how the
    processes share the model; by default each has the whole.
    """
    if layout is not None:
        ranks = layout.place(ranks)
    context = context or model.config.max_position
    check_rows(config, ranks, layout, context)
    meta = read_meta(tokens_dir)
    dataset = TokenDataset(tokens_dir, "train", context, config.batch_size, config.seed)
    if validation_share:
        heldout, languages = _set_aside(dataset, validation_share, config), None
    else:
        heldout, languages = _heldout(tokens_dir, context, config, meta)
    source: Callable[[int], Tensor] = dataset.batch
    if replay is not None:
        other = TokenDataset(replay[0], "train", context, 1, config.seed)
        source = mix_windows(dataset, other, replay[1])
    trainer = Trainer(
        model,
        _batches(source, config.batch_size, ranks),
        config,
        folder,
        heldout=heldout,
        languages=languages,
        bytes_per_token=meta.splits["train"].n_bytes / max(1, meta.splits["train"].n_tokens),
        experts=experts,
        ranks=ranks,
        layout=layout,
        keep_best=validation_share > 0,
        crew=True,
    )
    return run_watched(trainer, folder, ranks)


def run_watched(trainer: Trainer, folder: Path, ranks: Ranks) -> Summary:
    """Run it; a process that keeps the others waiting is named."""
    watch = RankWatch(folder / SHARDS / "ranks", ranks)
    try:
        return trainer.run()
    except RuntimeError as error:
        explained = watch.explain(error, trainer.position.step)
        if explained is not error:
            end_soon()
        raise explained from error


def check_rows(
    config: LoopConfig, ranks: Ranks, layout: RankLayout | None = None, context: int = 0
) -> None:
    """ConfigError if the rows of a batch, of `context` tokens, cannot be shared by processes."""
    if config.batch_size % ranks.n_data:
        raise ConfigError(
            f"batch_size is {config.batch_size}, which {ranks.n_data} processes cannot share "
            "evenly; choose a multiple"
        )
    if layout is not None and layout.cp > 1:
        check_window(context, layout.cp)
    if layout is not None and layout.pp > 1:
        for n_batches in {config.accumulate_from or config.accumulate, config.accumulate}:
            count_rows(config.batch_size // ranks.n_data, n_batches, layout)


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
    for path in find_tokenizer_files(folder):
        shutil.copyfile(path, draft.file(path.relative_to(folder).as_posix()))
    settings = draft.file("tokenizer_config.json")
    if settings.is_file():
        stored = read_object(settings, TokenizerError)
        write_json(settings, stored | {"fim_mode": fim_mode})
    special = Tokenizer.open(tokenizer_dir).specials
    ids = TokenIds(bos=special.bos, eos=special.eos, pad=special.pad)
    save_hf(model, shape, draft.path, dtype=torch.bfloat16, ids=ids)


def counts_of(summary: Summary, meta: StreamMeta) -> dict[str, float | int | None]:
    """The counts of a run for its manifest."""
    counts = asdict(summary)
    held = meta.splits["heldout"]
    if summary.heldout_loss is not None and held.n_tokens:
        bytes_per_token = held.n_bytes / held.n_tokens
        counts["heldout_bits_per_byte"] = summary.heldout_loss / math.log(2) / bytes_per_token
    return counts


def produce_on_ranks(  # noqa: PLR0913 (the arguments of produce)
    out_dir: Path,
    *,
    kind: str,
    version: int,
    config: object,
    inputs: Sequence[Artifact | Input],
    work: Callable[[Draft], None],
) -> Artifact:
    """`produce` for one or several processes: rank 0 owns the folder, the others only compute."""
    ranks = join_ranks()
    if ranks.is_main:
        artifact = produce(
            out_dir, kind=kind, version=version, config=config, inputs=inputs, work=work
        )
        ranks.wait()
        return artifact
    if not is_complete(out_dir, kind=kind, version=version, config=config, inputs=inputs):
        work(Draft(out_dir.absolute().with_name(out_dir.name + ".partial"), kind, ""))
    ranks.wait()
    return open_artifact(out_dir, kind)


def mix_windows(own: TokenDataset, other: TokenDataset, share: float) -> Callable[[int], Tensor]:
    """Batches of `own` in which windows of `other` take the place of `share` of the rows.

    `other` gives one window a batch.
    """

    def batch(number: int) -> Tensor:
        tokens = own.batch(number)
        first, end = (math.floor(n * own.batch_size * share) for n in (number, number + 1))
        for row, place in enumerate(range(first, end)):
            tokens[row] = other.batch(place)[0]
        return tokens

    return batch


def _batches(source: Callable[[int], Tensor], batch_size: int, ranks: Ranks) -> Batches:
    rows = ranks.rows(batch_size)

    def batch(number: int) -> tuple[Tensor, Tensor]:
        tokens = source(number)[rows]
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    return batch


def _heldout(
    tokens_dir: Path, context: int, config: LoopConfig, meta: StreamMeta
) -> tuple[tuple[Batch, ...], HeldoutLanguages | None]:
    """A few batches of held-out windows, the same throughout the run, and their languages."""
    if not meta.splits["heldout"].n_tokens or not config.n_heldout_evals:
        return (), None
    n_windows = max(1, min(config.heldout_tokens, meta.splits["heldout"].n_tokens) // context)
    size = min(config.batch_size, n_windows)
    dataset = TokenDataset(tokens_dir, "heldout", context, size, 0)
    numbers = range(n_windows // size)
    batches = (dataset.batch(i) for i in numbers)
    starts = [dataset.starts(i) for i in numbers]
    inputs = tuple((b[:, :-1].contiguous(), b[:, 1:].contiguous()) for b in batches)
    return inputs, find_languages(tokens_dir, starts, context + 1)


def _set_aside(dataset: TokenDataset, share: float, config: LoopConfig) -> tuple[Batch, ...]:
    """Batches of training windows that training will not see; none of a stream of a few windows."""
    n_windows = min(int(dataset.n_windows * share), config.heldout_tokens // dataset.context)
    if dataset.n_windows < _MIN_WINDOWS:
        say("too little text to set any of it aside; the last weights are kept, not the best")
        return ()
    windows = [dataset.window(i) for i in dataset.set_aside(max(1, n_windows))]
    tokens = torch.split(torch.from_numpy(np.stack(windows)), config.batch_size)
    return tuple((b[:, :-1].contiguous(), b[:, 1:].contiguous()) for b in tokens)
