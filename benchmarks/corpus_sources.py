"""Fetches the archives that the corpus benchmarks read: PyPI sdists, npm tarballs, Debian sources.

Input: a folder, and the network. Output: some fifty archives in it (450 MB of source text when
unpacked); what is there already is not fetched again. Nothing of it belongs into the repository.

    python benchmarks/corpus_sources.py /tmp/corpus-sources
"""

import json
import sys
from pathlib import Path

from packages import Kind, fetch

PYPI = """
    numpy==2.1.3 django==5.1.4 sqlalchemy==2.0.36 requests==2.32.3 flask==3.1.0 sphinx==8.1.3
    ansible-core==2.18.1 twisted==24.11.0 sympy==1.13.3 networkx==3.4.2 pytest==8.3.4 mypy==1.14.0
    black==24.10.0 aiohttp==3.11.11 cryptography==44.0.0 pillow==11.0.0 lxml==5.3.0 tornado==6.4.2
    celery==5.4.0 spacy==3.8.3 datasets==3.2.0 attrs==24.3.0 click==8.1.8 jinja2==3.1.5
    scikit-learn==1.6.0 h5py==3.12.1 paramiko==3.5.0
"""
NPM = """
    lodash@4.17.21 express@4.21.2 react-dom@18.3.1 webpack@5.97.1 vue@3.5.13 d3-array@3.2.4
    rxjs@7.8.1 eslint@9.17.0 date-fns@4.1.0 three@0.171.0 axios@1.7.9 chalk@5.4.1 jquery@3.7.1
    typeorm@0.3.20 yargs@17.7.2 commander@12.1.0
"""
DEBIAN = """
    coreutils curl sqlite3 redis zlib lua5.4 jq commons-lang3-java junit4
    nginx busybox git libuv1 kotlin golang-github-spf13-cobra rust-serde-json ruby-rack
    haskell-aeson libpod mosquitto scala-parser-combinators libmicrohttpd
"""


def fetch_all(folder: Path) -> list[Path]:
    """All archives, fetched into `folder` where they are missing; in name order."""
    lists: tuple[tuple[Kind, str], ...] = (("pypi", PYPI), ("npm", NPM), ("debian", DEBIAN))
    wanted = [(kind, name) for kind, names in lists for name in names.split()]
    found = [path for kind, name in wanted for path in fetch(kind, name, folder)]
    # Of a Debian package the upstream archive alone is source text.
    return sorted((p for p in found if ".debian." not in p.name), key=lambda p: p.name)


if __name__ == "__main__":
    print(json.dumps([p.name for p in fetch_all(Path(sys.argv[1]))]))
