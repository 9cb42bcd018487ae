"""HumanEval in other languages (MultiPL-E, arXiv:2208.08227), as DeepSeek-Coder evaluated it.

Data: humaneval-multipl-e-deepseek/humaneval-LANGUAGE.jsonl; `--language cpp`. Verdicts are the
toolchain's: exit status and what it prints in mode "deepseek", proof of the end as well in mode
"strict". There are no solutions; the stub (an empty body) takes their place as what must fail.
"""

from pathlib import Path

from codling.core.errors import ConfigError
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.task import Problem, Prompt, Sampling, Task, ask, read_lines
from codling.evaluate.tasks.multipl_e_languages import BY_SUFFIX
from codling.grading.chat_code import chat_program
from codling.grading.deepseek_rules import deepseek_program
from codling.grading.extract import cut_at
from codling.sandbox.executor import Program

INSTRUCTION = (
    "Complete the following {language} function. Leave the given code unchanged and reply with the "
    "whole function in one code block.\n```{language}\n{prompt}\n```"
)


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The problems in one language."""
    if config.language not in BY_SUFFIX:
        raise ConfigError(f"multipl-e needs --language, one of {', '.join(BY_SUFFIX)}")
    name = f"humaneval-{config.language}.jsonl"
    rows = read_lines(config.data_file or data_dir / "humaneval-multipl-e-deepseek" / name)
    return [Problem(id=row["task_id"], data=row, group=config.language) for row in rows]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """The stripped prompt, or a chat turn around it."""
    text = problem.data["prompt"].strip()
    if config.style == "base":
        return Prompt(text=text)
    return ask(INSTRUCTION, config, language=BY_SUFFIX[problem.group].name, prompt=text)


def extract(problem: Problem, text: str, style: Style) -> str:
    """A program without its tests, open where the tests begin with the closing brace."""
    source = str(problem.data["prompt"])
    if style == "base":
        return source.strip() + _close_function(cut_at(text, _stops(problem)), problem)
    return chat_program(source, text, problem.group, problem.data["test"])


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program:
    """The answer, then the tests; in strict verdicts where their names do not meet."""
    tests = problem.data["test"]
    if config.verdicts == "strict":
        tests = with_own_names(problem.group, tests)
    return Program(
        language=problem.group,
        source=f"{answer}\n{tests}",
        seconds=config.timeout or (10.0 if config.style == "base" else 3.0),
        strict=config.verdicts == "strict",
    )


def with_own_names(language: str, tests: str) -> str:
    """Tests whose names are none of the answer's: an answer may well have a `let test`, which
    beside the tests' `function test` is an error of JavaScript.

    >>> with_own_names("js", "function test() {}")
    ';(() => {\\nfunction test() {}\\n})();'
    """
    if language not in BY_SUFFIX or not BY_SUFFIX[language].scopes_tests:
        return tests
    lines = tests.split("\n")
    n = next((i for i, line in enumerate(lines) if not line.startswith("declare ")), len(lines))
    # The semicolon ends what an answer leaves open (`if (false)`), or else is an error.
    return "\n".join([*lines[:n], ";(() => {", *lines[n:], "})();"])


def _stops(problem: Problem) -> tuple[str, ...]:
    return (*problem.data["stop_tokens"], *BY_SUFFIX[problem.group].more_stops)


def _close_function(completion: str, problem: Problem) -> str:
    """Add the closing brace that a stop string has taken and the tests do not bring."""
    is_open = completion.count("{") >= completion.count("}")
    wants = BY_SUFFIX[problem.group].wants_brace and is_open
    return completion + ("\n}" if wants else "")


def _deepseek(problem: Problem, text: str) -> str:
    language = problem.group
    return deepseek_program(problem.data["prompt"], text, language, BY_SUFFIX[language].name)


TASK = Task(
    name="multipl-e",
    about="HumanEval in 16 more languages (--language cpp, java, js, ts, cs, php, sh ...)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    one_file=True,
    extract_deepseek=_deepseek,
    version=2,
    sampling=lambda problem, style: (
        Sampling(stop=_stops(problem)) if style == "base" else Sampling(max_tokens=1024)
    ),
    whole=lambda problem, completion: problem.data["prompt"] + completion,
    takes=("language",),
)
