"""AlpacaEval 2: one token of a judge, weighted by its log-probabilities (arXiv:2404.04475).

Input: a problem, an answer. Output: a question to the judge; and from rows of annotations, as
published (instruction, output_1, output_2, generator_2, preference from 1 to 2), the win rate and
the length-controlled one. A table of published weights of the length model gives back the
published length-controlled win rates.

Not here: the length model itself (grading/length_control.py).
"""

import math
import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codling.core.errors import SourceError
from codling.core.foreign_json import read_object, read_rows
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.judging.mt_single import fill_names
from codling.evaluate.judging.tables import about, read_name, read_number, read_table
from codling.evaluate.task import JudgeReply, Problem, Prompt, Question, Scores, Verdict
from codling.grading.length_control import (
    Array,
    Gamed,
    fit_length_glm,
    length_features,
    win_rate_at_equal_length,
)
from codling.grading.pass_at_k import mean_score

BASELINE = "gpt4_1106_preview"
_MAX_WEIGHT = 1e6
_WEIGHTS = ("np.tanh(std_delta_len)", "instruction_difficulty", "not_gamed_baseline.astype(float)")


def compare(problem: Problem, answer: str, config: BenchmarkConfig) -> Question:
    """Which of two outputs is the best; their order is drawn, one draw per problem and seed."""
    outputs = [problem.data["baseline"], answer]
    swapped = random.Random(f"{config.seed} {problem.id}").random() < 0.5
    shown = outputs[::-1] if swapped else outputs
    values = {
        "instruction": problem.data["instruction"],
        "output_1": shown[0],
        "output_2": shown[1],
    }

    def verdict(said: JudgeReply) -> Verdict:
        share = share_of_second(said)
        preference = None if share is None else 1 + (1 - share if swapped else share)
        row = {
            "instruction": problem.data["instruction"],
            "output_1": outputs[0],
            "generator_1": BASELINE,
            "output_2": outputs[1],
            "generator_2": config.model_name,
            "annotator": config.judge_model,
            "preference": preference,
        }
        detail = "no verdict" if preference is None else f"preference {preference:.4f}"
        mark = 0.0 if preference is None else preference - 1
        return Verdict(mark=mark, detail=detail, judgments=(row,))

    messages = chat(problem.data["judge"], values)
    prompt = Prompt(messages=messages)
    return Question(prompt=prompt, verdict=verdict, max_tokens=1, top_logprobs=5)


def chat(template: str, values: Mapping[str, str]) -> tuple[dict[str, str], ...]:
    """The messages of a ChatML text, with {names} replaced."""
    blocks = re.findall(r"<\|im_start\|>(\w+)\n(.*?)\n?<\|im_end\|>", template, re.S)
    return tuple(
        {"role": role, "content": fill_names(text.strip(), values)} for role, text in blocks
    )


def share_of_second(said: JudgeReply) -> float | None:
    """How probable "M" is beside "m"; by the said token where there are no log-probabilities."""
    found = {name: said.logprobs[name] for name in ("m", "M") if name in said.logprobs}
    if not found:
        return {"m": 0.0, "M": 1.0}.get(said.strip())
    weights = {name: math.exp(value) for name, value in found.items()}
    return weights.get("M", 0.0) / sum(weights.values())


def score_alpaca(
    rows: Sequence[Mapping[str, Any]], folder: Path, seed: int
) -> Mapping[str, Scores]:
    """Win rate and length-controlled win rate by model; `folder` holds difficulties."""
    table = read_table(folder / "instruction_difficulty.csv")
    difficulty = np.array([float(row["instruction_difficulty"]) for row in table])
    if all(_WEIGHTS[1] in row for row in rows):
        return {_read_model(row): _from_weights(row, difficulty) for row in rows}
    by_model: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if "preference" not in row or "instruction" not in row:
            raise SourceError("AlpacaEval's annotations have instruction and preference")
        by_model[_read_generator(row)].append(row)
    places = {text: i for i, text in enumerate(instructions(folder))}
    gamed = read_gamed(folder)
    rated = ((n, _rates(each, places, difficulty, gamed, seed)) for n, each in by_model.items())
    found = {name: rates for name, rates in rated if rates}
    if not found:
        raise SourceError("no annotation has a preference")
    return dict(sorted(found.items(), key=lambda item: -next(iter(item[1].values()))["value"]))


