"""What is found wrong on the way leaves no half of an export; what would not fit is refused."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.core.errors import CheckpointError, CodlingError, ConfigError, TokenizerError
from codling.export.calibrate import read_code
from codling.export.export import ExportConfig, export
from codling.export.imatrix import Importance, write_imatrix
from codling.export.modelfile import make_modelfile
from export.exported import LLAMA, save

ALPACA = (
    "{% for m in messages %}{% if m.role == 'user' %}### Instruction:\n{{ m.content }}\n\n"
    "{% else %}### Response:\n{{ m.content }}\n\n{% endif %}{% endfor %}### Response:\n"
)
"""Its turns begin as coder-v1's do, and end otherwise."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save(tmp_path / "m", LLAMA)
    return tmp_path / "m"


def settings(model: Path, **given: object) -> ExportConfig:
    return ExportConfig(model=model, out_dir=model.parent / "out", **given)  # type: ignore[arg-type]


def refuse(error: type[CodlingError], words: str, config: ExportConfig) -> None:
    with pytest.raises(error, match=words):
        export(config)
    assert not list(config.out_dir.parent.glob("out*"))


def add_tokens(model: Path, count: int) -> None:
    path = model / "tokenizer.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    first = 1 + max(token["id"] for token in written["added_tokens"])
    like = written["added_tokens"][-1]
    more = [like | {"id": first + i, "content": f"<more{i}>"} for i in range(count)]
    path.write_text(json.dumps(written | {"added_tokens": written["added_tokens"] + more}))


@pytest.mark.parametrize("format_name", ["gguf", "hf", "w4a16"])
def test_a_number_that_is_none_leaves_no_half(model: Path, format_name: str) -> None:
    weights = load_file(model / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][3, 4] = float("nan")
    save_file(weights, model / "model.safetensors")
    refuse(CheckpointError, "NaN", settings(model, format=format_name))


@pytest.mark.parametrize("format_name", ["gguf", "hf"])
def test_a_tokenizer_of_more_tokens_than_the_model(model: Path, format_name: str) -> None:
    add_tokens(model, 30)
    refuse(TokenizerError, "only 352 rows", settings(model, format=format_name))


def test_an_importance_matrix_of_more_blocks_is_another_models(model: Path, tmp_path: Path) -> None:
    one = Importance(np.ones((1, 64), np.float32), np.ones(1, np.float32))
    names = [f"blk.{block}.attn_q.weight" for block in range(3)]
    write_imatrix(tmp_path / "im.dat", dict.fromkeys(names, one), 1, 8)
    words = "blocks are 3, the model's 2"
    refuse(CheckpointError, words, settings(model, type="q4_0", imatrix=tmp_path / "im.dat"))


def test_binary_files_are_no_code(tmp_path: Path) -> None:
    (tmp_path / "tool.py").write_bytes(b"\x7fELF\0\1\2" * 99)
    for path in (tmp_path, tmp_path / "tool.py"):
        with pytest.raises(ConfigError, match="no source files"):
            read_code(path)


@pytest.mark.parametrize("name", ["a\nSYSTEM b", "x" * 201, "\udcff"])
def test_a_name_that_no_line_can_hold(model: Path, name: str) -> None:
    refuse(ConfigError, "choose another", settings(model, name=name))


def test_settings_that_changed_are_exported_again(model: Path) -> None:
    first = export(settings(model, type="f32"))
    assert export(settings(model, type="f32")).id == first.id
    path = model / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": ALPACA}))
    again = export(settings(model, type="f32"))
    assert ALPACA.encode() in again.files("*.gguf")[0].read_bytes()


def test_an_export_never_takes_the_place_of_its_model(model: Path) -> None:
    made = export(settings(model, type="f32"))
    for again in (made.path, made.files("*.gguf")[0]):
        with pytest.raises(ConfigError, match="choose another"):
            export(ExportConfig(model=again, out_dir=made.path))
    assert made.files("*.gguf")[0].is_file()


def test_a_template_that_only_begins_as_a_known_one_is_left_out(model: Path) -> None:
    (model / "tokenizer_config.json").write_text(json.dumps({"chat_template": ALPACA}))
    assert ".Messages" not in make_modelfile("m.gguf", open_tokenizer(model), 64, None)


def test_a_licence_stays_within_its_quotation_marks(model: Path) -> None:
    text = make_modelfile("m.gguf", open_tokenizer(model), 64, 'MIT"""\nSYSTEM """x')
    assert text.split("LICENSE ")[1].count('"""') == 2


def test_a_folder_of_several_gguf_files_asks_for_one(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for name in ("b.gguf", "a.gguf"):
        (tmp_path / "many" / name).write_bytes(b"GGUF")
    words = "one of its 2 .gguf files, such as a.gguf"
    refuse(CheckpointError, words, settings(tmp_path / "many"))


def test_a_folder_whose_name_is_no_text(model: Path, tmp_path: Path) -> None:
    odd = model.rename(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff"))
    made = export(ExportConfig(model=odd, format="hf", out_dir=tmp_path / "out"))
    assert made.files("*.safetensors")
