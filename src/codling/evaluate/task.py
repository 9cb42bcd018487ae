"""What a benchmark is: problems, prompts, how an answer is cut out and how it is judged.

A benchmark is one file in tasks/ with a `TASK`: a record of four functions. `load` reads
problems, `prompt` asks, `extract` cuts the answer out of the model's reply, `check` says what
decides: a Program to be run, a Question to a judge model (a Panel of several), or a Verdict at
once, right or wrong or with a mark. `follow_up` asks again after an answer. Everything else
(asking, running, resuming, scoring) is the harness's.

Not here: the harness (harness.py) and the list of benchmarks (tasks/__init__.py).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from codling.core.errors import SourceError
from codling.core.foreign_json import parse_lines
from codling.evaluate.config import BenchmarkConfig, Style
from codling.grading.fences import strip_thoughts
from codling.sandbox.executor import Program


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One request to a model; exactly one of the first three is set."""

    text: str | None = None
    """To be continued."""
    messages: tuple[Mapping[str, str], ...] | None = None
    """A chat, to be answered."""
    hole: tuple[str, str] | None = None
    """Prefix and suffix, to be filled."""
    options: tuple[str, ...] = ()
    """With `text`: the model says which of these is the likeliest continuation."""
    ranking: str = "sum"
    """How the options' log-probabilities are compared: "sum", "length" (per character) or "alone"
    (less what they are after `alone` instead of `text`)."""
    alone: str = ""

    @property
    def contents(self) -> list[object]:
        """All that a stored answer depends on."""
        more = [self.alone] if self.ranking == "alone" else []
        return [self.text, self.messages, self.hole, self.options, *more]

    def choose(self, sums: Sequence[float], alone: Sequence[float] = ()) -> str:
        """The option that has the best of these log-probabilities; the first of equals."""
        if self.ranking == "length":
            lengths = (max(1, len(option.strip())) for option in self.options)
            sums = [value / length for value, length in zip(sums, lengths, strict=True)]
        elif self.ranking == "alone":
            sums = [value - other for value, other in zip(sums, alone, strict=True)]
        return self.options[list(sums).index(max(sums))]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem; `data` is what the task's own functions need."""

    id: str
    data: Mapping[str, Any]
    group: str = ""
    """Results are also given per group: a language, a library, a subject."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A judgement without running anything."""

    passed: bool = False
    detail: str = ""
    """The reason, in a few words, if it failed."""
    skipped: bool = False
    """The problem cannot be judged here; it counts neither way."""
    mark: float | None = None
    """Where answers get marks: the mark, in place of right or wrong."""
    judgments: tuple[Mapping[str, Any], ...] = ()
    """Rows in the form in which the benchmark's authors publish judgments; `Task.score` reads
    them."""


class JudgeReply(str):
    """What a judge said: a text, with the log-probabilities of what its first token could be."""

    __slots__ = ("logprobs",)
    logprobs: Mapping[str, float]

    def __new__(cls, text: str, logprobs: Mapping[str, float] | None = None) -> "JudgeReply":
        """`logprobs`: natural logarithms by token."""
        reply = super().__new__(cls, text)
        reply.logprobs = logprobs or {}
        return reply


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a judge model (--judge-api) is asked about an answer; its reply is stored."""

    prompt: Prompt
    verdict: Callable[[JudgeReply], Verdict]
    """Turns the judge's reply into a verdict."""
    go_on: Callable[[JudgeReply], Prompt | None] | None = None
    """What the judge is asked once more after a reply that decides nothing; both replies are then
    one text."""
    max_tokens: int = 1024
    top_logprobs: int = 0
    """How many alternatives of the first token are wanted with their log-probabilities."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Several questions about one answer: both orders of two answers, two turns of a talk."""

    questions: tuple[Question, ...]
    verdict: Callable[[Sequence[Verdict]], Verdict]
    """What the questions' verdicts make together."""


Check = Program | Verdict | Question | Panel
"""What decides about an answer."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One answer in a talk of several turns."""

    text: str
    answer: str = ""
    """What `extract` made of the text."""
    passed: bool = False
    """The turn's verdict, where the task has every turn judged."""
    detail: str = ""
    output: str = ""
    """What the turn's program wrote to stderr, its end."""


