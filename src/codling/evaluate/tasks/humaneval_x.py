"""HumanEval-X: HumanEval in six languages, written by hand (arXiv:2303.17568).

Data: humaneval-x/LANG/data/humaneval_LANG.jsonl, plain or .gz. `--language` cpp, go, java, js,
python (the default) or rust. What tests need from outside is in evaluate/language_tests.py.
"""

from pathlib import Path

from codling.core.errors import ConfigError
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.language_tests import OUR_NAMES, language_program
from codling.evaluate.task import Problem, Prompt, Sampling, Task, ask, read_lines
from codling.grading.chat_code import chat_program
from codling.grading.extract import PYTHON_STOPS, cut_at
from codling.grading.python_code import python_answer
from codling.sandbox.executor import Program

INSTRUCTION = (
    "Complete the following {language} code. Leave what is given unchanged and reply with the "
    "whole code in one code block.\n```{language}\n{prompt}\n```"
)
STOPS = {
    "python": PYTHON_STOPS,
    "cpp": ("\nint main", "\n// ", "\n#"),
    "go": ("\nfunc ", "\n//", "\ntype "),
    "java": ("\n    public static", "\n    }\n}\n", "\n//"),
    "js": ("\nfunction ", "\nconst ", "\nconsole", "\n//"),
    "rust": ("\nfn ", "\n//", "\n#[", "\nmod "),
}


def language_or_python(config: BenchmarkConfig) -> str:
    """The config's language as the benchmark's folders call it."""
    name = {"rs": "rust", "": "python"}.get(config.language, config.language)
    if name not in OUR_NAMES:
        raise ConfigError(f"no language {name}; choose one of {', '.join(OUR_NAMES)}")
    return name


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The 164 problems of a language."""
    name = language_or_python(config)
    rows = read_lines(data_dir / "humaneval-x" / name / "data" / f"humaneval_{name}.jsonl")
    return [Problem(id=row["task_id"], data=row, group=name) for row in rows]


def start_of(problem: Problem) -> str:
    """The code that an answer continues: the prompt; Rust's may be a comment without its
    declaration."""
    text, declaration = problem.data["prompt"], problem.data["declaration"]
    is_there = declaration.strip().rpartition("\n")[2] in text
    return str(text if is_there else f"{text}\n{declaration}")


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """The declaration with its comment, or a chat turn around it."""
    text = start_of(problem)
    if config.style == "base":
        return Prompt(text=text)
    return ask(INSTRUCTION, config, prompt=text, language=problem.group)


def extract(problem: Problem, text: str, style: Style) -> str:
    """The prompt and its completion, or what a chat's code block makes of it."""
    source = start_of(problem)
    if style == "base":
        return source + cut_at(text, STOPS[problem.group])
    if problem.group == "python":
        return python_answer(text, source, problem.data.get("entry_point", ""))
    return chat_program(source, text, OUR_NAMES[problem.group], problem.data["test"])


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program:
    """The answer, then the row's tests."""
    data = problem.data
    setup = f"{data.get('test_setup', '')}\n{data.get('import', '')}"
    return language_program(problem.group, answer, data["test"], config, setup)


TASK = Task(
    name="humaneval-x",
    about="HumanEval in six languages by hand (--language cpp, go, java, js, python, rust)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    whole=lambda problem, completion: start_of(problem) + completion,
    canonical=lambda problem: start_of(problem) + str(problem.data["canonical_solution"]),
    sampling=lambda problem, style: (
        Sampling(stop=STOPS[problem.group]) if style == "base" else Sampling(max_tokens=1024)
    ),
    takes=("language",),
)
