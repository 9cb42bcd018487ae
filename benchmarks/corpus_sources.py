"""Fetches the archives that the corpus benchmarks read: PyPI sdists, npm tarballs, Debian sources.

Input: a folder, and the network. Output: some fifty archives in it (450 MB of source text when
unpacked); what is there already is not fetched again. Nothing of it belongs into the repository.

    python benchmarks/corpus_sources.py /tmp/corpus-sources
"""

import json
import lzma
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx

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
MIRROR = "http://deb.debian.org/debian"
RELEASE = "bookworm"


def fetch(folder: Path) -> list[Path]:
    """All archives in `folder`, fetched where they are missing; in name order."""
    folder.mkdir(parents=True, exist_ok=True)
    with httpx.Client(follow_redirects=True, timeout=120) as client:
        for url in (*_pypi(client), *_npm(client), *_debian(client)):
            path = folder / _file_name(url)
            if not path.exists():
                print(url, flush=True)
                partial = path.with_name(path.name + ".partial")
                with client.stream("GET", url) as answer, partial.open("wb") as file:
                    answer.raise_for_status()
                    for block in answer.iter_bytes():
                        file.write(block)
                partial.rename(path)
    return sorted(p for p in folder.iterdir() if ".tar." in p.name or p.suffix == ".tgz")


def _pypi(client: httpx.Client) -> Iterator[str]:
    """The sdists, found in the simple index, the interface that every mirror has."""
    for each in PYPI.split():
        name, version = each.split("==")
        page = client.get(f"https://pypi.org/simple/{name}/").text
        pattern = rf'href="([^"#]*/{re.sub("[-_.]", "[-_.]", name)}-{re.escape(version)}\.tar\.gz)'
        yield from re.findall(pattern, page, re.IGNORECASE)[:1]


def _npm(client: httpx.Client) -> Iterator[str]:
    for each in NPM.split():
        name, version = each.rsplit("@", 1)
        answer = client.get(f"https://registry.npmjs.org/{name}/{version}")
        yield answer.json()["dist"]["tarball"]


def _debian(client: httpx.Client) -> Iterator[str]:
    """The upstream tarballs of Debian packages, found in the release's index of sources."""
    index = client.get(f"{MIRROR}/dists/{RELEASE}/main/source/Sources.xz").content
    wanted = set(DEBIAN.split())
    for paragraph in lzma.decompress(index).decode().split("\n\n"):
        name = re.search(r"^Package: (.*)$", paragraph, re.MULTILINE)
        if name and name[1] in wanted:
            folder = re.search(r"^Directory: (.*)$", paragraph, re.MULTILINE)
            tarball = re.search(r" (\S+\.orig\.tar\.(?:gz|xz|bz2))$", paragraph, re.MULTILINE)
            if folder and tarball:
                yield f"{MIRROR}/{folder[1]}/{tarball[1]}"


def _file_name(url: str) -> str:
    """The archive's name; an npm tarball of a scope keeps it."""
    return url.rpartition("/")[2].replace("%2f", "-")


if __name__ == "__main__":
    print(json.dumps([p.name for p in fetch(Path(sys.argv[1]))]))