Scores = Mapping[str, Mapping[str, float]]
"""By name: value, low, high, n; "scale" is 1 for marks and 100 for shares shown as percent."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How long an answer may be and where it ends; the defaults are DeepSeek-Coder's for base
    models."""

    max_tokens: int = 500
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    """The benchmark's own, unless --temperature gives another."""
    top_logprobs: int = 0
    """Alternatives of the first token whose log-probabilities are wanted."""


def last_answer(answers: Sequence[str]) -> str:
    """For talks of which the last answer is judged."""
    return answers[-1]


def no_canonical(problem: Problem) -> str | None:  # noqa: ARG001 - the shape of `canonical`
    """For benchmarks without solutions of their own."""
    return None


@dataclass(frozen=True, kw_only=True)
class Task:
    """A benchmark (see the module's docstring)."""

    name: str
    about: str
    """One line for the list of benchmarks."""
    load: Callable[[Path, BenchmarkConfig], list[Problem]]
    prompt: Callable[[Problem, BenchmarkConfig], Prompt]
    extract: Callable[[Problem, str, Style], str]
    check: Callable[[Problem, str, BenchmarkConfig], Check]
    extract_deepseek: Callable[[Problem, str], str] | None = None
    """The same for chat answers by DeepSeek-Coder's published rule, where it has one."""
    sampling: Callable[[Problem, Style], Sampling] = lambda _problem, style: Sampling(
        max_tokens=1024 if style == "instruct" else 500
    )
    canonical: Callable[[Problem], str | None] = no_canonical
    """The benchmark's own answer in the form that `extract` gives."""
    whole: Callable[[Problem, str], str] | None = None
    """From a bare continuation, as foreign files hold it, to the form that `extract` gives; None if
    it is the continuation itself, or of answers in words what `extract` finds in it."""
    in_words: bool = False
    """Whether answers are a letter, a number or a line, never a program: then every foreign answer
    is read as a continuation is, whatever its file calls it."""
    follow_up: Callable[[Problem, Sequence[Turn], BenchmarkConfig], Prompt | None] | None = None
    """What is asked after the turns so far; None ends the talk."""
    judges_turns: bool = False
    """Whether `follow_up` needs to know if the answer before was right: a second attempt."""
    join: Callable[[Sequence[str]], str] = last_answer
    """What of the answers of all turns is judged."""
    score: Callable[[Sequence[Mapping[str, Any]], BenchmarkConfig], Mapping[str, Scores]] | None = (
        None
    )
    """Scores by model from rows of judgments, where they are not the mean of marks or pass@k."""
    is_judged: bool = False
    """Whether every answer needs a judge model: without one nothing is asked."""
    mean_of_groups: bool = False
    """Whether the score is the mean over groups (subjects), not over problems."""
    read_answers: Callable[[Mapping[str, Any]], tuple[str, Sequence[str]] | None] | None = None
    """A row of the published file of answers: the problem's id, and the answer of each turn."""
    version: int = 1
    """Raised when `extract` changes its results, so that stored answers are cut again."""
    preload: tuple[str, ...] = ("hashlib",)
    """Python packages that most programs import: loaded once, before the first."""
    takes: tuple[str, ...] = ("subset", "language")
    """Which of these settings apply here; others are refused."""
    imports: Literal["common", "none"] = "none"
    """What the harness of the published scores puts before a Python answer (prelude.py)."""
    one_file: bool = False
    """Whether all data is one JSON Lines file, for which --data-file may name another."""
    libraries: tuple[str, ...] = ()
    """Installed packages whose versions the report names."""


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSON Lines file, plain or .gz; SourceError names the file that is missing."""
    found = next((p for p in (path, path.with_name(path.name + ".gz")) if p.is_file()), None)
    if found is None:
        raise SourceError(
            f"no benchmark file {path} (or .gz); put the data there or set --data-dir, "
            "see docs/evaluation.md"
        )
    for number, row in parse_lines(found):
        if not isinstance(row, dict):
            raise SourceError(f"{found}: line {number} is not an object")
        yield row


def extract_said(problem: Problem, text: str, style: Style) -> str:  # noqa: ARG001
    """What was said, without thoughts: how an answer in words is extracted."""
    return strip_thoughts(text).strip()


def ask(instruction: str, config: BenchmarkConfig, **values: str) -> Prompt:
    """A chat of one user turn: `instruction`, or the config's own, with {names} replaced by
    `values`."""
    text = config.instruction or instruction
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return Prompt(messages=({"role": "user", "content": text},))
