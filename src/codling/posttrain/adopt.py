"""The stage adopt: the tokenizer of a published model becomes an artefact, ready for pack.

Input: a checkpoint's folder or a .gguf file. Output: an artefact of kind "tokenizer" with the
published files; of a GGUF file they are made from its metadata.

Not here: learning a tokenizer (tokens/bpe.py).
"""

from dataclasses import dataclass
from pathlib import Path

from codling.checkpoint.hub import local_path
from codling.checkpoint.load import is_gguf
from codling.checkpoint.tokenizer_files import write_tokenizer
from codling.core.artifact import sha256_of
from codling.core.errors import TokenizerError
from codling.core.inputs import source_input
from codling.core.recipe import aside
from codling.core.stage import Work, stage
from codling.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class AdoptConfig:
    """Settings of adopt."""

    model: Path = aside()
    """A checkpoint's folder, a .gguf file, or ORGANISATION/MODEL on the hub."""
    out_dir: Path = aside(Path("runs/tokenizer"))
    """Where its tokenizer goes."""


@stage("tokenizer", version=1)
def adopt(config: AdoptConfig) -> Work:
    """Take over the tokenizer of a published model, for packing.

    Example:
        codling adopt qwen2.5-coder-0.5b.gguf --out-dir runs/app/tokenizer
    """
    path = local_path(config.model)
    file = path if is_gguf(path) else path / "tokenizer.json"
    if not file.is_file():
        raise TokenizerError(f"no tokenizer.json at {path}; name a model's folder or a .gguf file")
    draft = yield [source_input(path, sha256_of(file)[:16])]
    write_tokenizer(path, draft.path)
    tokenizer = Tokenizer.open(draft.path)
    draft.counts |= {"tokens": tokenizer.vocab_size, "can_insert": tokenizer.can_insert}
