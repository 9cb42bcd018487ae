"""BIG-Bench Hard: 27 tasks, three solved examples with a chain of thought (arXiv:2210.09261).

Data: bbh/bbh/TASK.json and bbh/cot-prompts/TASK.txt; `--subset date_understanding` runs one task.
With `--subset TASK:choice` multiple-choice tasks are ranked by log-likelihood, without a chain of
thought.
"""

import re
from pathlib import Path

from codling.core.errors import SourceError
from codling.core.foreign_files import read_text
from codling.core.foreign_json import read_rows
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.task import Problem, Prompt, Sampling, Task, Verdict


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The examples of all tasks, or of one."""
    wanted, _, mode = config.subset.partition(":")
    problems = []
    for path in sorted((data_dir / "bbh" / "bbh").glob("*.json*")):
        name = path.name.partition(".")[0]
        if wanted in ("", name):
            problems += _task(path, name, data_dir / "bbh" / "cot-prompts" / f"{name}.txt", mode)
    if not problems:
        raise SourceError(f"no BBH task {wanted} in {data_dir / 'bbh' / 'bbh'}")
    return problems


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """Examples, question, and the beginning of a thought; or the options to rank."""
    text = f"{problem.data['shots']}\n\nQ: {problem.data['input']}\nA:"
    options = _options(problem)
    if problem.data["mode"] == "choice" and options:
        return Prompt(text=f"{problem.data['input']}\nAnswer:", options=options)
    if config.style == "base":
        return Prompt(text=text + " Let's think step by step.")
    return Prompt(messages=({"role": "user", "content": f"{text} Let's think step by step."},))


def extract(problem: Problem, text: str, style: Style) -> str:  # noqa: ARG001
    """What follows "the answer is", else the last line."""
    found = re.findall(r"answer is:?\s*(.+?)(?:\.?\s*$|\.\s)", text, re.I | re.M)
    last = (text.strip().splitlines() or [""])[-1]
    return str(found[-1] if found else last).replace("*", "").strip().rstrip(".")


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Verdict:  # noqa: ARG001
    """Whether it is the target; a bare letter counts as its option."""
    target = problem.data["target"].strip()
    letters = {a or b for a, b in re.findall(r"\(([A-Z])\)|^([A-Z])$", answer)}
    if re.fullmatch(r"\([A-Z]\)", target):
        said = f"({letters.pop()})" if len(letters) == 1 else answer  # several are not a choice
    else:
        said = answer
    return Verdict(passed=said.lower() == target.lower(), detail=f"said {said[:40] or 'nothing'}")


def _task(path: Path, name: str, shots_path: Path, mode: str) -> list[Problem]:
    (whole,) = read_rows(path)
    rows = whole["examples"]
    shots = read_text(shots_path).partition("-----\n")[2].strip()
    return [
        Problem(id=f"{name}/{i}", data={**row, "shots": shots, "mode": mode}, group=name)
        for i, row in enumerate(rows)
    ]


def _options(problem: Problem) -> tuple[str, ...]:
    lettered = re.findall(r"^(\([A-Z]\))", problem.data["input"], re.M)
    return tuple(f" {letter}" for letter in lettered)


TASK = Task(
    name="bbh",
    about="27 hard tasks, 3 shots with a chain of thought (--subset date_understanding ...)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    in_words=True,
    sampling=lambda _problem, style: Sampling(
        max_tokens=512, stop=("\nQ:",) if style == "base" else ()
    ),
    canonical=lambda problem: str(problem.data["target"]),
    takes=("subset",),
)
