"""The stage tune: a published model learns to answer, from dialogues.

Input: a base (Hugging Face folder or GGUF file) and dialogues made with its own tokenizer
(tokens/dialogues.py). Output: with LoRA an artefact of kind "adapter" in peft's format; with all
weights trained (`--mode full`) one of kind "checkpoint". The chat template by which the dialogues
were written is saved with either, so that the model is asked as it was taught. Where dialogues are
held out, the weights are those that did best on them; the base's own weights included.

Only answers count, each counted token of an update the same (windows.py); the losses of
metrics.jsonl are means over counted tokens, and its bits those of the answers.

Not here: the loop (train/trainer.py), and what is trained and written (weights.py).
"""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from codling.checkpoint.hub import local_path
from codling.checkpoint.load import load_config
from codling.checkpoint.settings import to_published
from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.checkpoint.turns import Turns, write_adapter_turns, write_turns
from codling.checkpoint.verify import check_files, model_input
from codling.core.artifact import Draft, open_artifact
from codling.core.errors import ConfigError
from codling.core.files import read_json_lines
from codling.core.log import say
from codling.core.memory import available_share
from codling.core.stage import Work, stage
from codling.model.config import ModelConfig
from codling.posttrain.answers import SampleAnswers, take_questions
from codling.posttrain.config import TuneConfig, count_steps, fit_update
from codling.posttrain.insertions import join_streams, make_insertions
from codling.posttrain.plan import RankShare, check_memory
from codling.posttrain.sharing import join_layout
from codling.posttrain.weights import (
    check_vocabulary,
    kind_of,
    prepare,
    publish,
    validation_bits,
)
from codling.posttrain.windows import Windows
from codling.tokens.dialogue_files import (
    KIND,
    DialogueMeta,
    LabelledStream,
    open_labelled,
    read_dialogue_meta,
)
from codling.tokens.template_files import TEMPLATE
from codling.tokens.tokenizer import Tokenizer
from codling.train.loader import Batch
from codling.train.run import produce_on_ranks, run_watched
from codling.train.summary import METRICS, Summary
from codling.train.trainer import Trainer


@stage(kind_of, version=1, produce=produce_on_ranks)
def tune(config: TuneConfig) -> Work:
    """Tune a published model on dialogues, resumably: an adapter, or with --mode full all weights.

    Raises ConfigError if dialogues and base do not fit together, or the memory is too small, with
    what would fit; SystemExit(143) after SIGTERM, with the state saved.

    Example:
        codling tune --model models/qwen2.5-coder-0.5b --dialogues-dir runs/app/dialogues \
--out-dir runs/app/adapter --epochs 3
    """
    path = local_path(config.model)
    check_files(path)
    shape, meta = load_config(path), read_dialogue_meta(config.dialogues_dir)
    tokenizer = open_tokenizer(path)
    _check_dialogues(config, shape, meta, tokenizer)
    context = config.context or meta.context
    ranks, layout = join_layout(config, shape, context)
    draft = yield [model_input(path), open_artifact(config.dialogues_dir, KIND)]
    share = RankShare(ranks.n_ranks, layout is not None)
    made = check_memory(shape, config, context, available_share(), share)
    answers = _read_answers(config, meta, tokenizer, context)
    say(f"{made}; {answers}")
    model = prepare(path, config, shared=layout is not None)
    asks = layout is None  # one process alone has no whole model to ask
    samples = _samples(config, tokenizer, context, draft, config.n_samples if asks else 0)
    fitted = fit_update(config, answers.n_rows, len(answers.windows), ranks.n_data)
    trainer = Trainer(
        model,
        lambda i: answers.windows.micro_batch(i, fitted.batch_size, fitted.accumulate, ranks),
        count_steps(fitted, config.epochs, len(answers.windows)),
        draft.path,
        heldout=_heldout(config, meta, context),
        bytes_per_token=answers.n_bytes / max(1, answers.n_counted),
        ranks=ranks,
        keep_best=True,
        patience=config.patience,
        layout=layout,
        on_heldout=lambda step: samples.ask(model, step, write=ranks.is_main),
        crew=True,
    )
    summary = run_watched(trainer, draft.path, ranks)
    if ranks.is_main:
        publish(draft, model, config, path, tokenizer.fim_mode)
        _save_turns(draft, config, tokenizer)
        samples.publish(_heldout_losses(draft.path, summary))
        draft.counts |= {"parameters": made.n_parameters, "trained": made.n_trained}
        draft.counts |= asdict(summary) | answers.counts
        draft.counts |= validation_bits(summary, answers.n_counted, answers.n_bytes)


