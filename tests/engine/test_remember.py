"""From a folder of code to a memory on disk, and back into an engine."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codling.core.artifact import open_artifact
from codling.core.errors import ArtifactError, CodlingError
from codling.engine.memory.mixture import fit_weights
from codling.engine.remember import MemoryConfig, memory, observe
from codling.engine.text import TextEngine
from codling.engine.verbs import CompleteConfig, complete
from serve.tiny_server import save_model

FUNCTION = """
def {name}(values):
    total = 0
    for value in values:
        total += value * {name}_weight(value)
    return total
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("alpha", "beta", "gamma", "delta"):
        text = "".join(FUNCTION.format(name=f"{name}_{i}") for i in range(6))
        (folder / f"{name}.py").write_text(text)
    return folder


def settings(project: Path, model: Path, out_dir: Path) -> MemoryConfig:
    return MemoryConfig(path=project, own=True, model=model, out_dir=out_dir, fit_tokens=1500)


@pytest.mark.long
def test_a_folder_becomes_a_memory_that_completes_its_lines(
    project: Path, model: Path, tmp_path: Path
) -> None:
    made = memory(settings(project, model, tmp_path / "memory"))
    assert made.kind == "memory"
    assert made.counts["files"] == 4
    assert made.counts["bytes"] <= 8 * made.counts["tokens"] + 8 * 4
    asked = CompleteConfig(
        model=model,
        prompt="\ndef alpha_3(values):\n    total = 0\n",
        memory=made.path,
        lines=1,
        max_tokens=60,
    )
    assert "".join(complete(asked)).strip().startswith("for value")
    assert "value" not in "".join(complete(replace(asked, memory=None)))


@pytest.mark.long
def test_the_second_time_it_is_there_already_and_its_lineage_is_whole(
    project: Path, model: Path, tmp_path: Path
) -> None:
    first = memory(settings(project, model, tmp_path / "memory"))
    written = (first.path / "manifest.json").read_bytes()
    assert memory(settings(project, model, tmp_path / "memory")).id == first.id
    assert (first.path / "manifest.json").read_bytes() == written
    documents = first.path / first.manifest.inputs[0].path
    assert open_artifact(documents).kind == "documents"


@pytest.mark.long
def test_a_file_is_forgotten_while_its_own_text_is_the_question(
    project: Path, model: Path, tmp_path: Path
) -> None:
    (project / "alone.py").write_text("zebra_quagga = okapi(" * 20 + "\n")
    made = memory(settings(project, model, tmp_path / "memory"))
    stored = json.loads((made.path / "memory.json").read_text())
    with TextEngine.open(model, memory=made.path, precision="float32") as engine:
        assert engine.memory is not None
        seen = observe(engine, engine.memory, 1500, seed=0)
        assert all(engine.memory.index.alive)
        refitted = fit_weights(seen).repository
        assert refitted == pytest.approx(np.array(stored["weights"]["repository"]), abs=0.01)


@pytest.mark.long
def test_another_model_is_refused_with_the_cure(project: Path, model: Path, tmp_path: Path) -> None:
    made = memory(settings(project, model, tmp_path / "memory"))
    other = save_model(tmp_path / "other", fim=False)
    with pytest.raises(ArtifactError, match=r"another tokenizer.*codling memory"):
        TextEngine.open(other, memory=made.path, precision="float32")


@pytest.mark.long
@pytest.mark.parametrize("name", ["tokens", "order", "file_starts"])
def test_damaged_arrays_are_refused(name: str, project: Path, model: Path, tmp_path: Path) -> None:
    made = memory(settings(project, model, tmp_path / "memory"))
    values = np.load(made.path / f"{name}.npy")
    if name == "tokens":
        values[0] = 0  # no separator
    else:
        values[1] += 10**6
    np.save(made.path / f"{name}.npy", values)
    with pytest.raises(ArtifactError, match="damaged"):
        TextEngine.open(model, memory=made.path, precision="float32")


@pytest.mark.long
def test_code_without_a_licence_is_remembered_only_if_it_is_declared_own(
    project: Path, model: Path, tmp_path: Path
) -> None:
    config = MemoryConfig(path=project, model=model, out_dir=tmp_path / "memory", fit_tokens=0)
    with pytest.raises(CodlingError, match="--own"):
        memory(config)
