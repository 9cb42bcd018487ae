"""TriviaQA (arXiv:1705.03551) and Natural Questions, open (arXiv:1906.00300): short answers from
memory, five solved examples, exact match with any alias.

Data: triviaqa/*.jsonl (rows of id, question, answers) and nq-open/NQ-open.dev.jsonl; the examples
are the first five of nq-open/NQ-open.efficientqa.dev.1.1.jsonl, since the train sets of both are
large and not needed here. Both sides lose case, punctuation, articles and extra blanks. Base
prompts and their ends are lm-evaluation-harness's of TriviaQA, a second "?" included.
"""

import re
import string
from collections.abc import Sequence
from pathlib import Path

from codling.core.errors import SourceError
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.task import Problem, Prompt, Sampling, Task, Verdict, ask, read_lines
from codling.grading.fences import strip_thoughts

INSTRUCTION = "{prompt}\nReply with the answer only."
_SHOTS = 5
_STOPS = ("\n", ".", ",")
_PUNCTUATION = frozenset(string.punctuation + "\u2018\u2019\u00b4`")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_LEAD = re.compile(r"^(?:the answer is|answer)\s*:?\s*", re.I)


def load_triviaqa(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The questions of the files that lie there, once each."""
    files = sorted((data_dir / "triviaqa").glob("*.jsonl*"))
    if not files:
        raise SourceError(f"no TriviaQA questions (*.jsonl) in {data_dir / 'triviaqa'}")
    rows = {row["id"]: row for path in files for row in read_lines(path)}
    shots = _shots(data_dir, config)
    return [_problem(name, row["question"], row["answers"], shots) for name, row in rows.items()]


def load_nq(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The 3610 dev questions."""
    rows = read_lines(config.data_file or data_dir / "nq-open" / "NQ-open.dev.jsonl")
    shots = _shots(data_dir, config)
    return [
        _problem(f"nq/{i}", row["question"], row["answer"], shots) for i, row in enumerate(rows)
    ]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """Solved examples and the question."""
    text = f"{problem.data['shots']}Question: {problem.data['question']}?\nAnswer:"
    return Prompt(text=text) if config.style == "base" else ask(INSTRUCTION, config, prompt=text)


def extract(problem: Problem, text: str, style: Style) -> str:  # noqa: ARG001
    """The first line that says something."""
    said = strip_thoughts(text) if style == "instruct" else text
    line = next((line.strip() for line in said.strip().split("\n") if line.strip()), "")
    return line if style == "base" else _LEAD.sub("", line.strip("*")).strip()


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Verdict:  # noqa: ARG001
    """Whether it is one of the answers, both normalised; nothing said is never right."""
    # "A+" and "---" come to nothing and are answers all the same, as with the authors.
    right = {normal(each) for each in problem.data["answers"] if each.strip()}
    return Verdict(
        passed=bool(answer.strip()) and normal(answer) in right,
        detail=f"said {answer[:60] or 'nothing'}",
    )


def normal(text: str) -> str:
    """Lower case, without punctuation, articles and extra blanks.

    >>> normal("The  Beatles!"), normal("U.S.A.")
    ('beatles', 'usa')
    """
    plain = "".join(sign for sign in text.lower() if sign not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def _problem(name: str, question: str, answers: Sequence[str], shots: str) -> Problem:
    data = {"question": question, "answers": list(answers), "shots": shots}
    return Problem(id=name, data=data)


def _shots(data_dir: Path, config: BenchmarkConfig) -> str:
    n = _SHOTS if config.shots is None else config.shots
    path = data_dir / "nq-open" / "NQ-open.efficientqa.dev.1.1.jsonl"
    rows = [row for _, row in zip(range(n), read_lines(path), strict=False)] if n else []
    return "".join(f"Question: {row['question']}?\nAnswer: {row['answer'][0]}\n\n" for row in rows)


def _sampling(problem: Problem, style: Style) -> Sampling:  # noqa: ARG001
    return Sampling(max_tokens=64, stop=_STOPS) if style == "base" else Sampling(max_tokens=512)


TRIVIAQA, NATURAL_QUESTIONS = (
    Task(
        name=name,
        about=about,
        load=load,
        prompt=prompt,
        extract=extract,
        check=check,
        sampling=_sampling,
        in_words=True,
        canonical=lambda problem: next((a for a in problem.data["answers"] if a.strip()), None),
        one_file=name == "nq-open",
        takes=(),
    )
    for name, about, load in (
        ("triviaqa", "trivia from memory, exact match with any alias, 5 shots", load_triviaqa),
        ("nq-open", "3610 questions of Natural Questions from memory, 5 shots", load_nq),
    )
)
