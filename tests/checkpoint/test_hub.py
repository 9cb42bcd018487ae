"""Hub names: what counts as one, and what is asked of the hub. Nothing here reaches the network."""

from pathlib import Path
from typing import Any

import pytest

from codling.checkpoint import hub
from codling.core.errors import CheckpointError


def test_a_folder_that_exists_is_never_a_hub_name(tmp_path: Path) -> None:
    assert hub.local_path(tmp_path) == tmp_path


@pytest.mark.parametrize("path", ["model", "a/b/c", "/tmp/x/model", "org/model.gguf"])
def test_paths_that_cannot_be_names_stay_as_they_are(path: str) -> None:
    assert hub.local_path(Path(path)) == Path(path)


def test_a_missing_subfolder_of_an_existing_folder_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert not hub.is_hub_name(Path("runs/checkpoint"))
    assert hub.is_hub_name(Path("deepseek-ai/deepseek-coder-1.3b-base"))


def test_only_configs_tokenizers_and_safetensors_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    asked: dict[str, Any] = {}

    def fetch(name: str, *, allow_patterns: list[str]) -> str:
        asked.update(name=name, patterns=allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert hub.local_path(Path("org/model")) == tmp_path
    assert asked == {"name": "org/model", "patterns": ["*.json", "*.safetensors", "*.jinja"]}


def test_a_hub_that_does_not_deliver_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")

    def fail(_name: str, **_settings: Any) -> str:
        raise OSError("no route to host\nmore detail")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(CheckpointError, match=r"no folder org/model.*no route to host") as caught:
        hub.local_path(Path("org/model"))
    assert "\n" not in str(caught.value)
