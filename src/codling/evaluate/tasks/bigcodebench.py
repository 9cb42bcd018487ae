"""BigCodeBench-Hard: 148 tasks that use many libraries (arXiv:2406.15877).

Data: bigcodebench/bigcodebench_hard.json ({id: row}). Base models complete `complete_prompt`, chats
follow `instruct_prompt`; as published ("calibrated"), what the answer lacks of `code_prompt` is put
before it. All tests of the row's unittest class must pass. A row whose libraries are not installed
is not run: `codling evaluate doctor` prints the line that makes an environment, for `--python`.
Its versions are those of the authors' requirements-eval.txt (of Python 3.10); where one of them has
no wheel for 3.11, the nearest later version that has.
"""

import ast
from pathlib import Path
from typing import Any

from codling.core.foreign_json import read_object
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.task import Problem, Prompt, Sampling, Task, Verdict, ask
from codling.grading.extract import extract_block
from codling.sandbox.executor import Program
from codling.sandbox.interpreter import find_interpreter

INSTRUCTION = "{prompt}"
_STOPS = ("\nclass ", "\nif __name__", "\nprint(", "\n# Test", "\n```", "\nassert ")
_IMPORTED = {"scikit-learn": "sklearn", "beautifulsoup4": "bs4", "python-docx": "docx"}
_PINS = """
beautifulsoup4==4.8.2 chardet==5.2.0 cryptography==38.0.0 flask==3.0.3 flask-login==0.6.3
flask-mail==0.10.0 flask-wtf==1.2.1 gensim==4.3.2 geopandas==0.13.2 keras==2.12.0
Levenshtein==0.25.0 librosa==0.10.1 lxml==4.9.3 matplotlib==3.7.0 nltk==3.8 numpy==1.23.5
opencv-python-headless==4.9.0.80 openpyxl==3.1.2 pandas==2.0.3 Pillow==10.3.0 psutil==5.9.5
pycryptodome==3.14.1 pyquery==1.4.3 pytesseract==0.3.10 python-docx==1.1.0 pytz==2023.3.post1 regex
requests==2.31.0 rsa==4.9 scikit-learn==1.3.1 scipy==1.9.3 seaborn==0.13.2 shapely==2.0.4
soundfile==0.12.1 statsmodels==0.14.0 tensorflow-cpu==2.12.0 werkzeug==3.0.1 wordcloud==1.9.3
wtforms==3.1.2 xlwt==1.3.0
"""
LIBRARIES_LINE = (
    "BigCodeBench-Hard's libraries (--python bigcodebench/bin/python):\n"
    "python3.11 -m venv bigcodebench && bigcodebench/bin/pip install " + " ".join(_PINS.split())
)
_FRESH = """
import sys as _sys
for _name in [name for name in _sys.modules if name.partition(".")[0] == "unittest"]:
    del _sys.modules[_name]
"""
"""What an answer has changed in unittest does not reach the tests."""
_RUN = """
import unittest as _unittest
_tests = _unittest.defaultTestLoader.loadTestsFromTestCase(TestCases)
_result = _unittest.TextTestRunner(verbosity=0).run(_tests)
assert _result.testsRun and _result.wasSuccessful(), "tests failed"
"""


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The 148 tasks."""
    rows = read_object(config.data_file or data_dir / "bigcodebench" / "bigcodebench_hard.json")
    return [Problem(id=name, data=row) for name, row in rows.items()]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """Code to complete, or an instruction in a chat."""
    if config.style == "base":
        return Prompt(text=problem.data["complete_prompt"])
    return ask(INSTRUCTION, config, prompt=problem.data["instruct_prompt"])


def extract(problem: Problem, text: str, style: Style) -> str:
    """A whole program, calibrated."""
    if style == "base":
        cut = text[: min((at for s in _STOPS if (at := text.find(s)) >= 0), default=len(text))]
        return str(problem.data["complete_prompt"] + cut)
    return calibrate(extract_block(text), problem.data["code_prompt"])


def calibrate(answer: str, code_prompt: str) -> str:
    """The answer, behind the imports and constants of the prompt with a stub of the function."""
    return f"{code_prompt}\n    pass\n{answer}" if answer.strip() else ""


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program | Verdict:
    """The answer, the tests, and a runner of them; foreign answers are calibrated here."""
    if not answer.strip():
        return Verdict(detail="no answer")
    if any(line not in answer for line in problem.data["code_prompt"].splitlines()):
        answer = calibrate(answer, problem.data["code_prompt"])
    python = find_interpreter(config.python)
    missing = [name for name in _libraries(problem.data["libs"]) if not python.has(name)]
    if missing:
        return Verdict(skipped=True, detail=f"no {missing[0]}")
    return Program(
        language="python",
        source=f"{answer}\n{_FRESH}\n{problem.data['test']}\n{_RUN}",
        answer=answer,
        seconds=config.timeout or 240.0,
        memory_bytes=6 << 30,
        strict=config.verdicts == "strict",
        proc=True,
    )


def _libraries(libs: Any) -> list[str]:  # noqa: ANN401 - a list, or a list written out
    names = ast.literal_eval(libs) if isinstance(libs, str) else libs
    return [_IMPORTED.get(name, name) for name in names]


TASK = Task(
    name="bigcodebench-hard",
    about="148 tasks with many libraries, unittest decides (see doctor for the environment)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    one_file=True,
    whole=lambda problem, completion: str(problem.data["complete_prompt"] + completion),
    canonical=lambda problem: problem.data["complete_prompt"] + problem.data["canonical_solution"],
    sampling=lambda _problem, style: Sampling(
        max_tokens=1280, stop=_STOPS if style == "base" else ()
    ),
    takes=(),
)
