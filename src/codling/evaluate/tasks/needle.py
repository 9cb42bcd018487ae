"""Needle in a haystack: one sentence hidden in a long text, at every length and depth, is asked
for.

Data: none; the haystack is code of Python's standard library. `--subset 4096` sets the longest
context in characters times 4 (about tokens); lengths double from 1024 up to it, depths go from 0
to 100 percent. Groups are "length@depth", which the report's table shows as a map.
"""

import random
import re
import sysconfig
from pathlib import Path

from codling.core.errors import ConfigError
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.task import Problem, Prompt, Sampling, Task, Verdict

_CHARS_PER_TOKEN = 3
_DEPTHS = (0, 25, 50, 75, 100)
_CITIES = ("Trier", "Aveiro", "Turku", "Gent", "Graz", "Brno", "Lund", "Sligo", "Porto", "Ghent")
QUESTION = "# The secret number of {city} is"
NEEDLE = "# Remember: the secret number of {city} is {number}.\n"


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:  # noqa: ARG001
    """One problem per length and depth."""
    longest = config.subset or "4096"
    if not longest.isdigit() or int(longest) < 1024:
        raise ConfigError("needle wants --subset TOKENS, at least 1024")
    lengths = [1024]
    while lengths[-1] * 2 <= int(longest):
        lengths.append(lengths[-1] * 2)
    hay = _hay(lengths[-1] * _CHARS_PER_TOKEN)
    draw = random.Random(config.seed)
    return [_problem(hay, n, depth, draw) for n in lengths for depth in _DEPTHS]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """The text, then the question."""
    text = problem.data["text"] + "\n" + problem.data["question"]
    if config.style == "base":
        return Prompt(text=text)
    return Prompt(messages=({"role": "user", "content": f"{text} ... which number?"},))


def extract(problem: Problem, text: str, style: Style) -> str:  # noqa: ARG001
    """The first line."""
    return text.strip().partition("\n")[0]


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Verdict:  # noqa: ARG001
    """Whether it is the first number in it."""
    said = re.search(r"\d+", re.sub(r"(?<=\d),(?=\d{3})", "", answer))
    passed = said is not None and said[0] == problem.data["number"]
    return Verdict(passed=passed, detail="another number")


def _problem(hay: str, n_tokens: int, depth: int, draw: random.Random) -> Problem:
    city, number = draw.choice(_CITIES), str(draw.randrange(10_000, 100_000))
    text = hay[: n_tokens * _CHARS_PER_TOKEN - 200]
    at = text.rfind("\n", 0, len(text) * depth // 100 + 1) + 1
    text = text[:at] + NEEDLE.format(city=city, number=number) + text[at:]
    data = {"text": text, "question": QUESTION.format(city=city), "number": number}
    return Problem(
        id=f"{n_tokens}/{depth}", data=data, group=f"{n_tokens:>7} tokens at {depth:>3}%"
    )


def _hay(n_chars: int) -> str:
    folder = Path(sysconfig.get_paths()["stdlib"])
    parts: list[str] = []
    for path in sorted(folder.glob("*.py")):
        parts.append(path.read_text(encoding="utf-8", errors="ignore"))
        if sum(map(len, parts)) > n_chars:
            break
    return "".join(parts)[:n_chars]


TASK = Task(
    name="needle",
    about="a sentence hidden in long texts, by length and depth (--subset 16384: longest)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    in_words=True,
    sampling=lambda _problem, style: Sampling(
        max_tokens=16 if style == "base" else 64, stop=("\n",) if style == "base" else ()
    ),
    canonical=lambda problem: str(problem.data["number"]),
    takes=("subset",),
)
