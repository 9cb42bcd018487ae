"""Arena-Hard v0.1: five-way comparisons with a baseline's answer, in two games (arXiv:2406.11939).

Input: a problem, an answer. Output: questions to the judge; and from rows of judgments, as
published (question_id, model, games[2].score), the expected win rate against the baseline with its
interval, and the same at equal style. A label with `>>` counts three times; a game without one
label is dropped.

Not here: ratings (grading/bradley_terry.py).
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from codling.core.errors import SourceError
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.judging.mt_single import fill
from codling.evaluate.judging.tables import read_name
from codling.evaluate.task import (
    JudgeReply,
    Panel,
    Problem,
    Prompt,
    Question,
    Scores,
    Verdict,
    read_lines,
)
from codling.grading.bradley_terry import (
    Games,
    bootstrap,
    expected_share,
    make_games,
    rate,
    style_features,
)

BASELINE = "gpt-4-0314"
ROUNDS = 100
SEED = 42
"""Of the published intervals."""
GO_ON = "continue your judgment and finish by outputting a final verdict label"
_LABEL = "[AB<>=]+"
_VERDICT = rf"\[\[({_LABEL})\]\]"
_FIRST = {"A>>B": (1.0, 3), "A>B": (1.0, 1), "A=B": (0.5, 1), "B>A": (0.0, 1), "B>>A": (0.0, 3)}
"""What the answer shown first gets, and how often the game counts."""


def compare(problem: Problem, answer: str, config: BenchmarkConfig) -> Panel:
    """Game 1 shows the baseline first, game 2 the model."""
    pairs = ((problem.data["baseline"], answer), (answer, problem.data["baseline"]))
    questions = tuple(_question(problem, *pair) for pair in pairs)

    def verdict(verdicts: Sequence[Verdict]) -> Verdict:
        row = {
            "question_id": problem.id,
            "model": config.model_name,
            "judge": config.judge_model,
            "games": [
                {"judgment": str(each.judgments[0]["said"]), "score": each.detail or None}
                for each in verdicts
            ],
            "style": [style_counts(problem.data["baseline"]), style_counts(answer)],
        }
        firsts = [(game, _FIRST[v.detail][0]) for game, v in enumerate(verdicts) if v.detail]
        won = [1 - first if game == 0 else first for game, first in firsts]
        detail = " and ".join(each.detail or "no verdict" for each in verdicts)
        mark = sum(won) / len(won) if won else 0.0
        return Verdict(mark=mark, detail=detail, judgments=(row,))

    return Panel(questions=questions, verdict=verdict)


def label(said: str, pattern: str = _VERDICT) -> str | None:
    """The one label in a judgment; None if there is none, or if there are different ones.

    >>> label("... [[A>>B]]"), label("[[A>B]] or [[B>A]]")
    ('A>>B', None)
    """
    found = {each.strip("\n") for each in re.findall(pattern, said) if each}
    return found.pop() if len(found) == 1 else None


def style_counts(text: str, n_tokens: int | None = None) -> list[int]:
    """Tokens, headers, list items and bold marks; code blocks hold none of the last three.

    Where the published number of tokens (tiktoken's) is not given, words and marks are counted.
    """
    prose = re.sub(r"```([^`]*)```", "", text)
    headers = len(re.findall(r"^#{1,6}\s", prose, re.M))
    items = len(re.findall(r"^\s*\d+\.\s", prose, re.M)) + len(
        re.findall(r"^\s*[-*+]\s", prose, re.M)
    )
    bold = len(re.findall(r"\*\*[^*\n]+\*\*", prose)) + len(re.findall(r"__[^_\n]+__", prose))
    tokens = len(re.findall(r"\w+|[^\w\s]", text)) if n_tokens is None else n_tokens
    return [tokens, headers, items, bold]


def read_styles(folder: Path) -> dict[tuple[str, str], list[int]]:
    """Counts of style by model and question, of the answers that lie in a folder."""
    counts = {}
    for path in sorted(folder.glob("*.jsonl*")):
        for row in read_lines(path):
            turn = row["choices"][0]["turns"][0]
            name = row.get("model_id") or row.get("model") or path.name.partition(".jsonl")[0]
            meta = row.get("conv_metadata")
            key = (str(name), str(row["question_id"]))
            known = meta and _of_metadata(meta)
            counts[key] = known or style_counts(turn["content"], turn.get("token_len"))
    return counts


def _of_metadata(meta: Mapping[str, Any]) -> list[int]:
    marks = (meta[name] for name in ("header_count", "list_count", "bold_count"))
    return [int(meta["token_len"]), *(sum(each.values()) for each in marks)]


def score_arena(
    rows: Sequence[Mapping[str, Any]], styles: Mapping[tuple[str, str], Sequence[int]]
) -> Mapping[str, Scores]:
    """Win rates by model; `styles` has the counts of answers by (model, question)."""
    pairs, counts, n_games = _games(rows, styles)
    if not pairs:
        raise SourceError("no game of these judgments has a verdict")
    plain = _rates(make_games(pairs), 0.0, n_games)
    styled: Mapping[str, dict[str, float]] = {}
    if all(each is not None for each in counts):
        sides = np.array([each for each in counts if each is not None], dtype=np.float64)
        features = style_features(sides[:, 0], sides[:, 1])
        styled = _rates(make_games(pairs, features), 1.0, n_games)
    models = sorted(plain, key=lambda name: -plain[name]["value"])
    return {
        model: {"win rate": plain[model]}
        | ({"win rate at equal style": styled[model]} if model in styled else {})
        for model in models
    }


def _question(problem: Problem, first: str, second: str) -> Question:
    data = problem.data
    values = {"question_1": data["question"], "answer_1": first, "answer_2": second}
    asked = fill(data["judge"], values)

    def verdict(said: JudgeReply) -> Verdict:
        found = label(said)
        return Verdict(
            passed=found is not None,
            detail=found if found in _FIRST else "",
            judgments=({"said": said},),
        )

    def go_on(said: JudgeReply) -> Prompt | None:
        if re.search(_VERDICT, said):
            return None
        more = ({"role": "assistant", "content": str(said)}, {"role": "user", "content": GO_ON})
        return Prompt(messages=(*(asked.messages or ()), *more))

    return Question(prompt=asked, verdict=verdict, go_on=go_on, max_tokens=4096)


Pair = tuple[str, str, float]


def _games(
    rows: Sequence[Mapping[str, Any]], styles: Mapping[tuple[str, str], Sequence[int]]
) -> tuple[list[Pair], list[Sequence[Sequence[int]] | None], Mapping[str, int]]:
    """Games in the order of the rows, both answers' counts, where they are known, and how many
    games each model has, those that count three times once."""
    pairs: list[Pair] = []
    n_games: Counter[str] = Counter()
    counts: list[Sequence[Sequence[int]] | None] = []
    for row in rows:
        if not isinstance(row.get("games"), list) or "model" not in row:
            raise SourceError("Arena-Hard's judgments have model and games; these have not")
        model, question = read_name(row, "model"), str(row.get("question_id"))
        known = (styles.get((name, question)) for name in (BASELINE, model))
        sides = [each for each in known if each is not None]
        style = _read_style(row) or (sides if len(sides) == 2 else None)
        for number, game in enumerate(row["games"][:2]):  # the authors read no third
            said = game.get("score") if isinstance(game, Mapping) else None
            if said is None or said == "":  # the judge gave no verdict
                continue
            if not isinstance(said, str) or not re.fullmatch(_LABEL, said):
                raise SourceError(
                    f"a game of {question[:60]!r} has the score {repr(said)[:60]}; they are "
                    f"{', '.join(_FIRST)}"
                )
            if said not in _FIRST:  # such as A<B: the authors count it as no verdict
                continue
            first, n = _FIRST[said]
            baseline_won = first if number == 0 else 1 - first
            n_games[model] += 1
            pairs += [(BASELINE, model, baseline_won)] * n
            counts += [style] * n
    return pairs, counts, n_games


def _read_style(row: Mapping[str, Any]) -> Sequence[Sequence[int]] | None:
    """The counts of both answers that a row brings along, four of each."""
    style = row.get("style")
    if not style:
        return None
    sides = style if isinstance(style, list) and len(style) == 2 else ()
    numbers = [n for side in sides if isinstance(side, list) and len(side) == 4 for n in side]
    if len(numbers) != 8 or not all(type(n) is int and 0 <= n < 1 << 31 for n in numbers):
        raise SourceError(
            f"the style of {str(row.get('question_id'))[:60]!r} is not four counts of each of two "
            "answers"
        )
    return [style[0], style[1]]


def _rates(games: Games, ridge: float, n_games: Mapping[str, int]) -> dict[str, dict[str, float]]:
    fit = partial(rate, baseline=BASELINE, ridge=ridge)
    ratings = fit(games)
    bounds = bootstrap(games, fit, ROUNDS, SEED)
    found = {}
    for name, rating in ratings.items():
        if name != BASELINE:
            low, high = (round(expected_share(bound), 6) for bound in bounds[name])
            value = round(expected_share(rating), 6)
            found[name] = {"value": value, "low": low, "high": high}
            found[name] |= {"n": n_games[name], "scale": 100}
    return found
