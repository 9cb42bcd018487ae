"""How often licence files are recognised, on packages that declare their licence elsewhere, too.

Input: a folder for the archives (fetched where they are missing: npm tarballs, PyPI sdists, small
Debian sources). Output: right, partly, wrong and not recognised, per kind of package.

    python benchmarks/licenses.py /tmp/license-sources [--errors 20]

The truth is what the package's metadata declare: package.json, PKG-INFO, debian/copyright ("Files:
*"). What is judged are the LICENSE and COPYING files in the package's root alone. Versions
"only" and "or later" count as the same, since the text does not say which; so do
the BSD licences where the metadata says BSD alone, and both texts of the Artistic licence. A
project is "partly" right if the file names some of the declared licences, or more. Metadata may be
wrong, too: --errors prints what differs.
"""

import argparse
import json
import lzma
import re
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from packages import Kind, fetch

from codling.corpus.licenses.metadata import METADATA, metadata_license
from codling.corpus.licenses.notices import UNKNOWN, is_notice, read_notices

DEBIAN = """
    bc bzip2 cowsay dash diffstat ed figlet file fortune-mod gawk gperf grep gzip hello indent
    less libb64 libedit libestr libfastjson liblockfile libmd libpng1.6 libtirpc libyaml lsof m4
    make-dfsg mawk miniz mg moreutils ncompress netcat-openbsd patch patchutils pciutils pv rsync
    sed sharutils sl strace tar time tmux traceroute tree unifdef units which xxhash zip zlib
"""
NPM = """
    lodash express react vue webpack rxjs eslint date-fns three axios chalk jquery yargs commander
    async bluebird moment uuid debug glob minimist mkdirp rimraf semver underscore request through2
    inherits typescript tslib core-js babel-core ws socket.io mocha chai sinon jest karma gulp grunt
    browserify rollup parcel esbuild vite svelte preact ember-source backbone angular d3 d3-scale
    topojson leaflet mapbox-gl ol cesium pixi.js phaser p5 tone howler hammerjs fabric konva
    codemirror ace-builds monaco-editor prismjs highlight.js marked showdown markdown-it remark
    handlebars mustache ejs pug nunjucks less sass stylus postcss autoprefixer cssnano bootstrap
    bulma tailwindcss font-awesome normalize.css animate.css mongodb mongoose redis ioredis pg mysql
    sqlite3 knex sequelize typeorm prisma graphql apollo-server koa fastify hapi restify polka
    nodemailer passport bcrypt jsonwebtoken validator joi yup ajv zod immutable immer redux mobx
    sprintf-js spdx-license-ids caniuse-lite source-map esprima estraverse acorn jszip pako tar
    argparse js-yaml json5 ini toml dotenv cross-env husky lint-staged prettier standard xo ava tape
    jsdom cheerio puppeteer playwright-core nightmare sharp jimp canvas pdfkit pdfjs-dist exceljs
    xlsx papaparse csv-parse fast-csv fs-extra graceful-fs chokidar node-fetch got superagent needle
"""
PYPI = """
    numpy django sqlalchemy requests flask sphinx ansible-core twisted sympy networkx pytest mypy
    black aiohttp pillow lxml tornado celery attrs click jinja2 h5py paramiko
    docutils pygments pyyaml simplejson chardet idna certifi urllib3 six python-dateutil pytz
    setuptools wheel pip virtualenv tox nox hatchling flit poetry-core pdm-backend coverage
    hypothesis mock faker factory-boy beautifulsoup4 html5lib bleach markdown mistune commonmark
    nltk gensim psycopg2 pymysql redis pymongo elasticsearch boto3 botocore
    google-auth httplib2 httpx starlette fastapi uvicorn gunicorn gevent eventlet greenlet
    zope.interface     pyramid bottle cherrypy web.py falcon sanic peewee alembic mako
    isort flake8 pycodestyle pyflakes pylint astroid rope jedi parso ipython traitlets notebook
    nbformat jupyter-client pyzmq terminado tqdm rich colorama termcolor blessed prompt-toolkit
    psutil pexpect ptyprocess sh plumbum fabric invoke cffi pycparser cython ply lark regex
    toolz cytoolz joblib dill cloudpickle msgpack protobuf thrift avro orjson ujson
    mutagen pydub eyed3 pyserial pyusb pyparsing asn1crypto pyasn1 rsa pynacl
    bcrypt passlib itsdangerous oauthlib feedparser mechanize pypdf reportlab
    xlrd openpyxl xlsxwriter tablib shapely geopy pyproj fiona mercurial
    portalocker filelock watchdog schedule apscheduler docker kubernetes python-gitlab pygithub
"""
DECLARED = {"npm": "package.json", "PyPI": "PKG-INFO", "Debian": "copyright"}
FAMILY = re.compile(r"BSD-\d-Clause.*")