def instructions(folder: Path) -> list[str]:
    """The 805 instructions in their order: that of the baseline's outputs."""
    path = folder / "results" / BASELINE / "model_outputs.json"
    return [str(row["instruction"]) for row in read_rows(path)]


def _read_model(row: Mapping[str, Any]) -> str:
    """The model of a row of weights, whose column mostly has no name."""
    return read_name(row, next((name for name in ("", "Unnamed: 0") if name in row), "model"))


def _read_generator(row: Mapping[str, Any]) -> str:
    """The model whose outputs are the second ones."""
    model = read_name(row, "generator_2") if "generator_2" in row else "model"
    if model == BASELINE and row.get("generator_1", BASELINE) != BASELINE:
        raise SourceError(
            f"an annotation of {about(row)} has {BASELINE} for generator_2: the model's outputs "
            "come second"
        )
    return model


def _read_weight(row: Mapping[str, Any], name: str) -> float:
    weight = read_number(row, name)
    if not abs(weight) < _MAX_WEIGHT:
        raise SourceError(f"the weights of {about(row)} have {weight:g} for {name}")
    return weight


def _from_weights(row: Mapping[str, Any], difficulty: Array) -> Scores:
    weights = np.array([_read_weight(row, name) for name in _WEIGHTS])
    value = round(win_rate_at_equal_length(weights, difficulty) / 100, 8)
    n = len(difficulty)
    return {"LC win rate": {"value": value, "low": value, "high": value, "n": n, "scale": 100}}


def _rates(
    rows: Sequence[Mapping[str, Any]],
    places: Mapping[str, int],
    difficulty: Array,
    gamed: Gamed,
    seed: int,
) -> Scores:
    """A model's scores; 0 as a preference is a draw, and a row without one does not count."""
    preferred = np.array([_preference(row) for row in rows])
    known = preferred[np.isfinite(preferred)]
    if not len(known):
        return {}
    unknown = [name for row in rows if (name := str(row["instruction"])) not in places]
    if unknown:
        raise SourceError(f"an annotation is about no instruction of the data: {unknown[0][:60]!r}")
    hard = difficulty[[places[row["instruction"]] for row in rows]]
    lengths = [np.array([_length(row, f"output_{i}") for row in rows]) for i in (1, 2)]
    x_NK = length_features(lengths[1], lengths[0], hard)
    value = win_rate_at_equal_length(fit_length_glm(x_NK, preferred, gamed), hard) / 100
    plain = mean_score(known.tolist(), scale=100, seed=seed)
    half = (plain["high"] - plain["low"]) / 2
    bounds = {"low": max(0.0, value - half), "high": min(1.0, value + half)}
    controlled = {"value": value} | bounds
    return {
        "LC win rate": {k: round(v, 8) for k, v in controlled.items()}
        | {"n": len(known), "scale": 100},
        "win rate": plain,
    }


def _preference(row: Mapping[str, Any]) -> float:
    value = read_number(row, "preference")
    # Sums of a judge's probabilities, as published ones are, miss their ends by a little.
    if value and (value < 0.9 or value > 2.1):
        raise SourceError(
            f"an annotation of {str(row['instruction'])[:60]!r} has the preference {value:g}; they "
            "are 1 to 2, or 0 for a draw"
        )
    return value - 1 if value else 0.5


def _length(row: Mapping[str, Any], name: str) -> float:
    if not isinstance(row.get(name), str):
        raise SourceError(
            f"an annotation of {str(row['instruction'])[:60]!r} has no text {name}, whose length "
            "is needed"
        )
    return float(len(row[name]))


def read_gamed(folder: Path) -> Gamed:
    """The gamed baselines' rows: with their preferences, or with the sums of these."""
    whole = folder / "df_gamed.csv"
    table = read_table(whole if whole.is_file() else folder / "df_gamed_features.csv")
    x_NK = np.array(
        [
            [math.tanh(float(row["std_delta_len"])), float(row["instruction_difficulty"]), 0.0]
            for row in table
        ]
    )
    if "preference" in table[0]:
        y_N = np.array([float(row["preference"]) for row in table])
        return Gamed(x_NK=x_NK, xy_K=x_NK.T @ y_N)
    sums = read_object(folder / "df_gamed_sufficient_statistics.json")
    xy = [sums["sum_y_tanh_std_delta_len"], sums["sum_y_instruction_difficulty"], 0.0]
    return Gamed(x_NK=x_NK, xy_K=np.array(xy), weight=float(sums["weight_per_row"]))
