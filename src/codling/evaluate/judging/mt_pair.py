"""MT-Bench in pairs: a model's answers against a baseline's, each turn in both orders.

Input: a problem, the answers of both turns. Output: questions to the judge; and from rows of
judgments, as FastChat publishes them, wins, losses and ties by model. A win counts only if both
orders agree, everything else is a tie; rows with an error are left out.

Not here: grades (mt_single.py).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from codling.core.errors import ConfigError, SourceError
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.judging.mt_single import MAX_TOKENS, fill, judge_name, reference_values
from codling.evaluate.judging.tables import about, read_name
from codling.evaluate.task import JudgeReply, Panel, Problem, Question, Scores, Verdict
from codling.grading.pass_at_k import mean_score

BASELINE = "gpt-3.5-turbo"
_WINNERS = {"model_1", "model_2", "tie", "error"}
_POINTS = {"win": 1.0, "tie": 0.5, "loss": 0.0}


def compare(problem: Problem, answers: Sequence[str], config: BenchmarkConfig) -> Panel:
    """Four questions to the judge: two turns, each in both orders."""
    others = problem.data["other"]
    if others is None:
        raise ConfigError(
            f"pairs need the baseline's answers: put mt-bench/model_answer/{BASELINE}.jsonl "
            "into --data-dir"
        )
    questions = [
        _question(problem, pair, turn)
        for turn in range(1, len(answers) + 1)
        for pair in ((answers, others), (others, answers))
    ]

    def verdict(verdicts: Sequence[Verdict]) -> Verdict:
        rows = [
            _row(problem, turn, verdicts[2 * turn - 2 : 2 * turn], config)
            for turn in range(1, len(answers) + 1)
        ]
        marks = [
            _POINTS[result(row, "model_1")] for row in rows if result(row, "model_1") != "error"
        ]
        detail = ", ".join(result(row, "model_1") for row in rows)
        mark = sum(marks) / len(marks) if marks else 0.0
        return Verdict(mark=mark, detail=detail, judgments=tuple(rows))

    return Panel(questions=tuple(questions), verdict=verdict)


def winner(said: str) -> str:
    """A, B, tie or error: [[A]] anywhere before [[B]] before [[C]], as published."""
    for mark, name in (("[[A]]", "A"), ("[[B]]", "B"), ("[[C]]", "tie")):
        if mark in said:
            return name
    return "error"


def result(row: Mapping[str, Any], player: str) -> str:
    """What a row of judgments means to "model_1" or "model_2": win, loss, tie, error."""
    first, second = (read_name(row, name) for name in ("g1_winner", "g2_winner"))
    if not {first, second} <= _WINNERS:
        raise SourceError(
            f"a judgment has {first[:40]!r} and {second[:40]!r} for winners; they are model_1, "
            "model_2, tie or error"
        )
    if "error" in (first, second):
        return "error"
    if first == "tie" or first != second:
        return "tie"
    return "win" if first == player else "loss"


def score_pairs(
    rows: Sequence[Mapping[str, Any]], seed: int, baseline: str = BASELINE
) -> Mapping[str, Scores]:
    """By model: win rate with ties as halves, wins, losses.

    Only rows with the baseline count, if any has it; else all pairs do.
    """
    players = [_read_players(row) for row in rows]
    against = [row for row, both in zip(rows, players, strict=True) if baseline in both] or rows
    found: dict[str, list[str]] = defaultdict(list)
    for row in against:
        for player in ("model_1", "model_2"):
            if result(row, player) != "error":
                found[row[player]].append(result(row, player))
    if any(baseline in both for both in players):
        found.pop(baseline, None)
    return {model: _shares(results, seed) for model, results in sorted(found.items())}


def _read_players(row: Mapping[str, Any]) -> set[str]:
    players = {read_name(row, name) for name in ("model_1", "model_2")}
    if len(players) == 1:
        raise SourceError(f"a judgment of {about(row)} pairs {players.pop()!r} with itself")
    return players


def _shares(results: Sequence[str], seed: int) -> Scores:
    def share(points: Mapping[str, float]) -> dict[str, float]:
        return mean_score([points.get(each, 0.0) for each in results], scale=100, seed=seed)

    return {
        "win rate (ties as halves)": share(_POINTS),
        "wins": share({"win": 1.0}),
        "losses": share({"loss": 1.0}),
    }


def _question(problem: Problem, pair: Sequence[Sequence[str]], turn: int) -> Question:
    data = problem.data
    values = {"question": data["turns"][0], "answer_a": pair[0][0], "answer_b": pair[1][0]}
    values |= reference_values(problem)
    for i, asked in enumerate(data["turns"], 1):
        values |= {f"question_{i}": asked}
        for letter, said in zip("ab", pair, strict=True):
            values |= {f"answer_{letter}_{i}": said[i - 1]}

    def verdict(said: JudgeReply) -> Verdict:
        return Verdict(passed=winner(said) == "A", detail=winner(said), judgments=({"said": said},))

    prompt = fill(data["judge_prompts"][judge_name(problem, "pair", turn)], values)
    return Question(prompt=prompt, verdict=verdict, max_tokens=MAX_TOKENS)


def _row(
    problem: Problem, turn: int, verdicts: Sequence[Verdict], config: BenchmarkConfig
) -> dict[str, Any]:
    first = {"A": "model_1", "B": "model_2"}
    second = {"A": "model_2", "B": "model_1"}
    return {
        "question_id": problem.data["question_id"],
        "model_1": config.model_name,
        "model_2": BASELINE,
        "g1_winner": first.get(verdicts[0].detail, verdicts[0].detail),
        "g2_winner": second.get(verdicts[1].detail, verdicts[1].detail),
        "judge": [config.judge_model, judge_name(problem, "pair", turn)],
        "g1_judgment": str(verdicts[0].judgments[0]["said"]),
        "g2_judgment": str(verdicts[1].judgments[0]["said"]),
        "turn": turn,
    }
