"""The stage adopt: the tokenizer of a published model becomes an artefact, ready for pack.

Input: a checkpoint's folder or a .gguf file. Output: an artefact of kind "tokenizer" with the
published files; of a GGUF file they are made from its metadata.

Not here: learning a tokenizer (tokens/bpe.py).
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from codling.checkpoint.gguf_file import read_gguf_metadata
from codling.checkpoint.hub import local_path
from codling.checkpoint.load import is_gguf
from codling.core.artifact import sha256_of
from codling.core.errors import TokenizerError, name_faults
from codling.core.files import write_json
from codling.core.inputs import source_input
from codling.core.recipe import aside
from codling.core.stage import Work, stage
from codling.tokens.from_gguf import tokenizer_files, tokenizer_from_gguf
from codling.tokens.tokenizer import Tokenizer
from codling.train.run import TOKENIZER_FILES

_CONFIG = "config.json"


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


def open_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a model; TokenizerError if there is none in a known format."""
    path = local_path(path)
    if not is_gguf(path):
        return Tokenizer.open(path)
    with name_faults(path, TokenizerError):
        return tokenizer_from_gguf(read_gguf_metadata(path))


def write_tokenizer(model: Path, folder: Path) -> None:
    """The files of a model's tokenizer into `folder`, config.json too: ids depend on it."""
    folder.mkdir(parents=True, exist_ok=True)
    if is_gguf(model):
        _write_from_gguf(model, folder)
        return
    found = [p for pattern in (*TOKENIZER_FILES, _CONFIG) for p in model.glob(pattern)]
    for source in (p for p in found if p.is_file()):
        target = folder / source.relative_to(model)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _write_from_gguf(model: Path, folder: Path) -> None:
    with name_faults(model, TokenizerError):
        files = tokenizer_files(read_gguf_metadata(model))
    config = dict(files.tokenizer_config)
    templates = config.pop("chat_template", {})
    if "default" in templates:
        config["chat_template"] = templates["default"]
    write_json(folder / "tokenizer.json", files.tokenizer_json)
    # The class that reads tokenizer.json as it is, whatever the model.
    write_json(
        folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"} | config
    )
    write_json(folder / _CONFIG, files.model_config)
