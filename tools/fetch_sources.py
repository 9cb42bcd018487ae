"""Fetch open-source packages by name and version, for the base model's corpus and for benchmarks.

Input: a table with a package per line: registry, name, version and SHA-256, separated by tabs; an
empty version is the newest, an empty hash is not compared. Output: archives below DIR/REGISTRY, and
with --lock the table with the versions and hashes that were fetched. The registries are pypi
(wheels), npm and debian (upstream's archives); benchmarks ask for two more, sdist and debian-full
(with Debian's own archive beside upstream's).

    python tools/fetch_sources.py tools/base_sources.tsv --out ~/corpora/base

The registries are asked by their own clients (pip, npm, apt-get), as they are set up on the
machine. Nothing that a package says is run: wheels instead of source distributions, npm without
scripts, Debian's tarballs as they are. Only sdist is different: pip builds the metadata of such an
archive to fetch it. Debian needs `deb-src` among its sources' types.

Not here: which files of a package are kept (codling's licence gate and filters decide that).
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

_SECONDS = 600
_TARBALLS = (".tar.gz", ".tar.xz", ".tar.bz2", ".tgz")


@dataclass(frozen=True)
class Package:
    """One line of the table."""

    registry: str
    name: str
    version: str = ""
    sha256: str = ""

    @classmethod
    def from_line(cls, line: str) -> "Package":
        """SystemExit for a line that is none."""
        parts = line.rstrip("\n").split("\t")
        if len(parts) < 2 or parts[0] not in FETCH:
            raise SystemExit(f"not a package: {line!r}; write REGISTRY<tab>NAME<tab>VERSION")
        return cls(*parts[:4])

    @property
    def line(self) -> str:
        """As it stands in the table."""
        return "\t".join((self.registry, self.name, self.version, self.sha256))


def main() -> int:
    """Fetch what is not there yet; exit code 1 if something could not be had."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--lock", action="store_true", help="write versions and hashes back")
    options = parser.parse_args()
    lines = options.table.read_text().splitlines()
    packages = {i: Package.from_line(x) for i, x in enumerate(lines) if x and x[0] != "#"}
    with ThreadPoolExecutor(options.workers) as pool:
        done = dict(
            zip(packages, pool.map(lambda p: fetch(p, options.out), packages.values()), strict=True)
        )
    missing = [packages[i] for i, found in done.items() if found is None]
    if options.lock:
        for i, found in done.items():
            lines[i] = (found or packages[i]).line
        options.table.write_text("\n".join(lines) + "\n")
    print(f"{len(packages) - len(missing)} of {len(packages)} packages are in {options.out}")
    return 1 if missing else 0


def fetch(package: Package, out: Path) -> Package | None:
    """Bring a package into its folder; gives it with version and hash, or None."""
    folder = out / package.registry
    folder.mkdir(parents=True, exist_ok=True)
    try:
        archives = find(package, out) or FETCH[package.registry](package, folder)
    except (subprocess.SubprocessError, OSError, LookupError) as error:
        reason = getattr(error, "stderr", "") or str(error)
        print(f"not fetched: {package.registry} {package.name}: {reason.strip()[-200:]}")
        return None
    digest = hashlib.sha256()
    for archive in sorted(archives):
        with archive.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    found = replace(
        package, version=archives[0].name.split("@")[1].split("~~")[0], sha256=digest.hexdigest()
    )
    if package.sha256 and package.sha256 != found.sha256:
        print(f"another file than before: {package.registry} {package.name} {found.version}")
        return None
    return found


def find(package: Package, out: Path) -> list[Path]:
    """The archives of a package that are there already, in order of their names."""
    kept = (out / package.registry).glob(f"{_stem(package)}@*")
    return sorted(p for p in kept if package.version in p.name)


def _stem(package: Package) -> str:
    return package.name.replace("/", "+").replace("@", "")


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=True
    )
    return done.stdout


def _keep(package: Package, version: str, files: list[Path], folder: Path) -> list[Path]:
    """Move fetched archives to NAME@VERSION~~FILE, from which name and version can be read."""
    if not files:
        raise LookupError("the client fetched no archive")
    kept = []
    for file in files:
        target = folder / f"{_stem(package)}@{version}~~{file.name}"
        file.replace(target)
        kept.append(target)
    return kept


def _from_pypi(package: Package, folder: Path) -> list[Path]:
    wanted = f"{package.name}=={package.version}" if package.version else package.name
    with tempfile.TemporaryDirectory(dir=folder) as place:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-cache-dir"]
        _run([*command, "--only-binary=:all:", wanted], Path(place))
        wheels = list(Path(place).glob("*.whl"))
        version = wheels[0].name.split("-")[1] if wheels else ""
        return _keep(package, version, wheels, folder)


def _from_sdist(package: Package, folder: Path) -> list[Path]:
    wanted = f"{package.name}=={package.version}" if package.version else package.name
    with tempfile.TemporaryDirectory(dir=folder) as place:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-cache-dir"]
        _run([*command, "--no-binary=:all:", wanted], Path(place))
        files = [p for p in Path(place).iterdir() if p.name.endswith((*_TARBALLS, ".zip"))]
        version = re.sub(r"\.(?:tar\.\w+|tgz|zip)$", "", files[0].name) if files else ""
        return _keep(package, version.rpartition("-")[2], files, folder)


def _from_npm(package: Package, folder: Path) -> list[Path]:
    wanted = f"{package.name}@{package.version or 'latest'}"
    with tempfile.TemporaryDirectory(dir=folder) as place:
        _run(["npm", "pack", wanted, "--silent", "--ignore-scripts"], Path(place))
        files = list(Path(place).glob("*.tgz"))
        stem = package.name.removeprefix("@").replace("/", "-")
        version = files[0].name.removeprefix(stem + "-").removesuffix(".tgz") if files else ""
        return _keep(package, version, files, folder)


def _from_debian(package: Package, folder: Path) -> list[Path]:
    return _debian(package, folder, is_full=False)


def _from_debian_full(package: Package, folder: Path) -> list[Path]:
    return _debian(package, folder, is_full=True)


def _debian(package: Package, folder: Path, *, is_full: bool) -> list[Path]:
    wanted = f"{package.name}={package.version}" if package.version else package.name
    with tempfile.TemporaryDirectory(dir=folder) as place:
        _run(["apt-get", "source", "-qq", "--download-only", "--only-source", wanted], Path(place))
        described = next(Path(place).glob("*.dsc"))
        version = next(
            line.split(": ")[1]
            for line in described.read_text(errors="replace").splitlines()
            if line.startswith("Version: ")
        )
        files = [p for p in Path(place).iterdir() if p.name.endswith(_TARBALLS)]
        chosen = [p for p in files if is_full or ".debian.tar" not in p.name]
        return _keep(package, version.replace("~", "-"), chosen, folder)


FETCH: dict[str, Callable[[Package, Path], list[Path]]] = {
    "pypi": _from_pypi,
    "sdist": _from_sdist,
    "npm": _from_npm,
    "debian": _from_debian,
    "debian-full": _from_debian_full,
}

if __name__ == "__main__":
    raise SystemExit(main())
