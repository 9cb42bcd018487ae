"""An export that cannot be begun or finished leaves nothing half written, and one line says why."""

import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codling.cli import main
from export.exported import LLAMA, save


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save(tmp_path / "m", LLAMA)
    return tmp_path / "m"


def refuse(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line of a command that ends with exit code 2."""
    with pytest.raises(SystemExit) as stopped:
        main(["export", *words])
    assert stopped.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("codling: ")
    return line


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """While it lasts, a file that grows beyond `n_bytes` is refused, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("format_name", ["gguf", "hf", "w4a16"])
def test_no_room_leaves_nothing_and_the_command_can_be_run_again(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], format_name: str
) -> None:
    words = (str(model), "--format", format_name, "--out-dir", str(tmp_path / "out"))
    with files_of_at_most(60_000):
        assert "may not grow so large" in refuse(capsys, *words)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("**/out*/*.gguf")) + list(tmp_path.glob("**/out*/*.safetensors"))
    with pytest.raises(SystemExit) as ended:
        main(["export", *words])
    assert not ended.value.code
    assert (tmp_path / "out/manifest.json").is_file()


def cut_weights(model: Path) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def lose_config(model: Path) -> None:
    (model / "config.json").unlink()


def change_shape(model: Path) -> None:
    path = model / "config.json"
    path.write_text(path.read_text().replace('"intermediate_size": 96', '"intermediate_size": 98'))


def name_foreign(model: Path) -> None:
    (model / "config.json").write_text('{"model_type": "gpt2", "n_embd": 64, "n_layer": 2}')


def pickle_weights(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")


def lose_tokenizer(model: Path) -> None:
    (model / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    "damage",
    [cut_weights, lose_config, change_shape, name_foreign, pickle_weights, lose_tokenizer],
)
def test_a_broken_or_foreign_checkpoint_is_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Any
) -> None:
    damage(model)
    assert str(model) in refuse(capsys, str(model), "--out-dir", str(tmp_path / "out"))
    assert not list(tmp_path.glob("out*"))


def test_a_matrix_that_no_group_divides_is_said_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "m", replace(LLAMA, hidden_size=72, intermediate_size=100))
    words = [str(tmp_path / "m"), "--format", "w4a16", "--out-dir", str(tmp_path / "out")]
    assert "choose --format w8a8" in refuse(capsys, *words)
    assert not list(tmp_path.glob("out*"))


def test_what_is_no_gguf_file_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.gguf").write_bytes(bytes(range(256)) * 20)
    assert "bad.gguf" in refuse(
        capsys, str(tmp_path / "bad.gguf"), "--out-dir", str(tmp_path / "o")
    )
    assert not (tmp_path / "o").exists()


def test_a_folder_with_other_files_is_left_alone(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(model, tmp_path / "other")
    before = sorted(path.name for path in (tmp_path / "other").iterdir())
    refuse(capsys, str(model), "--out-dir", str(tmp_path / "other"))
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == before
