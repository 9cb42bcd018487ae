"""Take fetched packages through codling's stations to the packed corpus of the base model.

Input: the folder that tools/fetch_sources.py filled, code that must not be learned from
(checked-out repositories and the standard library of this Python), benchmark files. Output below
--out-dir: one artefact per station and group, the mixed samples, the tokenizer and the tokens.
Every station skips what it has done, so the same command goes on after an interruption. An archive
that collect refuses (damaged, empty, a link that leads out of it) is a line with its reason, and
the others are read.

    python tools/base_corpus.py ~/.cache/codling-base --out-dir runs/base \\
        --held repos/httpx --held repos/cobra --benchmarks humaneval.jsonl.gz

Packages of PyPI, npm and Debian are groups of their own: mostly Python, JavaScript with
TypeScript, and the compiled languages. Their Markdown and other running text is a fourth group,
made first: what the others hold of it goes as a duplicate. The mixture draws the four by share.
Settings of the stations: recipes/base.toml.

Not here: what the stations do (src/codling/), and training.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

RECIPE = Path(__file__).parents[1] / "recipes" / "base.toml"
GROUPS = {"pypi": 50, "npm": 17, "debian": 23, "docs": 10}
"""Share of the training tokens; docs are the running text of all three."""
PROSE = ("markdown", "restructuredtext")


def main() -> int:
    """Run every station; exit code 1 and its output if one fails."""
    options = arguments()
    stations = Stations(options)
    against = held_out(stations, options)
    raws = collect_packages(stations, options)
    groups = {}
    if docs := running_text(raws):
        found = stations.run("data prose", "docs/documents", *docs)
        groups["docs"] = samples(stations, options, "docs", found, against)
        against = [*against, options.out_dir / "docs" / "unique"]
    for name, raw in raws.items():
        clean = stations.run("data clean", f"{name}/clean", "--raw-dir", raw)
        groups[name] = samples(stations, options, name, clean, against)
        against = [*against, clean]
    parts = [f"{folder}={GROUPS[name]}" for name, folder in groups.items()]
    mixed = stations.run("data mix", "samples", *parts, "--max-repeats", "2")
    tokenizer = stations.run("learn-tokenizer", "tokenizer", "--samples-dir", mixed)
    stations.run("pack", "tokens", "--samples-dir", mixed, "--tokenizer-dir", tokenizer)
    print(json.dumps({"bytes_by_language": bytes_by_language(groups)}))
    return 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("archives", type=Path)
    parser.add_argument("--out-dir", type=Path, required=True)
    parser.add_argument("--held", type=Path, action="append", default=[], help="not learned from")
    parser.add_argument("--benchmarks", type=Path, action="append", default=[])
    parser.add_argument("--sample", type=int, default=0, help="so many archives of each registry")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0)
    return parser.parse_args()


class Stations:
    """Runs codling's verbs and notes how long each took."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.out_dir = options.out_dir
        self.workers = ["--workers", str(options.workers)] if options.workers else []

    def run(self, verb: str, folder: str, *given: object) -> Path:
        """The artefact that a verb makes; SystemExit if it cannot."""
        target = self.out_dir / folder
        target.parent.mkdir(parents=True, exist_ok=True)
        workers = self.workers if verb != "learn-tokenizer" else []
        command = [sys.executable, "-m", "codling.cli", *verb.split(), *map(str, given)]
        command += ["--recipe", str(RECIPE), "--out-dir", str(target), *workers]
        started = time.monotonic()
        done = subprocess.run(command, stdout=subprocess.DEVNULL)
        if done.returncode:
            raise SystemExit(f"codling {verb} ended with {done.returncode} for {target}")
        seconds = round(time.monotonic() - started, 1)
        print(json.dumps({"station": verb, "folder": folder, "seconds": seconds}), flush=True)
        return target


def collect_packages(stations: Stations, options: argparse.Namespace) -> dict[str, Path]:
    """The raw documents of each registry that has archives; says which archives were refused."""
    raws = {}
    for name in ("pypi", "npm", "debian"):
        archives = packages(options.archives / name, options.sample, options.seed)
        if archives:
            raw = stations.run("data collect", f"{name}/raw", *archives, "--skip-refused")
            for archive, reason in refused_archives(raw):
                print(json.dumps({"refused": archive, "reason": reason}), flush=True)
            raws[name] = raw
    return raws


def refused_archives(raw: Path) -> list[tuple[str, str]]:
    """Names and reasons of the archives of which nothing was read, or not all."""
    found = []
    for path in sorted(raw.glob("dropped-*.parquet")):
        table = pq.read_table(path, columns=["repo", "rule", "value"])
        for row in table.filter(pc.equal(table["rule"], "refused-archive")).to_pylist():
            found.append((row["repo"], row["value"]))
    return found


def packages(folder: Path, n: int, seed: int) -> list[Path]:
    """The whole archives of a registry in order of their names, or `n` of them by chance."""
    found = sorted(p for p in folder.glob("*@*") if p.is_file()) if folder.is_dir() else []
    return sorted(Random(seed).sample(found, n)) if 0 < n < len(found) else found


def held_out(stations: Stations, options: argparse.Namespace) -> list[Path]:
    """Documents of what scores are taken on, for dedup to compare with."""
    found = []
    for name, sources in {"stdlib": [], "repos": options.held}.items():
        if name == "stdlib" or sources:
            raw = stations.run("data collect", f"held/{name}-raw", *sources)
            keep = "--licenses.allow-unknown"
            found.append(stations.run("data clean", f"held/{name}", "--raw-dir", raw, keep))
    return found


def samples(
    stations: Stations, options: argparse.Namespace, name: str, found: Path, against: list[Path]
) -> Path:
    """From clean documents to samples in their order."""
    if options.benchmarks:
        given = ["--benchmarks", *options.benchmarks]
        found = stations.run(
            "data decontaminate", f"{name}/decontaminated", "--documents-dir", found, *given
        )
    others = ["--against", *against] if against else []
    found = stations.run("data dedup", f"{name}/unique", "--documents-dir", found, *others)
    if name != "docs":
        found = stations.run("data screen", f"{name}/screened", "--documents-dir", found)
    return stations.run("data arrange", f"{name}/samples", "--documents-dir", found)


def running_text(raws: dict[str, Path]) -> list[Path]:
    """A table per group of the files that are running text, as collect found them."""
    tables = []
    for name, raw in raws.items():
        target = raw.parents[1] / "docs" / f"{name}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            parts = []
            for path in sorted(raw.glob("documents-*.parquet")):
                table = pq.read_table(
                    path, columns=["repo", "path", "license", "language", "content"]
                )
                parts.append(table.filter(pc.is_in(table["language"], pa.array(PROSE))))
            table = pa.concat_tables(parts)
            pq.write_table(table.drop_columns("language"), target, compression="zstd")
        if pq.read_metadata(target).num_rows:
            tables.append(target)
    return tables


def bytes_by_language(groups: dict[str, Path]) -> dict[str, dict[str, int]]:
    """Bytes of text per language that each group brings."""
    found = {}
    for name, folder in groups.items():
        counts: Counter[str] = Counter()
        last = "unique" if name == "docs" else "screened"
        for path in sorted((folder.parent / last).glob("documents-*.parquet")):
            table = pq.read_table(path, columns=["language", "n_bytes"])
            for row in table.group_by("language").aggregate([("n_bytes", "sum")]).to_pylist():
                counts[row["language"]] += row["n_bytes_sum"]
        found[name] = dict(counts.most_common())
    return found


if __name__ == "__main__":
    raise SystemExit(main())