@dataclass(frozen=True)
class _Answers:
    """What is learned: dialogues, and insertion tasks among them."""

    windows: Windows
    n_dialogues: int
    n_insertions: int
    n_counted: int
    n_bytes: int

    @property
    def n_rows(self) -> int:
        """Documents of both kinds."""
        return self.n_dialogues + self.n_insertions

    @property
    def counts(self) -> dict[str, float]:
        """What the manifest says of them."""
        return {
            "counted_tokens": self.n_counted,
            "insertions": self.n_insertions,
            "filled": round(self.windows.filled, 4),
        }

    def __str__(self) -> str:
        tasks = f" and {self.n_insertions:,} insertion tasks" if self.n_insertions else ""
        return (
            f"{self.n_dialogues:,} dialogues{tasks} in {len(self.windows):,} windows of "
            f"{self.windows.context:,} tokens, {self.windows.filled:.1%} full; {self.n_counted:,} "
            "tokens count"
        )


def _read_answers(
    config: TuneConfig, meta: DialogueMeta, tokenizer: Tokenizer, context: int
) -> _Answers:
    stream, own = open_labelled(config.dialogues_dir, "train"), meta.splits["train"]
    n_insertions, n_counted, n_bytes = 0, own.n_counted, own.n_bytes
    if config.fim_rate:
        tasks = make_insertions(stream, tokenizer, config.fim_rate, context, config.seed)
        stream = join_streams(stream, tasks.stream)
        n_insertions = len(tasks.stream.starts)
        n_counted, n_bytes = n_counted + tasks.n_counted, n_bytes + tasks.n_bytes
    windows = Windows(
        stream,
        context,
        meta.eos,
        config.seed,
        packing=config.packing,
        weigh=config.weigh,
        group=config.batch_size if config.group_by_length else 0,
    )
    return _Answers(windows, own.n_documents, n_insertions, n_counted, n_bytes)


def _check_dialogues(
    config: TuneConfig, shape: ModelConfig, meta: DialogueMeta, tokenizer: Tokenizer
) -> None:
    if (meta.vocab_size, meta.eos) != (tokenizer.vocab_size, tokenizer.specials.eos):
        raise ConfigError(
            f"the dialogues in {config.dialogues_dir} were made with a vocabulary of "
            f"{meta.vocab_size} that ends at {meta.eos}, but {config.model} has "
            f"{tokenizer.vocab_size} tokens and ends at {tokenizer.specials.eos}; make them again "
            f"with --tokenizer-dir {config.model}"
        )
    check_vocabulary(config.model, shape, meta.vocab_size)
    context = config.context or meta.context
    if context > shape.max_position:
        raise ConfigError(
            f"context is {context}, but {config.model} reads {shape.max_position} tokens; make the "
            f"dialogues again with --context {shape.max_position}"
        )
    if config.mode == "full":
        to_published(shape)  # refuses, before any training, what could not be saved


def _heldout(config: TuneConfig, meta: DialogueMeta, context: int) -> tuple[Batch, ...]:
    """The held-out dialogues in batches, up to `heldout_tokens`; the same throughout the run."""
    stream = open_labelled(config.dialogues_dir, "heldout")
    windows = Windows(stream, context, meta.eos, 0)
    if not len(windows) or not config.n_heldout_evals:
        say("no dialogues are held out and measured; the last weights are kept, not the best")
        return ()
    wanted = list(range(min(len(windows), max(1, config.heldout_tokens // context))))
    size = config.batch_size
    return tuple(windows.batch(wanted[i : i + size]) for i in range(0, len(wanted), size))


def _samples(
    config: TuneConfig, tokenizer: Tokenizer, context: int, draft: Draft, n: int
) -> SampleAnswers:
    stream = open_labelled(config.dialogues_dir, "heldout")
    room = context - config.sample_tokens
    questions = list(take_questions(stream, n, room))
    if n and len(stream.starts) and not questions:
        say(
            f"no held-out question leaves room for {config.sample_tokens:,} of {context:,} tokens: "
            "none is answered on the way; lower --sample-tokens"
        )
    return SampleAnswers(questions, tokenizer, draft.path, config.sample_tokens)


def _heldout_losses(folder: Path, summary: Summary) -> list[tuple[int, float]]:
    """After how many steps which held-out loss was measured."""
    first = summary.heldout_loss_before
    rows = read_json_lines(folder / METRICS)
    later = [(row["step"] + 1, row["heldout_loss"]) for row in rows if "heldout_loss" in row]
    return later if first is None else [(0, first), *later]


def _save_turns(draft: Draft, config: TuneConfig, tokenizer: Tokenizer) -> None:
    """Template and ends of answers, where other programs and our own engine look for them."""
    template = (config.dialogues_dir / TEMPLATE).read_text(encoding="utf-8")
    turns = Turns(template, _ends(open_labelled(config.dialogues_dir, "train"), tokenizer))
    (write_adapter_turns if config.mode == "lora" else write_turns)(draft.path, turns)


def _ends(stream: LabelledStream, tokenizer: Tokenizer) -> tuple[int, ...]:
    """The special tokens with which the dialogues end, the most frequent first."""
    last = Counter(stream.ids[stream.starts + stream.lengths - 1].tolist())
    return tuple(i for i, _ in last.most_common() if tokenizer.is_special(i))
