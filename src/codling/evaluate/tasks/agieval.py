"""AGIEval: questions of entrance and law examinations, Chinese and English (arXiv:2304.06364).

Data: agieval/data/v1/*.jsonl; `--subset v1_1` takes the corrected files of 2024 where there are
some, `--subset lsat-ar` one task. No solved examples. Letters are the first capital from A to F
of the answer, in the multiple-answer tasks all of them as a set; the answers of the two
mathematics tasks are compared as texts by the rule of MATH. The score is the mean over tasks.
"""

import re
from pathlib import Path
from typing import Any

from codling.core.errors import ConfigError
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.task import Problem, Prompt, Sampling, Task, Verdict, read_lines
from codling.grading.fences import strip_thoughts
from codling.grading.math_string import cloze_answer, same_string

MULTIPLE = ("jec-qa-kd", "jec-qa-ca", "gaokao-physics")
CLOZE = ("math", "gaokao-mathcloze")
_LEFT_OUT = ("sat-en-without-passage",)
_ENGLISH = ("aqua-rat", "math", "lsat", "logiqa-en", "sat")
_LETTERS = "ABCDEFG"
_PROSE = re.compile(r"\\boxed|[\u4e00-\u9fff]{2}|[A-Za-z]{2,} [A-Za-z]{2,} [A-Za-z]{2,}")
_IN_ENGLISH = {
    "question": "Q: ",
    "options": " Answer Choices: ",
    "cue": "\nA: Among A through {last}, the answer is",
    "cloze": "\nA: The answer is",
}
_IN_CHINESE = {
    "question": "问题：",  # noqa: RUF001
    "options": " 选项：",  # noqa: RUF001
    "cue": "\n答案：从A到{last}, 我们应选择",  # noqa: RUF001
    "cloze": "\n答案：",  # noqa: RUF001
}


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The rows of all 20 tasks, or of one; ids are TASK/number."""
    v1, v1_1 = (data_dir / "agieval" / "data" / name for name in ("v1", "v1_1"))
    files = {path.name.partition(".")[0]: path for path in sorted(v1.glob("*.jsonl*"))}
    if config.subset == "v1_1":
        files |= {path.name.partition(".")[0]: path for path in sorted(v1_1.glob("*.jsonl*"))}
    names = [name for name in files if name not in _LEFT_OUT]
    if config.subset not in ("", "v1_1"):
        names = [name for name in files if name == config.subset]
    if not names:
        raise ConfigError(f"no AGIEval task {config.subset} in {v1}; there are {', '.join(files)}")
    return [
        Problem(id=f"{name}/{i}", data=row, group=name)
        for name in sorted(names)
        for i, row in enumerate(read_lines(files[name]))
    ]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """Passage, question, options and the beginning of an answer, as published for no shots."""
    text = _text(problem)
    if config.style == "base":
        return Prompt(text=text)
    asked = (config.instruction or "{prompt}").replace("{prompt}", text)
    return Prompt(messages=({"role": "user", "content": asked},))


def extract(problem: Problem, text: str, style: Style) -> str:
    """Letters, or what the mathematics says last."""
    said = strip_thoughts(text) if style == "instruct" else text
    if problem.group in CLOZE:
        return cloze_answer(said)
    found = re.findall(r"[A-F]", said)
    return "".join(sorted({*found})) if problem.group in MULTIPLE else "".join(found[:1])


def read_said(problem: Problem, said: str) -> str:
    """A foreign answer: a bare formula as it is, anything else as what a model said."""
    is_bare = problem.group in CLOZE and not _PROSE.search(said)
    return said if is_bare else extract(problem, said, "base")


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Verdict:  # noqa: ARG001
    """Whether it is the label; sets of letters must be the same."""
    target = right_answer(problem)
    passed = same_string(answer, target) if problem.group in CLOZE else answer == target
    return Verdict(passed=bool(answer) and passed, detail=f"said {answer[:40] or 'nothing'}")


def right_answer(problem: Problem) -> str:
    """The label as `extract` gives it."""
    if problem.group in CLOZE:
        return str(problem.data["answer"])
    label: Any = problem.data["label"]
    return "".join(sorted({*re.findall(r"[A-G]", "".join(label or ""))}))


def _text(problem: Problem) -> str:
    data = problem.data
    words = _IN_ENGLISH if problem.group.startswith(_ENGLISH) else _IN_CHINESE
    asked = f"{data.get('passage') or ''}{words['question']}{data['question']}"
    if problem.group in CLOZE:
        return asked + words["cloze"]
    last = _LETTERS[len(data["options"]) - 1]
    return asked + words["options"] + " ".join(data["options"]) + words["cue"].format(last=last)


TASK = Task(
    name="agieval",
    about="examinations in Chinese and English (--subset lsat-ar, v1_1 ...)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    whole=read_said,
    in_words=True,
    sampling=lambda _problem, style: Sampling(max_tokens=64 if style == "base" else 2048),
    canonical=lambda problem: right_answer(problem) or None,
    mean_of_groups=True,
    takes=("subset",),
)
