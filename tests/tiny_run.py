"""A whole run made small: six toy packages in git and settings that train in seconds."""

import subprocess
import sys
from pathlib import Path

CODLING = [sys.executable, "-m", "codling.cli"]
PACKAGES = ("shapes", "money", "words", "dates", "trees", "graphs")
SETTINGS = (
    "collect.heldout_fraction=0.2",
    "tokenizer.vocab_size=400",
    "pack.context=64",
    "pretrain.max_steps=12",
    "pretrain.batch_size=4",
    "pretrain.compile=false",
    "pretrain.model.hidden_size=32",
    "pretrain.model.intermediate_size=64",
    "pretrain.model.n_layers=2",
    "pretrain.model.n_heads=2",
    "pretrain.model.n_kv_heads=2",
    "score.n_lines=20",
    "score.max_tokens=4000",
)


def module(package: str, number: int) -> str:
    lines = [f'"""Part {number} of {package}."""', ""]
    if number:
        lines += [f"from {package}.part_{number - 1} import {package}_{number - 1}_0", ""]
    for i in range(6):
        lines += [
            "",
            f"def {package}_{number}_{i}(first, second):",
            f"    total = first * {i + number} + second",
            f"    if total > {10 * i}:",
            f"        return total - {i}",
            "    return first + second",
            "",
        ]
    return "\n".join(lines) + "\n"


def make_repository(folder: Path) -> Path:
    for package in PACKAGES:
        (folder / package).mkdir(parents=True)
        for number in range(4):
            (folder / package / f"part_{number}.py").write_text(module(package, number))
    (folder / "LICENSE").write_text((Path(__file__).parents[1] / "LICENSE").read_text())
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "start"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def grow_command(repository: Path, run_dir: Path) -> list[str]:
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    return [*CODLING, "grow", str(repository), "--run-dir", str(run_dir), *settings]


def grow(repository: Path, run_dir: Path) -> subprocess.CompletedProcess[str]:
    command = grow_command(repository, run_dir)
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
