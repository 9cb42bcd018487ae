"""The stations of `codling grow` up to the samples, on a corpus of many small shards.

As a program: python data_path.py SOURCE RUN_DIR WORKERS.
"""

import json
import shutil
import sys
from pathlib import Path

from codling.core.artifact import MANIFEST, Artifact
from codling.pipeline import GrowConfig, prepare

STATIONS = ("raw", "documents", "decontaminated", "unique", "screened", "samples")
SOLUTION = """
def has_close_elements(numbers: list[float], threshold: float) -> bool:
    for idx, elem in enumerate(numbers):
        for idx2, elem2 in enumerate(numbers):
            if idx != idx2:
                distance = abs(elem - elem2)
                if distance < threshold:
                    return True
    return False
"""


def make_corpus(folder: Path) -> Path:
    """This package's own sources, and some files for each station to remove."""
    package = Path(__file__).parents[1] / "src" / "codling"
    for path in sorted(package.glob("core/**/*.py")):
        target = folder / path.relative_to(package)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    text = (package / "core" / "artifact.py").read_text()
    (folder / "core" / "artifact_copy.py").write_text(text.replace("seconds", "duration"))
    tail = (package / "core" / "recipe.py").read_text()[5000:]
    (folder / "core" / "recipe.py").write_text("def f(:\n" + tail)
    (folder / "core" / "solution.py").write_text(f'"""Solved."""\n{SOLUTION}')
    (folder / "core" / "secret.py").write_text("MAIL = 'someone@real-company.org'\n" + text[:900])
    rows = [{"task": 0, "canonical_solution": SOLUTION}]
    folder.with_suffix(".jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def run(source: Path, run_dir: Path, workers: int, ray: str | None = None) -> list[Artifact]:
    """The artefacts from raw to samples."""
    settings = ("collect.shard_bytes=20000", f"decontaminate.benchmarks={source}.jsonl")
    config = GrowConfig(sources=(source,), own=True, set=settings, workers=workers, ray=ray)
    steps = prepare(config, run_dir)[: len(STATIONS)]
    return [step.stage(step.config) for step in steps]


def contents(run_dir: Path) -> dict[str, str]:
    """Ids of the artefacts, and the hash of every file of theirs."""
    found = {}
    for station in STATIONS:
        manifest = json.loads((run_dir / station / MANIFEST).read_text())
        found[station] = manifest["id"]
        found |= {f"{station}/{e['name']}": e["sha256"] for e in manifest["files"]}
        found[f"{station} counts"] = json.dumps(manifest["counts"], sort_keys=True)
    return found


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
