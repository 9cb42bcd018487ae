"""Archives of published packages, by name, through the ordinary clients: pip, npm and apt-get.

Input: a kind, a name and a folder. Output: the archives, fetched where they are missing. The
clients are set up by whoever runs the benchmark (apt-get needs deb-src lines); addresses of
registries stand nowhere here. pip builds the metadata of an sdist to fetch it, so name only
packages that you would install.

Not here: searching or listing what a registry has.
"""

import subprocess
from pathlib import Path
from typing import Literal

Kind = Literal["pypi", "npm", "debian"]


def fetch(kind: Kind, name: str, folder: Path) -> list[Path]:
    """The archives of a package, with a version as its client has it; none if not had."""
    place = folder / f"{kind}-{name.strip('@').replace('/', '-')}"
    if not place.is_dir():
        partial = place.with_name(place.name + ".partial")
        partial.mkdir(parents=True, exist_ok=True)
        print(f"{kind}: {name}", flush=True)
        done = subprocess.run(_command(kind, name), cwd=partial, capture_output=True, check=False)
        if done.returncode != 0:
            print(f"  not fetched: {done.stderr.decode(errors='replace').strip()[-200:]}")
            return []
        partial.rename(place)
    return sorted(p for p in place.iterdir() if ".tar." in p.name or p.suffix in (".tgz", ".zip"))


def _command(kind: Kind, name: str) -> list[str]:
    match kind:
        case "pypi":
            return ["pip", "download", "--no-deps", "--no-binary", ":all:", name]
        case "npm":
            return ["npm", "pack", name]
        case "debian":
            return ["apt-get", "source", "--download-only", name]
