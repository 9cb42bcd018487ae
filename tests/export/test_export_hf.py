"""A model written as a plain folder: transformers and our loader give what they gave before."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codling.checkpoint.load import load_config, load_model
from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.core.artifact import open_artifact
from codling.export.export import ExportConfig, export
from export.exported import LLAMA, QWEN3, SHAPES, TOKENS, logits_of, save

TEXT = "def f(x):\n    return x  # 漢字\n"


@pytest.mark.long
@pytest.mark.parametrize("kind", SHAPES)
def test_transformers_loads_it_unchanged(tmp_path: Path, kind: str) -> None:
    transformers = pytest.importorskip("transformers")
    model = save(tmp_path / "m", SHAPES[kind])
    made = export(ExportConfig(model=tmp_path / "m", format="hf", out_dir=tmp_path / "out"))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(made.path, dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(theirs(TOKENS).logits, logits_of(model), rtol=1e-4, atol=1e-4)
    assert theirs.config.eos_token_id == load_ids(tmp_path / "m")


def load_ids(folder: Path) -> object:
    return json.loads((folder / "config.json").read_text("utf-8"))["eos_token_id"]


def test_shards_have_an_index_and_the_same_weights(tmp_path: Path) -> None:
    model = save(tmp_path / "m", LLAMA)
    config = ExportConfig(
        model=tmp_path / "m", format="hf", shard_bytes=60_000, out_dir=tmp_path / "out"
    )
    made = export(config)
    assert made.kind == "checkpoint"
    assert len(made.files("model-*.safetensors")) > 2
    index = json.loads((made.path / "model.safetensors.index.json").read_text("utf-8"))
    assert index["metadata"]["total_size"] == 2 * model.n_parameters()
    torch.testing.assert_close(logits_of(load_model(made.path)), logits_of(model), rtol=0, atol=0)
    assert open_tokenizer(made.path).encode(TEXT) == open_tokenizer(tmp_path / "m").encode(TEXT)


@pytest.mark.long
def test_a_gguf_file_becomes_a_folder(tmp_path: Path) -> None:
    model = save(tmp_path / "m", QWEN3)
    export(ExportConfig(model=tmp_path / "m", type="bf16", out_dir=tmp_path / "one"))
    made = export(ExportConfig(model=tmp_path / "one", format="hf", out_dir=tmp_path / "two"))
    torch.testing.assert_close(logits_of(load_model(made.path)), logits_of(model), rtol=0, atol=0)
    assert load_config(made.path) == replace(load_config(tmp_path / "m"), init_std=0.02)
    assert open_tokenizer(made.path).encode(TEXT) == open_tokenizer(tmp_path / "m").encode(TEXT)


def test_a_published_generation_config_goes_with_it(tmp_path: Path) -> None:
    save(tmp_path / "m", LLAMA)
    stated = {"eos_token_id": [331, 339], "temperature": 0.7, "do_sample": True}
    (tmp_path / "m" / "generation_config.json").write_text(json.dumps(stated))
    made = export(ExportConfig(model=tmp_path / "m", format="hf", out_dir=tmp_path / "out"))
    assert json.loads((made.path / "generation_config.json").read_text()) == stated


def test_the_licence_of_a_model_card_is_counted(tmp_path: Path) -> None:
    save(tmp_path / "m", LLAMA)
    (tmp_path / "m" / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# M\n")
    export(ExportConfig(model=tmp_path / "m", format="hf", out_dir=tmp_path / "out"))
    assert open_artifact(tmp_path / "out").counts["license"] == "apache-2.0"
