"""Learn a byte-level BPE vocabulary from the training samples.

Input: an artefact of kind "samples". Output: an artefact of kind "tokenizer": tokenizer.json and
tokenizer_config.json, which transformers loads unchanged. No chat template: what is trained with it
completes code.

The text is first split, as coder-v1 splits it (line ends alone, words and punctuation with at most
one space before them) or as Qwen2 does (words with one sign or blank before them, signs with the
line ends after them, line ends with the blank lines before them); every digit alone. The special
tokens follow the vocabulary in coder-v1's order. All 256 bytes are in the vocabulary, so that any
text can be encoded and decoded without loss.

Not here: encoding (tokenizer.py), and the held-out split: no byte of it is looked at.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Core

from codling.core.artifact import Artifact, open_artifact
from codling.core.errors import SourceError
from codling.core.files import write_json, write_text
from codling.core.log import Bar
from codling.core.ranges import Count, Range, Ranged, Seed
from codling.core.recipe import aside
from codling.core.shards import read_rows
from codling.core.stage import Work, stage
from codling.tokens.families import BOS, CODER_V1_ORDER, EOS, SPLITS, SplitsName

_PIECE_CHARS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig(Ranged):
    """Settings of learn_tokenizer."""

    samples_dir: Path = aside(Path("runs/samples"))
    """Artefact of kind "samples" to learn from; only its training split is read."""
    out_dir: Path = aside(Path("runs/tokenizer"))
    """Where the tokenizer goes."""
    vocab_size: Annotated[
        int, Range(265, 4_000_000, why="256 bytes and 9 special tokens are always there")
    ] = 4096
    """Tokens in all, the nine special ones included."""
    splits: SplitsName = "coder-v1"
    """Rules for borders that no token crosses: coder-v1's or Qwen2's, which give an eighth fewer
    tokens for code."""
    sample_bytes: Count = 32_000_000
    """About this much text is read, drawn evenly from the whole training split."""
    seed: Seed = 0
    """Decides which pieces of text are drawn."""


@stage("tokenizer", version=2)
def learn_tokenizer(config: TokenizerConfig) -> Work:
    """Learn a byte-level BPE from the training samples, with coder-v1's special tokens.

    Example:
        codling learn-tokenizer --samples-dir runs/stdlib/samples --out-dir runs/stdlib/tokenizer
    """
    samples = open_artifact(config.samples_dir, "samples")
    draft = yield [samples]
    total = _n_train_bytes(samples)
    if total == 0:
        raise SourceError(f"{config.samples_dir} has no training samples; add sources")
    core = train(_draw_pieces(samples, total, config), config.vocab_size, config.splits)
    write_text(draft.file("tokenizer.json"), core.to_str(pretty=True))
    write_json(draft.file("tokenizer_config.json"), _tokenizer_config())
    draft.counts |= {"vocab_size": core.get_vocab_size(), "train_bytes": total}


def train(texts: Iterator[str], vocab_size: int, splits: SplitsName = "coder-v1") -> Core:
    """A BPE of `vocab_size` tokens (fewer if the text has fewer pairs), special ones included."""
    core = Core(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(p), "isolated") for p in SPLITS[splits]]
        + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(CODER_V1_ORDER),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in CODER_V1_ORDER])
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A {BOS}:1 $B:1",
        special_tokens=[(BOS, core.token_to_id(BOS))],
    )
    return core


def _n_train_bytes(samples: Artifact) -> int:
    total = 0
    for path in samples.files("samples-*.parquet"):
        table = pq.read_table(path, columns=["split", "content"])
        kept = table.filter(pc.equal(table["split"], "train"))["content"]
        total += pc.sum(pc.binary_length(kept)).as_py() or 0
    return total


def _draw_pieces(samples: Artifact, total: int, config: TokenizerConfig) -> Iterator[str]:
    """Pieces of the training split, each chosen by a hash of its sample and place."""
    share = config.sample_bytes / total
    with Bar("learn tokenizer", min(total, config.sample_bytes) / 1e6, unit="MB") as bar:
        for row in read_rows(samples, "samples", columns=["id", "split", "content"]):
            if row["split"] != "train":
                continue
            text: str = row["content"]
            for start in range(0, len(text), _PIECE_CHARS):
                piece = text[start : start + _PIECE_CHARS]
                if share >= 1 or _fraction(config.seed, row["id"], start) < share:
                    bar.advance(len(piece.encode()) / 1e6)
                    yield piece


def _fraction(seed: int, sample_id: str, start: int) -> float:
    """A number from 0 to 1 that depends only on these three."""
    digest = hashlib.blake2b(f"{seed}\0{sample_id}\0{start}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": EOS,
        "unk_token": None,
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1_000_000,
    }
