"""Multiple choice, asked in three ways: the likeliest letter, the likeliest text, or in words.

Input: questions with options, solved examples, a benchmark's wording. Output: prompts, and the
letter that an answer means. `--choices letters` ranks the letters after the options are shown;
`--choices texts` ranks the options' own texts, which are not shown; `--choices words` has the model
answer and reads the letter from what it says. How sums of log-probabilities are compared is
`--ranking`: as they are ("sum"), per character ("length"), or less what the option has without the
question ("alone").

Not here: log-probabilities (backends.py), and the benchmarks (tasks/).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codling.core.errors import SourceError
from codling.evaluate.config import BenchmarkConfig, Choices, Ranking, Style
from codling.evaluate.task import Problem, Prompt, Sampling, Verdict
from codling.grading.fences import strip_thoughts

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_STATED = re.compile(
    r"(?:answer(?:\s+is)?|答案(?:是|为|选)?|选择?)\s*[:\uff1a]?\s*[*_$\\({\[\uff08]*"
    r"(?:boxed\{)?([A-Z])(?![A-Za-z])"
)
_ALONE = re.compile(r"(?<![A-Za-z'])([A-Z])(?![A-Za-z'])")

_ENDS = ".!\u3002\uff01"
"""What may stand behind an answer of one word."""


@dataclass(frozen=True, kw_only=True)
class MultiChoice:
    """A question with its options; `right` is the place of the right one, from 0."""

    question: str
    options: tuple[str, ...]
    right: int
    labels: tuple[tuple[str, ...], ...] = ()
    """What else the options are called, as in data that number them, in lower case."""


@dataclass(frozen=True, kw_only=True)
class Wording:
    """How a benchmark words its questions."""

    head: str = ""
    """What stands once before the examples."""
    option: str = "\n{letter}. {text}"
    cue: str = "\nAnswer:"
    lead: str = " "
    """What stands between the cue and an answer."""
    text_question: str = "Question: {question}\nAnswer:"
    """The question where its options are not shown."""
    request: str = "Reply with the letter of the right answer only."
    """What a chat is asked besides."""


def make_problem(
    name: str,
    choice: MultiChoice,
    examples: Sequence[MultiChoice],
    wording: Wording,
    group: str = "",
) -> Problem:
    """A problem that `ask_choice` asks and `check_choice` judges."""
    data = {
        "question": choice.question,
        "options": choice.options,
        "answer": LETTERS[choice.right],
        "wording": vars(wording),
        "examples": [vars(each) for each in examples],
        "labels": {name: LETTERS[i] for i, each in enumerate(choice.labels) for name in each},
    }
    return Problem(id=name, data=data, group=group)


def make_problems(
    subject: str, choices: Sequence[MultiChoice], examples: Sequence[MultiChoice], wording: Wording
) -> list[Problem]:
    """The problems of a subject, a group of its own; ids are SUBJECT/number."""
    return [
        make_problem(f"{subject}/{i}", choice, examples, wording, subject)
        for i, choice in enumerate(choices)
    ]


def sample_choice(problem: Problem, style: Style) -> Sampling:  # noqa: ARG001
    """A line for base models; a chat may reason a little."""
    return Sampling(max_tokens=16, stop=("\n",)) if style == "base" else Sampling(max_tokens=512)


def way_of(config: BenchmarkConfig, base: Choices) -> Choices:
    """How choices are asked: as the user says, else as the benchmark has it, chats in words."""
    if config.choices != "task":
        return config.choices
    return "words" if config.style == "instruct" else base


def ask_choice(
    problem: Problem,
    config: BenchmarkConfig,
    base: Choices = "letters",
    ranking: Ranking = "sum",
) -> Prompt:
    """The prompt; `base` and `ranking` are the benchmark's own for base models."""
    way = way_of(config, base)
    wording = Wording(**problem.data["wording"])
    examples = [MultiChoice(**each) for each in problem.data["examples"]]
    if config.shots is not None:
        examples = examples[: config.shots]
    show = _text_block if way == "texts" else _lettered_block
    solved = "".join(
        f"{show(each, wording)}{_solution(each, way, wording)}\n\n" for each in examples
    )
    this = MultiChoice(question=problem.data["question"], options=problem.data["options"], right=0)
    text = wording.head + solved + show(this, wording)
    if way == "words":
        if config.style == "base":
            return Prompt(text=text)
        asked = config.instruction or "{prompt}\n" + wording.request
        return Prompt(messages=({"role": "user", "content": asked.replace("{prompt}", text)},))
    answers = this.options if way == "texts" else LETTERS[: len(this.options)]
    return Prompt(
        text=text,
        options=tuple(wording.lead + answer for answer in answers),
        ranking=config.ranking if config.ranking != "task" else ranking,
        alone=wording.cue.strip("\n"),
    )


def extract_letter(problem: Problem, text: str, style: Style) -> str:
    """The letter that an answer means: a letter, an option's text, or a letter in a sentence."""
    options = list(problem.data["options"])
    said = text.strip()
    allowed = LETTERS[: len(options)]
    if said in options and said not in tuple(allowed):
        return allowed[options.index(said)]
    labels: Mapping[str, str] = problem.data.get("labels", {})
    if (label := said.rstrip(_ENDS).lower()) in labels:
        return labels[label]
    if len(label) == 1 and label.upper() in allowed:
        return label.upper()
    said = strip_thoughts(said) if style == "instruct" else said.partition("\n\n")[0]
    for letters in (_STATED.findall(said)[::-1], _ALONE.findall(said)):
        found = next((letter for letter in letters if letter in allowed), None)
        if found is not None:
            return str(found)
    return ""


def check_choice(problem: Problem, answer: str, config: BenchmarkConfig) -> Verdict:  # noqa: ARG001
    """Whether it is the right letter."""
    return Verdict(passed=answer == problem.data["answer"], detail=f"said {answer or 'nothing'}")


def canonical_choice(problem: Problem) -> str:
    """The right letter."""
    return str(problem.data["answer"])


def place_of(letter: str, where: str) -> int:
    """The place of a letter or of a number from 0; SourceError if it is neither."""
    text = letter.strip()
    if text.isdigit():
        return int(text)
    if len(text) != 1 or text not in LETTERS:
        raise SourceError(f"{where} has the answer {letter!r}, which is no letter")
    return LETTERS.index(text)


def _lettered_block(choice: MultiChoice, wording: Wording) -> str:
    shown = (
        wording.option.format(letter=letter, text=text)
        for letter, text in zip(LETTERS, choice.options, strict=False)
    )
    return choice.question + "".join(shown) + wording.cue


def _text_block(choice: MultiChoice, wording: Wording) -> str:
    return wording.text_question.replace("{question}", choice.question)


def _solution(choice: MultiChoice, way: Choices, wording: Wording) -> str:
    said: Any = choice.options[choice.right] if way == "texts" else LETTERS[choice.right]
    return f"{wording.lead}{said}"
