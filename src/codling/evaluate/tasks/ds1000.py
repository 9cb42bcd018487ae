"""DS-1000: data-science snippets for seven libraries, judged by running them (arXiv:2211.11501).

Data: ds1000/ds1000.jsonl, the completion format. Rows of libraries that are not installed are
reported as not run, by library. `--subset Pandas` runs one library. The references were written
for versions of 2022 to 2024: `--python` takes the interpreter of an environment that has them.
"""

import re
from pathlib import Path

from codling.core.errors import ConfigError
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.task import Problem, Prompt, Sampling, Task, Verdict, ask, read_lines
from codling.grading.extract import cut_at
from codling.grading.python_code import python_block
from codling.sandbox.executor import Program
from codling.sandbox.interpreter import find_interpreter

INSTRUCTION = (
    "Solve the problem by writing the missing Python code only: no imports or definitions that are "
    "already given. Reply with one code block.\n{prompt}"
)
_VERSIONS = {
    "numpy": "1.26.4",
    "pandas": "1.5.3",
    "scipy": "1.12.0",
    "scikit-learn": "1.4.0",
    "matplotlib": "3.8.4",
    "seaborn": "0.13.2",
    "statsmodels": "0.14.1",
    "xgboost": "2.0.3",
    "gensim": "4.3.2",
    "torch": "",
    "tensorflow-cpu": "2.16.1",
}
LIBRARIES_LINE = (
    "DS-1000's libraries in versions that its references run with (--python ds1000/bin/python):\n"
    "python3.11 -m venv ds1000 && ds1000/bin/pip install "
    + " ".join(f"{name}=={version}" if version else name for name, version in _VERSIONS.items())
)
_FETCHES = r"\bload_dataset\(|\bfetch_\w+\("
"""seaborn's and scikit-learn's examples that lie on servers: 15 rows use them."""
_STOPS = ("</code>", "# SOLUTION END", "\nEND SOLUTION")


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The rows, grouped by library."""
    rows = read_lines(config.data_file or data_dir / "ds1000" / "ds1000.jsonl")
    problems = [
        Problem(id=str(row["metadata"]["problem_id"]), data=row, group=row["metadata"]["library"])
        for row in rows
    ]
    chosen = [p for p in problems if config.subset in ("", p.group)]
    if not chosen:
        libraries = ", ".join(sorted({p.group for p in problems}))
        raise ConfigError(f"no subset {config.subset}; choose one of {libraries}")
    return chosen


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """The question with the code up to the hole."""
    text = problem.data["prompt"]
    return Prompt(text=text) if config.style == "base" else ask(INSTRUCTION, config, prompt=text)


def extract(problem: Problem, text: str, style: Style) -> str:  # noqa: ARG001
    """The code for the hole."""
    code = python_block(text) if style == "instruct" and "```" in text else text
    return cut_at(code.replace("BEGIN SOLUTION", "").replace("<code>", ""), _STOPS)


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program | Verdict:
    """The row's own test, or "not run" where a library or the network is missing."""
    data = problem.data["code_context"]
    if re.search(_FETCHES, data):
        detail = f"{problem.group}: fetches its data from the network"
        return Verdict(passed=False, skipped=True, detail=detail)
    named = dict.fromkeys(re.findall(r"^\s*(?:import|from) (\w+)", data, re.M))
    python = find_interpreter(config.python)
    missing = [name for name in named if not python.has(name)]
    if missing:
        return Verdict(passed=False, skipped=True, detail=f"{problem.group}: no {missing[0]}")
    calls = f"test_execution({answer!r})\n"
    if "def test_string(" in data:
        calls += f"test_string({answer!r})\n"
    quiet = "import warnings; warnings.simplefilter('ignore')\n"
    return Program(
        language="python",
        source=f"{quiet}{data}\n{calls}",
        seconds=config.timeout or 120.0,
        memory_bytes=6 << 30,
        strict=config.verdicts == "strict",
        proc=True,
    )


TASK = Task(
    name="ds1000",
    about="1000 data-science snippets, by library (--subset Pandas, Numpy, Sklearn ...)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    one_file=True,
    version=2,
    sampling=lambda _problem, style: (
        Sampling(max_tokens=512, stop=_STOPS) if style == "base" else Sampling(max_tokens=1024)
    ),
    canonical=lambda problem: str(problem.data["reference_code"]),
    preload=("numpy", "pandas"),
    libraries=tuple(_VERSIONS),
    takes=("subset",),
)
