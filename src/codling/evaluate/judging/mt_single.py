"""MT-Bench's grades: each turn of a talk is graded alone from 1 to 10 (arXiv:2306.05685).

Input: a problem, the answers of both turns. Output: questions to the judge; and from rows of
judgments, as FastChat publishes them, mean grades by model. A judgment without a grade (-1) does
not enter, and the mean is over graded turns, not over talks.

Not here: pairs (mt_pair.py).
"""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from codling.core.errors import SourceError
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.judging.tables import about, read_grade, read_name, read_number
from codling.evaluate.task import JudgeReply, Panel, Problem, Prompt, Question, Scores, Verdict
from codling.grading.pass_at_k import mean_score

BY_REFERENCE = ("math", "reasoning", "coding")
"""Categories that are judged beside a reference answer."""
MAX_TOKENS = 2048


def grade(problem: Problem, answers: Sequence[str], config: BenchmarkConfig) -> Panel:
    """A question to the judge for each turn."""
    turns = range(1, len(answers) + 1)
    return Panel(
        questions=tuple(_question(problem, answers, turn, config) for turn in turns),
        verdict=_together,
    )


def read_rating(said: str) -> float:
    """The first [[grade]], else the first [grade], else -1.

    >>> read_rating("Good [3]. Rating: [[8.5]]"), read_rating("[7]"), read_rating("eight")
    (8.5, 7.0, -1.0)
    """
    number = r"(\d+\.?\d*)"
    found = re.search(rf"\[\[{number}\]\]", said) or re.search(rf"\[{number}\]", said)
    return float(found[1]) if found else -1.0


def score_single(rows: Sequence[Mapping[str, Any]], seed: int) -> Mapping[str, Scores]:
    """Mean grades by model: of all turns, of the first, of the second."""
    marks: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if "score" not in row or "model" not in row:
            raise SourceError("MT-Bench's judgments have model, score and turn; these have not")
        grade = read_grade(row, "score")
        if math.isfinite(grade) and grade != -1:
            for name in ("score", f"turn {_read_turn(row)}"):
                marks[read_name(row, "model")][name].append(grade)
    return {
        model: {name: mean_score(values, seed=seed) for name, values in sorted(each.items())}
        for model, each in sorted(marks.items())
    }


def fill(judge: Mapping[str, str], values: Mapping[str, str]) -> Prompt:
    """The judge's prompt with its {names} replaced."""
    text = fill_names(judge["prompt_template"], values)
    system = {"role": "system", "content": judge["system_prompt"]}
    return Prompt(messages=(system, {"role": "user", "content": text}))


def fill_names(template: str, values: Mapping[str, str]) -> str:
    """A template with each {name} of `values` replaced; what is put in is not looked at again."""
    pattern = re.compile("{(" + "|".join(values) + ")}")
    return pattern.sub(lambda found: values[found[1]], template)


def reference_values(problem: Problem) -> dict[str, str]:
    """The reference answers by their names in the judge's prompt."""
    return {f"ref_answer_{i}": text for i, text in enumerate(problem.data["references"] or (), 1)}


def judge_name(problem: Problem, kind: str, turn: int) -> str:
    """The name of the judge's prompt: single or pair, with a reference or without, for a turn."""
    version = "v2" if kind == "pair" else "v1"
    name = f"{kind}-math-v1" if problem.group in BY_REFERENCE else f"{kind}-{version}"
    return name + ("-multi-turn" if turn == 2 else "")


def _question(
    problem: Problem, answers: Sequence[str], turn: int, config: BenchmarkConfig
) -> Question:
    data, name = problem.data, judge_name(problem, "single", turn)
    values = {"question": data["turns"][0], "answer": answers[0]} | reference_values(problem)
    for i, (asked, said) in enumerate(zip(data["turns"], answers, strict=False), 1):
        values |= {f"question_{i}": asked, f"answer_{i}": said}

    def verdict(said: JudgeReply) -> Verdict:
        row = {
            "question_id": data["question_id"],
            "model": config.model_name,
            "judge": [config.judge_model, name],
            "judgment": str(said),
            "score": read_rating(said),
            "turn": turn,
        }
        return Verdict(mark=read_rating(said), detail=f"{read_rating(said):g}", judgments=(row,))

    prompt = fill(data["judge_prompts"][name], values)
    return Question(prompt=prompt, verdict=verdict, max_tokens=MAX_TOKENS)


def _read_turn(row: Mapping[str, Any]) -> int:
    """1 or 2, 1 where a row does not say; SourceError for anything else."""
    turn = read_number(row, "turn") if "turn" in row else 1.0
    if turn not in (1.0, 2.0):
        raise SourceError(
            f"a judgment of {about(row)} has the turn {repr(row['turn'])[:60]}; they are 1 and 2"
        )
    return int(turn)


def _together(verdicts: Sequence[Verdict]) -> Verdict:
    marks = [each.mark for each in verdicts if each.mark is not None and each.mark != -1]
    return Verdict(
        mark=sum(marks) / len(marks) if marks else -1.0,
        detail="turns: " + ", ".join(each.detail for each in verdicts),
        judgments=tuple(row for each in verdicts for row in each.judgments),
    )
