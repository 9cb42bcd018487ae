"""CRUXEval: what does this function return, and for which argument does it return that
(arXiv:2401.03065).

Data: cruxeval/cruxeval.jsonl; `--subset output` (the default) asks for the output, `input` for an
input. Judged by running the function, so that any right spelling passes.
"""

from pathlib import Path

from codling.core.errors import ConfigError
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.task import Problem, Prompt, Sampling, Task, Verdict, read_lines
from codling.grading.fences import strip_thoughts
from codling.grading.plain_expression import is_plain_call, is_plain_value
from codling.sandbox.executor import Program

_OUTPUT = (
    "Complete the assertion with the value that the code gives: a literal, no function calls.\n"
    "def f(n):\n    return n\nassert f(17) == 17\n\n"
    'def f(s):\n    return s + "a"\nassert f("x9j") == "x9ja"\n\n'
)
_INPUT = (
    "Complete the assertion with arguments for which it holds.\n"
    "def f(my_list):\n    return sum(1 for i in my_list if len(i) == 3)\n"
    'assert f(["mq", "px", "zy", "abc", "dfe", "kli"]) == 3\n\n'
    "def f(s1, s2):\n    return s1 + s2\n"
    'assert f("ba", "nana") == "banana"\n\n'
)


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The 800 functions."""
    subset = config.subset or "output"
    if subset not in ("output", "input"):
        raise ConfigError("cruxeval has the subsets output and input")
    rows = read_lines(config.data_file or data_dir / "cruxeval" / "cruxeval.jsonl")
    return [Problem(id=row["id"], data={**row, "subset": subset}) for row in rows]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """Two examples and the open assertion."""
    data = problem.data
    if data["subset"] == "output":
        text = f"{_OUTPUT}{data['code']}\nassert f({data['input']}) =="
    else:
        text = f"{_INPUT}{data['code']}\nassert f("
    if config.style == "base":
        return Prompt(text=text)
    closing = config.instruction or "Reply with the completed assertion, in one line."
    return Prompt(messages=({"role": "user", "content": f"{text} ...\n\n{closing}"},))


def extract(problem: Problem, text: str, style: Style) -> str:
    """The value after `==`, or the arguments of `f(...)`."""
    text = strip_thoughts(text) if style == "instruct" else text
    lines = [line.strip() for line in text.replace("```python", "").split("\n") if line.strip()]
    asserts = [line for line in lines if line.startswith("assert f(")]
    line = asserts[-1].removeprefix("assert ") if asserts else (lines or [""])[0]
    if problem.data["subset"] == "output":
        return line.rpartition("==")[2].strip() if asserts else line.removeprefix("==").strip()
    call = line.removeprefix("f(") if asserts else line
    return call.partition(") ==")[0].strip().removesuffix("```").strip()


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program | Verdict:
    """Run the function. An output may be any expression that gives the value, as for CRUXEval's own
    scorer, except a call of what the code defines, which would always be right. Neither outputs nor
    arguments may be objects that equal anything."""
    data = problem.data
    if data["subset"] == "output":
        if not is_plain_value(answer, data["code"]):
            return Verdict(passed=False, detail="no plain value")
        test = (
            f"assert f({data['input']}) == {data['output']}\n"
            f"assert {data['output']} == eval({answer.strip()!r})"
        )
    elif not is_plain_call(f"f({answer})"):
        return Verdict(passed=False, detail="no plain arguments")
    else:
        test = f"assert eval({'f(' + answer + ')'!r}) == {data['output']}"
    source = f"from typing import *\n{data['code']}\n{test}\n"
    return Program(language="python", source=source, seconds=config.timeout or 5.0)


TASK = Task(
    name="cruxeval",
    about="800 small functions: predict the output (--subset input: find an input)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    one_file=True,
    sampling=lambda _problem, style: (
        Sampling(max_tokens=100, stop=("\n",)) if style == "base" else Sampling(max_tokens=300)
    ),
    in_words=True,
    canonical=lambda problem: str(problem.data[problem.data["subset"]]),
    takes=("subset",),
)
