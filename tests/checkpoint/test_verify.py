"""A checkpoint whose files are not what its manifest says is one line."""

import json
import os
from pathlib import Path

import pytest

from codling.checkpoint import verify
from codling.checkpoint.info import InfoConfig, info
from codling.checkpoint.store import save_hf
from codling.checkpoint.verify import check_files, verify_files
from codling.core.artifact import Draft, produce, sha256_of
from codling.core.errors import CheckpointError, ConfigError
from codling.engine.text import TextEngine
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer

CONFIG = ModelConfig(vocab_size=64, hidden_size=32, intermediate_size=48, n_layers=1, n_heads=4)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CODLING_CACHE", str(tmp_path / "cache"))

    def work(draft: Draft) -> None:
        save_hf(Transformer(CONFIG), CONFIG, draft.path)

    made = produce(
        tmp_path / "run", kind="checkpoint", version=1, config=CONFIG, inputs=(), work=work
    )
    return made.path


def flip(path: Path, at: int = -5) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_sound_files_pass_and_are_counted(folder: Path) -> None:
    assert check_files(folder) == 1
    assert verify_files(folder) == 3


def test_a_flipped_bit_in_the_weights_is_met_before_anything_is_loaded(folder: Path) -> None:
    assert check_files(folder) == 1
    flip(folder / "model.safetensors")
    for look in (check_files, verify_files, TextEngine.open):
        with pytest.raises(CheckpointError, match=r"model\.safetensors has other bytes than"):
            look(folder)


def test_settings_that_people_edit_are_compared_only_when_asked_for(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config))
    assert check_files(folder) == 1
    with pytest.raises(CheckpointError, match=r"config\.json has \d+ bytes instead of \d+"):
        verify_files(folder)


def test_a_size_is_compared_before_any_byte_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "sha256_of", lambda _: pytest.fail("a file was read"))
    os.truncate(folder / "model.safetensors", 1000)
    with pytest.raises(CheckpointError, match="has 1,000 bytes instead of"):
        check_files(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
        check_files(folder)


def test_a_file_is_hashed_once_until_it_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def counted(path: Path) -> str:
        read.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr(verify, "sha256_of", counted)
    for _ in range(3):
        check_files(folder)
    assert read == ["model.safetensors"]
    (folder / "model.safetensors").touch()
    check_files(folder)
    assert read == ["model.safetensors"] * 2


@pytest.mark.parametrize("content", ["", "[", "[]", '{"a": 5}'])
def test_a_damaged_or_unwritable_cache_is_as_good_as_none(
    folder: Path, tmp_path: Path, content: str
) -> None:
    (tmp_path / "cache.json").write_text(content)
    assert check_files(folder, tmp_path / "cache.json") == 1
    assert check_files(folder, Path("/proc/none/cache.json")) == 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "list of files is malformed"),
        ([5], "list of files is malformed"),
        ([{"name": "a", "bytes": "1", "sha256": ""}], "list of files is malformed"),
        ([{"name": "../a", "bytes": 1, "sha256": ""}], "outside its folder"),
        ([{"name": "/etc/passwd", "bytes": 1, "sha256": ""}], "outside its folder"),
        ([{"name": "x" * 5000 + ".safetensors", "bytes": 1, "sha256": ""}], "run"),
        ([{"name": "tokenizer.json", "bytes": 1, "sha256": ""}], "is missing"),
    ],
)
def test_a_manifest_that_cannot_be_right_is_one_line(
    folder: Path, files: object, message: str
) -> None:
    (folder / "manifest.json").write_text(json.dumps({"files": files}))
    with pytest.raises(CheckpointError, match=message) as caught:
        check_files(folder)
    assert "\n" not in str(caught.value)


def test_without_a_manifest_there_is_nothing_to_compare(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    flip(folder / "model.safetensors", -2)
    assert check_files(folder) == 0


def test_info_verifies_when_asked(folder: Path) -> None:
    said = info(InfoConfig(model=str(folder), verify=True))
    assert said.endswith(
        "3 files are as its manifest says; all weights are there, fit and are finite."
    )
    assert "Verified" not in info(InfoConfig(model=str(folder)))
    with pytest.raises(ConfigError, match="nothing to verify"):
        info(InfoConfig(model="v2-lite", verify=True))
    flip(folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="has other bytes than"):
        info(InfoConfig(model=str(folder), verify=True))
