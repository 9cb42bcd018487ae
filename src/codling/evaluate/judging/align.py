"""AlignBench: Chinese answers graded by the rules of their category (arXiv:2311.18743).

Input: a problem, an answer. Output: a question to the judge; and from rows of judgments, as
published (question_id, model_id, score), means by category, of reasoning and of language. The
total is the mean of these two. An answer without a grade has -1, which enters, as published.

Not here: the judge's prompt (alignbench_judge.txt).
"""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from codling.core.errors import SourceError
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.judging.mt_single import fill_names
from codling.evaluate.judging.tables import about, read_grade, read_name
from codling.evaluate.task import JudgeReply, Problem, Prompt, Question, Scores, Verdict
from codling.grading.pass_at_k import mean_score

REASONING = ("数学计算", "逻辑推理")
OVERALL = "综合得分"


def grade(problem: Problem, answer: str, config: BenchmarkConfig) -> Question:
    """The question to the judge."""

    def verdict(said: JudgeReply) -> Verdict:
        rating, mark = grades(said)
        row = {
            "question_id": problem.data["question_id"],
            "category": problem.group,
            "model_id": config.model_name,
            "judgment": str(said),
            "rating": rating,
            "score": mark,
        }
        return Verdict(mark=mark, detail=f"{mark:g}", judgments=(row,))

    content = judge_text(problem, answer)
    prompt = Prompt(messages=({"role": "user", "content": content},))
    return Question(prompt=prompt, verdict=verdict, max_tokens=2048)


def judge_text(problem: Problem, answer: str) -> str:
    """What the judge reads: dimensions of the type of question, steps, bands, the three texts."""
    data = problem.data
    names = enumerate(data["dimensions"].items(), 1)
    values = {
        "type": data["type"],
        "dimensions": "\n".join(f"{i}. {name}: {text}" for i, (name, text) in names),
        "question": data["question"],
        "reference": data["reference"],
        "answer": answer,
    }
    template = files("codling.evaluate").joinpath("judging/alignbench_judge.txt")
    return fill_names(template.read_text(encoding="utf-8"), values)


def grades(said: str) -> tuple[dict[str, int], float]:
    """The last {...} as grades by dimension, and the overall grade, -1 if there is none.

    >>> grades("好。{'清晰度': 7, '综合得分': 6}")
    ({'清晰度': 7, '综合得分': 6}, 6.0)
    """
    found = re.search(r"{(.*?)}(?![^{]*{)", said)
    pairs = re.findall(r"'(.*?)': (\d+)", found[1]) if found else []
    rating = {name: int(value) for name, value in pairs}
    if OVERALL in rating:
        return rating, float(rating[OVERALL])
    alone = re.search(rf"'{OVERALL}': (\d+(?:\.\d{{1,2}})?)", said)
    return rating, float(alone[1]) if alone else -1.0


def score_align(
    rows: Sequence[Mapping[str, Any]], categories: Mapping[str, str], seed: int
) -> Mapping[str, Scores]:
    """Total, reasoning, language and every category by model; `categories` by question's id."""
    marks: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if "score" not in row or not {"question_id", "category"} & row.keys():
            raise SourceError("AlignBench's judgments have question_id and score; these have not")
        category = categories.get(str(row.get("question_id"))) or row.get("category")
        if category not in categories.values():
            raise SourceError(
                f"a judgment of {about(row)} has the category {repr(category)[:60]}, which "
                "AlignBench does not have"
            )
        model = read_name(row, "model_id") if "model_id" in row else "model"
        grade = read_grade(row, "score")
        if math.isfinite(grade):
            marks[model][str(category)].append(grade)
    found = {model: _means(each, seed) for model, each in marks.items()}
    return dict(sorted(found.items(), key=lambda item: -item[1]["total"]["value"]))


def _means(marks: Mapping[str, Sequence[float]], seed: int) -> Scores:
    drawn = {name: _resample(values, seed) for name, values in sorted(marks.items())}
    reasoning = [drawn[name] for name in drawn if name in REASONING]
    language = [drawn[name] for name in drawn if name not in REASONING]
    parts = {
        name: np.mean(each, axis=0)
        for name, each in (("reasoning", reasoning), ("language", language))
        if each
    }
    n = sum(map(len, marks.values()))
    total = {"total": np.mean(list(parts.values()), axis=0)} | parts
    whole = {name: _interval(values, n) for name, values in total.items()}
    return whole | {name: mean_score(values, seed=seed) for name, values in sorted(marks.items())}


def _resample(values: Sequence[float], seed: int) -> Any:  # noqa: ANN401 - an array
    """The mean, then 2000 means of drawn values."""
    array = np.array(values)
    drawn = np.random.default_rng(seed).integers(len(array), size=(2000, len(array)))
    return np.concatenate([[array.mean()], array[drawn].mean(axis=1)])


def _interval(values: Any, n: int) -> dict[str, float]:  # noqa: ANN401 - an array
    low, high = np.quantile(values[1:], [0.025, 0.975])
    found = {"value": float(values[0]), "low": float(low), "high": float(high)}
    return {name: round(value, 6) for name, value in found.items()} | {"n": n, "scale": 1}
