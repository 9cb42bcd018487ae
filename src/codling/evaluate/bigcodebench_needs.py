"""What BigCodeBench-Hard's programs need: installed libraries, and of some rows the network.

Input: a row, an interpreter. Output: what is missing here, and the line that makes an environment.
Its versions are those of the authors' requirements-eval.txt (of Python 3.10); where one of them has
no wheel for 3.11, the nearest later version that has.

Not here: running the tests (tasks/bigcodebench.py).
"""

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from codling.sandbox.interpreter import Interpreter

_IMPORTED = {"scikit-learn": "sklearn", "beautifulsoup4": "bs4", "python-docx": "docx"}
_PINS = """
beautifulsoup4==4.8.2 chardet==5.2.0 cryptography==38.0.0 Faker==20.1.0 flask==3.0.3
flask-login==0.6.3 flask-mail==0.10.0 flask-wtf==1.2.1 gensim==4.3.2 geopandas==0.13.2 keras==2.12.0
Levenshtein==0.25.0 librosa==0.10.1 lxml==4.9.3 matplotlib==3.7.0 nltk==3.8 numpy==1.23.5
opencv-python-headless==4.9.0.80 openpyxl==3.1.2 pandas==2.0.3 Pillow==10.3.0 psutil==5.9.5
pycryptodome==3.14.1 pyquery==1.4.3 pytesseract==0.3.10 python-docx==1.1.0 pytz==2023.3.post1 regex
requests==2.31.0 rsa==4.9 scikit-learn==1.3.1 scipy==1.9.3 seaborn==0.13.2 shapely==2.0.4
soundfile==0.12.1 statsmodels==0.14.0 tensorflow-cpu==2.12.0 werkzeug==3.0.1 wordcloud==1.9.3
wtforms==3.1.2 xlrd==2.0.1 xlwt==1.3.0
"""
LIBRARIES_LINE = (
    "BigCodeBench-Hard's libraries (--python bigcodebench/bin/python):\n"
    "python3.11 -m venv bigcodebench && bigcodebench/bin/pip install " + " ".join(_PINS.split())
)
_NETWORK = "its own tests use the network"
_CORPORA = "nltk's corpora are not here"
_CHILD = "it reads a child's /proc, which the sandbox does not show"
_NOT_HERE = {
    "BigCodeBench/101": _NETWORK,
    "BigCodeBench/177": _CORPORA,
    "BigCodeBench/461": _CHILD,
    "BigCodeBench/590": _NETWORK,
    "BigCodeBench/655": _CORPORA,
    "BigCodeBench/1006": _NETWORK,
    "BigCodeBench/1012": _NETWORK,
}
"""Rows whose own answers cannot pass in the sandbox, found by running all 148."""


def missing_here(name: str, row: Mapping[str, Any], python: Interpreter) -> str:
    """Why a row's tests cannot run with this interpreter in the sandbox; empty if they can."""
    absent = next((each for each in _imports(row) if not python.has(each)), "")
    if absent:
        return f"no {absent}"
    return _NOT_HERE.get(name, "")


def _imports(row: Mapping[str, Any]) -> Iterator[str]:
    """The modules of the libraries that a row names, then those that its tests import besides."""
    libs = row["libs"]
    names = ast.literal_eval(libs) if isinstance(libs, str) else libs
    yield from (_IMPORTED.get(each, each) for each in names)
    for node in ast.walk(ast.parse(row["test"])):
        if isinstance(node, ast.Import):
            yield from (each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
