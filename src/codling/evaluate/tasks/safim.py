"""SAFIM: fill a block, a control expression or a call in programs of four languages
(arXiv:2403.04814).

Data: safim/block_completion.jsonl, control_completion.jsonl, api_completion.jsonl, plain or .gz.
`--subset control` or api; block is the default; `--language python` (cpp, java, csharp) keeps one.
Blocks and expressions are decided by the row's tests, calls by equal tokens. What was filled in is
cut where its syntax ends (grading/hole_syntax.py), as the authors cut by a parser.
"""

import re
from pathlib import Path

from codling.core.errors import ConfigError
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.contest import run_on_stdin
from codling.evaluate.task import Problem, Prompt, Sampling, Task, Verdict, ask, read_lines
from codling.grading.extract import extract_block
from codling.grading.hole_syntax import cut_to_syntax, same_tokens
from codling.sandbox.executor import Program

INSTRUCTION = "{prompt}\n\nReply with the code that stands for the TODO comment only."
_KINDS = ("block", "control", "api")
_HOLE = re.compile(r"/\* TODO: Your code here \*/|# TODO: Your code here")
_OUR_NAMES = {"csharp": "cs"}
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
_MAIN = re.compile(r"\bclass\s+(\w+)(?=[^{]*\{(?:(?!\bclass\b).)*?\bvoid\s+main\s*\()", re.S)


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The rows of a kind, grouped by language."""
    kind = config.subset or "block"
    if kind not in _KINDS:
        raise ConfigError(f"no subset {kind}; choose one of {', '.join(_KINDS)}")
    rows = read_lines(data_dir / "safim" / f"{kind}_completion.jsonl")
    return [
        Problem(id=f"{row['task_id']}", data={**row, "kind": kind}, group=row["lang"])
        for row in rows
        if not config.language or config.language in _names(row["lang"])
    ]


def _names(lang: str) -> set[str]:
    """What a language of the rows may be called."""
    return {lang, _OUR_NAMES.get(lang, lang)}


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """What stands before and after the hole; a chat sees the whole."""
    text = problem.data["prompt"]
    if config.style == "instruct":
        return ask(INSTRUCTION, config, prompt=text)
    found = _HOLE.search(text)
    if found is None:
        return Prompt(text=text)
    return Prompt(hole=(text[: found.start()], text[found.end() :]))


def extract(problem: Problem, text: str, style: Style) -> str:
    """What was filled in, as far as its syntax goes."""
    said = extract_block(text, problem.data["lang"]) if style == "instruct" else text
    return cut_to_syntax(said, problem.data["kind"], problem.data["lang"])


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program | Verdict:
    """The row's tests, or the same call."""
    data = problem.data
    if not answer.strip():
        return Verdict(detail="no answer")
    if data["kind"] == "api":
        same = same_tokens(answer, data["ground_truth"])
        return Verdict(passed=same, detail=f"said {answer[:60]}")
    language = _OUR_NAMES.get(data["lang"], data["lang"])
    source = data["eval_prompt"].replace("{{completion}}", answer)
    main = _MAIN.search(_COMMENT.sub("", source)) if "public static void main" in source else None
    if main is not None:  # ours is called Problem
        source = re.sub(rf"\b{main[1]}\b", "Problem", source)
    pairs = [(test["input"], test["output"]) for test in data["unit_tests"]]
    return run_on_stdin(source, pairs, config.timeout or 10.0, language)


TASK = Task(
    name="safim",
    about="fill a block in programs of 4 languages, tests decide (--subset control, api)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    canonical=lambda problem: str(problem.data["ground_truth"]),
    sampling=lambda _problem, _style: Sampling(max_tokens=256),
)
