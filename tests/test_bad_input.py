"""What users get wrong: one clear line, exit code 2, and nothing lost."""

import io
import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from codling.cli import main
from codling.core.artifact import open_artifact
from codling.core.shards import read_rows
from tiny_run import CODLING

LICENSE = Path(__file__).parents[1] / "LICENSE"


def call(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def collect(source: Path, out_dir: Path) -> int:
    return call("data", "collect", source, "--out-dir", out_dir, "--workers", "1")


def dropped(out_dir: Path) -> dict[str, str]:
    rows = read_rows(open_artifact(out_dir, "raw"), "dropped", ["path", "rule"])
    return {row["path"]: row["rule"] for row in rows}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "code"
    (made / "pkg").mkdir(parents=True)
    shutil.copy(LICENSE, made)
    for name in ("a", "b", "c"):
        (made / "pkg" / f"{name}.py").write_text(f"def {name}(x):\n    return x + 1\n" * 5)
    return made


def one_line(capsys: pytest.CaptureFixture) -> str:
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("codling:")]
    assert len(lines) == 1
    assert "Traceback" not in captured.err
    return lines[0]


def test_a_missing_path(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert collect(tmp_path / "nowhere", tmp_path / "raw") == 2
    assert str(tmp_path / "nowhere") in one_line(capsys)
    assert not (tmp_path / "raw").exists()


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "empty").mkdir()
    assert collect(tmp_path / "empty", tmp_path / "raw") == 2
    assert "empty" in one_line(capsys)


def test_a_300_mb_file_is_dropped_without_being_read(folder: Path, tmp_path: Path) -> None:
    with (folder / "pkg/huge.py").open("wb") as file:
        file.truncate(300_000_000)
    assert collect(folder, tmp_path / "raw") == 0
    assert dropped(tmp_path / "raw")["pkg/huge.py"] == "too-large"


def test_a_binary_file_named_py_and_invalid_utf8(folder: Path, tmp_path: Path) -> None:
    (folder / "pkg/program.py").write_bytes(b"\x7fELF\x00\x01\x02" * 100)
    (folder / "pkg/latin.py").write_bytes("name = 'Jürgen'\n".encode("latin-1"))
    assert collect(folder, tmp_path / "raw") == 0
    rules = dropped(tmp_path / "raw")
    assert rules["pkg/program.py"] == "binary"
    assert rules["pkg/latin.py"] == "not-utf8"


def test_a_symlink_loop_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "pkg/again").symlink_to(folder)
    assert collect(folder, tmp_path / "raw") == 0
    rows = read_rows(open_artifact(tmp_path / "raw"), "documents", ["path"])
    assert {r["path"] for r in rows} >= {"pkg/a.py", "pkg/b.py", "pkg/c.py"}
    assert not any("again" in path for path in dropped(tmp_path / "raw") if path.endswith(".py"))


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_an_archive_with_parent_members_is_refused_by_name(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture
) -> None:
    archive = tmp_path / f"evil.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as made:
            made.writestr("../outside.py", "x = 1\n")
    else:
        with tarfile.open(archive, "w:gz") as made:
            info = tarfile.TarInfo("../outside.py")
            info.size = 6
            made.addfile(info, io.BytesIO(b"x = 1\n"))
    assert collect(archive, tmp_path / "raw") == 2
    assert "../outside.py" in one_line(capsys)
    assert not (tmp_path.parent / "outside.py").exists()
    assert not (tmp_path / "raw").exists()


def test_a_broken_archive(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "half.tar.gz").write_bytes(b"\x1f\x8b\x08\x00broken")
    assert collect(tmp_path / "half.tar.gz", tmp_path / "raw") == 2
    assert "half.tar.gz" in one_line(capsys)


def test_a_corrupt_manifest(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert collect(folder, tmp_path / "raw") == 0
    (tmp_path / "raw/manifest.json").write_text("{")
    capsys.readouterr()
    command = ("data", "clean", "--raw-dir", tmp_path / "raw", "--out-dir", tmp_path / "documents")
    assert call(*command) == 2
    assert "manifest.json is damaged; delete the folder" in one_line(capsys)


def test_an_unknown_recipe_table_or_key(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text("[pretran]\nminutes = 1\n")
    assert call("grow", "--recipe", recipe, "--run-dir", tmp_path / "run") == 2
    assert "r.toml: unknown key pretran; did you mean pretrain?" in one_line(capsys)
    recipe.write_text("[pretrain]\nminuts = 1\n")
    assert call("grow", "--recipe", recipe, "--run-dir", tmp_path / "run") == 2
    assert "unknown key minuts; did you mean minutes?" in one_line(capsys)
    assert not (tmp_path / "run").exists()


def test_code_without_a_licence_says_how_to_go_on(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (folder / "LICENSE").unlink()
    assert call("grow", folder, "--run-dir", tmp_path / "run") == 2
    assert "--own" in one_line(capsys)


@pytest.mark.long
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(folder: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        for i in range(40):
            noise = os.urandom(6000).hex()
            lines = "\n".join(f"x{k} = '{noise[k : k + 60]}'" for k in range(0, 12000, 60))
            (folder / "pkg" / f"noise_{i}.py").write_text(lines)
        command = [*CODLING, "data", "collect", str(folder), "--out-dir", str(small / "raw")]
        full = subprocess.run(command, capture_output=True, text=True, check=False)
        assert full.returncode == 2
        assert "Traceback" not in full.stderr
        assert "the disk is full" in full.stderr.splitlines()[-1]
        assert not (small / "raw").exists()
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        again = subprocess.run(command, capture_output=True, text=True, check=False)
        assert again.returncode == 0, again.stderr
        assert json.loads((small / "raw/manifest.json").read_text())["counts"]["documents"] >= 40
    finally:
        subprocess.run(["umount", str(small)], check=False)
