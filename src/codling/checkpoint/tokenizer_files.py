"""The tokenizer that comes with a model: opened, or copied as files.

Input: a checkpoint's folder or a .gguf file. Output: a Tokenizer, or the files that a published
tokenizer has; of a GGUF file they are made from its metadata.

Not here: what the files mean (tokens/).
"""

import shutil
from pathlib import Path

from codling.checkpoint.gguf_file import read_gguf_metadata
from codling.checkpoint.hub import local_path
from codling.checkpoint.load import is_gguf
from codling.checkpoint.store import CONFIG, find_tokenizer_files
from codling.core.errors import TokenizerError, name_faults
from codling.core.files import write_json
from codling.tokens.from_gguf import tokenizer_files, tokenizer_from_gguf
from codling.tokens.tokenizer import Tokenizer


def open_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a model; TokenizerError if there is none in a known format."""
    path = local_path(path)
    if not is_gguf(path):
        return Tokenizer.open(path)
    with name_faults(path, TokenizerError):
        return tokenizer_from_gguf(read_gguf_metadata(path))


def write_tokenizer(model: Path, folder: Path) -> None:
    """Write a model's tokenizer files into `folder`, config.json too: ids depend on it."""
    folder.mkdir(parents=True, exist_ok=True)
    if is_gguf(model):
        _write_from_gguf(model, folder)
        return
    for source in (*find_tokenizer_files(model), *filter(Path.is_file, [model / CONFIG])):
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
    write_json(folder / CONFIG, files.model_config)
