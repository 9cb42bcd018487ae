"""What an exported folder's tokenizer gives in other libraries is what codling gives."""

import json
from pathlib import Path

import pytest
import tokenizers

from codling.checkpoint.tokenizer_files import open_tokenizer, settle_tokenizer
from codling.tokens.families import BOS
from export.exported import LLAMA, save

TEXT = "def f(x):\n    return x  # 漢字\n"


def published(folder: Path, *, adds_bos: bool) -> Path:
    """A folder as coder-v1 is published: LlamaTokenizer, and BOS only by tokenizer_config.json."""
    save(folder, LLAMA)
    written = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    (folder / "tokenizer.json").write_text(json.dumps(written | {"post_processor": None}), "utf-8")
    stated = {"tokenizer_class": "LlamaTokenizerFast", "bos_token": BOS, "add_bos_token": adds_bos}
    (folder / "tokenizer_config.json").write_text(json.dumps(stated), "utf-8")
    return folder


@pytest.mark.parametrize("adds_bos", [True, False])
def test_a_text_begins_as_prompts_of_codling_begin(tmp_path: Path, adds_bos: bool) -> None:
    folder = published(tmp_path / "m", adds_bos=adds_bos)
    ours = open_tokenizer(folder)
    settle_tokenizer(folder)
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert theirs.encode(TEXT).ids == ours.start_ids + ours.encode(TEXT)
    assert bool(ours.start_ids) is adds_bos
    assert open_tokenizer(folder).encode(TEXT) == ours.encode(TEXT)
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_a_beginning_that_the_model_does_not_want_goes(tmp_path: Path) -> None:
    folder = published(tmp_path / "m", adds_bos=True)
    settle_tokenizer(folder)
    path = folder / "tokenizer_config.json"
    stated = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(stated | {"add_bos_token": False}), "utf-8")
    settle_tokenizer(folder)
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert theirs.encode("a").ids == open_tokenizer(folder).encode("a")