def main() -> None:
    """Judge the licence files of all packages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--errors", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    sources = Sources(arguments.folder)
    total: Counter[str] = Counter()
    print("| packages | with both | right | partly | wrong | not recognised | ms a file |")
    print("|---|---|---|---|---|---|---|")
    for kind in ("npm", "PyPI", "Debian"):
        names = {"npm": NPM, "PyPI": PYPI, "Debian": DEBIAN}[kind]
        total += judge(kind, names.split(), sources, arguments.errors)
    print(dict(total))


def judge(kind: str, names: list[str], sources: "Sources", n_errors: int) -> Counter[str]:
    """Count the verdicts on the packages of one kind."""
    found: Counter[str] = Counter()
    errors: list[str] = []
    seconds, n_files = 0.0, 0
    for name in names:
        declared, raw, texts = sources.notices(kind, name)
        if declared is None or not texts:
            continue
        started = time.process_time()
        folders = read_notices({f: t.encode() for f, t in texts.items()}).folders
        stated = folders.get("", (UNKNOWN, ""))[0].replace(UNKNOWN, "")
        seconds += time.process_time() - started
        n_files += len(texts)
        verdict = compare(_ids(stated), _ids(declared), raw)
        found[verdict] += 1
        if verdict != "right":
            errors.append(
                f"{verdict}: {name} declares {declared} ({raw[:40]!r}), text says {stated}"
            )
    n = sum(found.values())
    parts = " | ".join(str(found[v]) for v in ("partly", "wrong", "none"))
    share = found["right"] / max(1, n)
    ms = 1000 * seconds / max(1, n_files)
    print(f"| {kind} | {n} | {found['right']} ({share:.3f}) | {parts} | {ms:.1f} |")
    for error in errors[:n_errors]:
        print(f"|   {error}")
    return found


def compare(found: set[str], declared: set[str], raw: str) -> str:
    """The verdict on a package."""
    if not found:
        return "none"
    if not re.search(r"\d", raw) and "BSD" in raw.upper():
        found, declared = ({FAMILY.sub("BSD", x) for x in side} for side in (found, declared))
    if found == declared:
        return "right"
    return "partly" if found & declared else "wrong"


def _ids(expression: str) -> set[str]:
    plain = re.sub(r"\bWITH\s+\S+", "", expression).replace("Artistic-1.0-Perl", "Artistic-1.0")
    words = re.findall(r"[\w.+-]+", plain)
    return {re.sub(r"(?:-only|-or-later|\+)$", "", w) for w in words if w not in ("AND", "OR")}


class Sources:
    """The archives, fetched where they are missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def notices(self, kind: str, name: str) -> tuple[str | None, str, dict[str, str]]:
        """(declared licence, as it is written, texts of the licence files in the root)."""
        path = self.folder / f"{kind}={name.replace('/', '_')}.json"
        if not path.exists():
            path.write_text(json.dumps(self._read(kind, name)), encoding="utf-8")
        metadata, texts = json.loads(path.read_text(encoding="utf-8"))
        for file, text in metadata.items():
            if declared := metadata_license(file, text):
                written = re.findall(r"(?im)^\s*\"?licen[sc]e(?:-expression)?\"?\s*:\s*(.*)", text)
                classified = re.findall(r"License :: .*", text)
                return declared, " ".join([*written[:1], *classified]), texts
        return None, "", texts

    def _read(self, kind: str, name: str) -> tuple[dict[str, str], dict[str, str]]:
        wanted = {"npm": "package.json", "PyPI": "PKG-INFO", "Debian": "copyright"}[kind]
        metadata: dict[str, str] = {}
        texts: dict[str, str] = {}
        for packed in fetch(cast(Kind, kind.lower()), name, self.folder):
            try:
                for file, text in _files(packed):
                    if file.rpartition("/")[2] == wanted:
                        metadata.setdefault(wanted, text)
                    elif "/" not in file and is_notice(file) and file not in METADATA:
                        texts[file] = text
            except (tarfile.TarError, EOFError, lzma.LZMAError):
                return {}, {}
        return metadata, texts


def _files(packed: Path) -> Iterator[tuple[str, str]]:
    """(path, text) of small files; in the Debian tarball only debian/copyright."""
    is_debian = ".debian.tar" in packed.name
    with tarfile.open(packed) as tar:
        for member in tar:
            top, _, path = member.name.removeprefix("./").partition("/")
            if is_debian != (top == "debian") or not member.isfile() or member.size > 300_000:
                continue
            if is_debian and path != "copyright":
                continue
            file = tar.extractfile(member)
            assert file is not None
            yield path, file.read().decode("utf-8", "replace")


if __name__ == "__main__":
    main()
