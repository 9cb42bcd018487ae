"""The tokenizer that comes with a model: opened, copied as files, or settled for other libraries.

Input: a checkpoint's folder or a .gguf file. Output: a Tokenizer, or the files that a published
tokenizer has; of a GGUF file they are made from its metadata.

Not here: what the files mean (tokens/).
"""

import json
import shutil
from pathlib import Path
from typing import Any

import tokenizers

from codling.checkpoint.gguf_file import read_gguf_metadata
from codling.checkpoint.hub import local_path
from codling.checkpoint.load import is_gguf
from codling.checkpoint.store import CONFIG, find_tokenizer_files
from codling.core.errors import TokenizerError, name_faults
from codling.core.files import write_json
from codling.tokens.from_gguf import tokenizer_files, tokenizer_from_gguf
from codling.tokens.tokenizer import Tokenizer
from codling.tokens.validation import read_tokenizer_config, read_tokenizer_json

_READ_AS_IT_IS = "PreTrainedTokenizerFast"
"""The class that takes tokenizer.json as it is, whatever the model."""


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
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": _READ_AS_IT_IS} | config)
    write_json(folder / CONFIG, files.model_config)


def settle_tokenizer(folder: Path) -> None:
    """Change the files in `folder` so that transformers and vLLM make of a text codling's ids.

    They take tokenizer.json as it is, where the class that the model names may build a splitter of
    its own, and begin a text as tokenizer.json says, whatever add_bos_token does.
    """
    config = read_tokenizer_config(folder / "tokenizer_config.json")
    write_json(folder / "tokenizer_config.json", config | {"tokenizer_class": _READ_AS_IT_IS})
    written = read_tokenizer_json(folder / "tokenizer.json")
    start = Tokenizer.open(folder).start_ids
    core = tokenizers.Tokenizer.from_str(json.dumps(written))
    if core.encode("a").ids != start + core.encode("a", add_special_tokens=False).ids:
        begun = written | {"post_processor": _beginning_with(core, start)}
        write_json(folder / "tokenizer.json", begun)


def _beginning_with(core: tokenizers.Tokenizer, start: list[int]) -> dict[str, Any] | None:
    """The post_processor that puts `start` before a text, as tokenizer.json has it."""
    if not start:
        return None
    token = core.id_to_token(start[0])
    assert token is not None, start
    first, second = _part("A", 0), _part("B", 1)
    return {
        "type": "TemplateProcessing",
        "single": [_mark(token, 0), first],
        "pair": [_mark(token, 0), first, _mark(token, 1), second],
        "special_tokens": {token: {"id": token, "ids": start, "tokens": [token]}},
    }


def _mark(token: str, type_id: int) -> dict[str, Any]:
    return {"SpecialToken": {"id": token, "type_id": type_id}}


def _part(name: str, type_id: int) -> dict[str, Any]:
    return {"Sequence": {"id": name, "type_id": type_id}}
