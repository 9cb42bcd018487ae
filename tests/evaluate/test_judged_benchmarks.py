"""Benchmarks that a judge decides: what it is asked, and what its judgments come to, as the
benchmarks' authors have it."""

import json
import math
import shutil
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest

from codling.core.errors import ConfigError, SourceError
from codling.evaluate import benchmark, judge
from codling.evaluate.backends import Answer, ApiBackend
from codling.evaluate.benchmark import evaluate
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.judging.align import grades, score_align
from codling.evaluate.judging.alpaca import (
    instructions,
    read_gamed,
    score_alpaca,
    share_of_second,
)
from codling.evaluate.judging.arena import label, score_arena, style_counts
from codling.evaluate.judging.mt_pair import score_pairs
from codling.evaluate.judging.mt_single import read_rating, score_single
from codling.evaluate.judging.tables import read_table
from codling.evaluate.task import JudgeReply, Prompt, Sampling
from codling.grading.bradley_terry import make_games, rate
from codling.grading.length_control import (
    PENALTIES,
    Gamed,
    fit_at_penalty,
    fit_length_glm,
    length_features,
    win_rate_at_equal_length,
)


class Says:
    """A model that answers with the number of the turn, and notes what it was asked."""

    identity = "says"

    def __init__(self, text: str = "turn") -> None:
        self.text = text
        self.asked: list[tuple[Prompt, Sampling, int | None]] = []

    def check(self, prompt: Prompt, sampling: Sampling) -> None:
        pass

    def answer(self, prompt: Prompt, sampling: Sampling, seed: int | None) -> Answer:
        self.asked.append((prompt, sampling, seed))
        return Answer(text=f"{self.text} {len(prompt.messages or ()) // 2 + 1}", finish="stop")

    def close(self) -> None:
        """Nothing to close."""


def judged(monkeypatch, reply, model=None) -> list[dict[str, Any]]:
    """A judge that replies with `reply(request)`; gives the list of what it was asked."""
    asked: list[dict[str, Any]] = []

    def serve(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        asked.append(body)
        said = reply(body)
        choice = said if isinstance(said, dict) else {"message": {"content": said}}
        return httpx.Response(200, json={"choices": [choice]})

    backend = model or Says()
    monkeypatch.setattr(benchmark, "open_backend", lambda _: backend)
    monkeypatch.setattr(
        judge,
        "open_judge",
        lambda c: ApiBackend(replace(c, api="http://j"), transport=httpx.MockTransport(serve)),
    )
    return asked


@pytest.fixture
def config(shared_data, tmp_path) -> BenchmarkConfig:
    return BenchmarkConfig(
        benchmark="mt-bench",
        data_dir=shared_data / "benchmarks",
        out_dir=tmp_path / "out",
        api="http://nowhere",
        api_model="ours",
        judge_api="http://nowhere",
        judge_model="gpt-4",
        concurrency=1,
    )


def scores_of(config: BenchmarkConfig) -> Any:
    return json.loads((evaluate(config).path / "report.json").read_text())["scores"]


def test_mt_bench_asks_a_second_turn_and_grades_both_alone(config, monkeypatch):
    model = Says()
    grade = "[[9]]"
    asked = judged(monkeypatch, lambda body: grade if len(str(body)) % 2 else "[[4.5]]", model)
    scores = scores_of(replace(config, limit=80))
    assert (len(model.asked), len(asked)) == (160, 160)
    assert scores["score"]["n"] == 160
    second = next(p for p, _, _ in model.asked if len(p.messages or ()) == 3)
    assert (second.messages or ())[1] == {"role": "assistant", "content": "turn 1"}
    temperatures = {sampling.temperature for _, sampling, _ in model.asked}
    assert temperatures == {0.0, 0.1, 0.7}
    with_reference = [b for b in asked if "Reference" in b["messages"][1]["content"]]
    assert len(with_reference) == 60
    assert all(b["max_tokens"] == 2048 and b["temperature"] == 0 for b in asked)


def test_a_judged_run_is_resumed_without_asking_and_keeps_its_judgments(config, monkeypatch):
    asked = judged(monkeypatch, lambda _: "[[7]]")
    small = replace(config, limit=2)
    first = evaluate(small)
    kept = [json.loads(x) for x in (first.path / "judgments.jsonl").read_text().splitlines()]
    assert [(row["question_id"], row["turn"], row["score"]) for row in kept] == [
        (81, 1, 7.0),
        (81, 2, 7.0),
        (82, 1, 7.0),
        (82, 2, 7.0),
    ]
    report = (first.path / "report.json").read_bytes()
    kept_file = small.out_dir / "judgments.jsonl"
    again = replace(small, out_dir=small.out_dir.with_name("again"), judgments=None)
    shutil.rmtree(first.path)
    assert (evaluate(small).path / "report.json").read_bytes() == report
    assert len(asked) == 4
    own = replace(again, api=None, limit=0, judgments=kept_file)
    assert scores_of(own)["score"]["value"] == 7.0


def test_mt_bench_is_the_mean_over_graded_rows_not_over_talks():
    rows = [
        {"model": "m", "score": 8, "turn": 1},
        {"model": "m", "score": -1, "turn": 2},
        {"model": "m", "score": 5, "turn": 1},
        {"model": "m", "score": 9.5, "turn": 2},
    ]
    found = score_single(rows, 0)["m"]
    assert found["score"]["value"] == 7.5
    assert (found["turn 1"]["value"], found["turn 2"]["value"]) == (6.5, 9.5)
    assert [read_rating(x) for x in ("[2] then [[8.5]]", "[7]", "Rating: 7", "[[x]]")] == [
        8.5,
        7,
        -1,
        -1,
    ]


def test_a_pair_is_won_only_if_both_orders_agree():
    def row(first: str, second: str, other: str = "gpt-3.5-turbo") -> dict[str, Any]:
        return {"model_1": "m", "model_2": other, "g1_winner": first, "g2_winner": second}

    rows = [
        row("model_1", "model_1"),
        row("model_1", "model_2"),
        row("tie", "model_1"),
        row("model_2", "model_2"),
        row("error", "model_1"),
        row("model_1", "model_1", "somebody"),
    ]
    found = score_pairs(rows, 0)
    assert list(found) == ["m"]
    assert found["m"]["wins"]["value"] == 0.25
    assert found["m"]["win rate (ties as halves)"]["value"] == 0.5
    assert found["m"]["wins"]["n"] == 4


def test_foreign_talks_are_compared_in_pairs(config, monkeypatch, tmp_path):
    shutil.copytree(config.data_dir / "mt-bench", tmp_path / "data" / "mt-bench")
    folder = tmp_path / "data" / "mt-bench" / "model_answer"
    folder.mkdir()
    row = {"question_id": 81, "choices": [{"turns": ["good", "better"]}]}
    (folder / "gpt-3.5-turbo.jsonl").write_text(json.dumps(row) + "\n")
    theirs = {"question_id": 81, "choices": [{"turns": ["one", "two"]}]}
    (tmp_path / "mine.jsonl").write_text(json.dumps(theirs) + "\n")
    asked = judged(monkeypatch, lambda body: "[[A]]" if "one" in str(body) else "[[C]]")
    pair = replace(
        config, data_dir=tmp_path / "data", subset="pair", api=None, api_model="",
        samples=tmp_path / "mine.jsonl",
    )  # fmt: skip
    artifact = evaluate(pair)
    rows = [json.loads(x) for x in (artifact.path / "judgments.jsonl").read_text().splitlines()]
    assert [(r["g1_winner"], r["g2_winner"], r["turn"]) for r in rows] == [
        ("model_1", "model_2", 1),
        ("model_1", "model_2", 2),
    ]
    assert rows[0]["model_1"] == "mine"
    assert len(asked) == 4
    assert json.loads((artifact.path / "report.json").read_text())["scores"]["wins"]["value"] == 0


def arena_row(model: str, first: str | None, second: str | None) -> dict[str, Any]:
    return {"question_id": "q", "model": model, "games": [{"score": first}, {"score": second}]}


def test_arena_hard_is_the_weighted_share_of_wins():
    # Game 1 shows the baseline first. b: 3 wins, 1 win; c: a tie, a dropped game; d: a loss, a tie.
    rows = [
        arena_row("b", "B>>A", "A>B"),
        arena_row("b", "A>B", "B>A"),
        arena_row("c", "A=B", None),
        arena_row("d", "A>>B", "A=B"),
    ]
    found = score_arena(rows, {})
    shares = {model: round(scores["win rate"]["value"], 4) for model, scores in found.items()}
    assert shares == {"b": round(4 / 6, 4), "c": 0.5, "d": round(0.5 / 4, 4)}
    assert [found[m]["win rate"]["n"] for m in "bcd"] == [4, 1, 2]  # games
    assert all("win rate at equal style" not in scores for scores in found.values())


def test_two_labels_are_no_verdict_and_repeated_ones_are():
    assert label("[[A>B]] so [[A>B]]") == "A>B"
    assert label("[[A>B]] or [[A>>B]]") is None
    assert label("none") is None


def test_arena_hards_judge_is_asked_once_to_go_on(config, monkeypatch):
    def reply(body: dict[str, Any]) -> str:
        if len(body["messages"]) > 2:
            return "[[B>A]]"
        return (
            "I think"
            if "turn 1\n<|The End of Assistant A" in str(body["messages"][1]["content"])
            else "[[B>>A]]"
        )

    asked = judged(monkeypatch, reply)
    hard = replace(config, benchmark="arena-hard", limit=1)
    artifact = evaluate(hard)
    (row,) = [json.loads(x) for x in (artifact.path / "judgments.jsonl").read_text().splitlines()]
    assert [game["score"] for game in row["games"]] == ["B>>A", "B>A"]
    assert row["games"][1]["judgment"] == "I think\n[[B>A]]"
    assert len(asked) == 3
    assert asked[0]["max_tokens"] == 4096
    report = json.loads((artifact.path / "report.json").read_text())
    assert report["scores"]["win rate"]["value"] == 0.75  # three wins of game 1, a loss in game 2
    assert "win rate at equal style" in report["scores"]


def test_headers_lists_and_bold_are_counted_outside_of_code():
    text = "# A\n**b** and __c__\n- x\n1. y\n```\n# no\n- no\n**no**\n```\n## B"
    assert style_counts(text, 17) == [17, 2, 2, 2]


def test_equal_style_brings_the_long_and_the_short_one_together():
    # Whoever writes more than the baseline wins four of five games; "long" does so more often.
    rows, styles = [], {}
    for i in range(80):
        model, often_long = ("long", i % 4 != 0) if i < 40 else ("short", i % 4 == 0)
        wins = often_long == (i % 5 != 0)
        games = [{"score": "B>A" if wins else "A>B"}, {"score": "A>B" if wins else "B>A"}]
        rows.append({"question_id": str(i), "model": model, "games": games})
        styles[model, str(i)] = [400 if often_long else 100, 0, 0, 0]
        styles["gpt-4-0314", str(i)] = [200, 0, 0, 0]
    found = score_arena(rows, styles)
    apart = [
        abs(found["long"][name]["value"] - found["short"][name]["value"])
        for name in ("win rate", "win rate at equal style")
    ]
    assert apart[0] > 0.25
    assert apart[1] < apart[0] / 2


def test_ratings_are_those_of_the_published_fit():
    # Of the three games between a and b, a won two: a lead of 400 log10(2).
    games = make_games([("a", "b", 1.0), ("a", "b", 1.0), ("a", "b", 0.0)])
    assert rate(games, "b")["a"] == pytest.approx(1000 + 400 * math.log10(2), abs=1e-6)
    assert rate(games, "b", ridge=1.0)["a"] < rate(games, "b")["a"]


def test_alpacaeval_weighs_by_the_log_probabilities_of_two_tokens():
    assert share_of_second(
        JudgeReply("m", {"m": math.log(0.6), "M": math.log(0.2)})
    ) == pytest.approx(0.25)
    assert share_of_second(JudgeReply("M", {"M": -0.1})) == 1.0
    assert share_of_second(JudgeReply("M")) == 1.0
    assert share_of_second(JudgeReply("neither", {"x": -1.0})) is None


def test_alpacaeval_asks_for_one_token_and_turns_swapped_orders_round(config, monkeypatch):
    def reply(body: dict[str, Any]) -> dict[str, Any]:
        text = str(body["messages"][1]["content"])
        ours = "m" if text.index("turn 1") < text.index('"model_identifier": "M"') else "M"
        other = "M" if ours == "m" else "m"
        top = [
            {"token": ours, "logprob": math.log(0.9)},
            {"token": other, "logprob": math.log(0.1)},
        ]
        return {"message": {"content": ours}, "logprobs": {"content": [{"top_logprobs": top}]}}

    asked = judged(monkeypatch, reply)
    artifact = evaluate(replace(config, benchmark="alpaca-eval", limit=40))
    rows = [json.loads(x) for x in (artifact.path / "judgments.jsonl").read_text().splitlines()]
    assert {round(row["preference"], 6) for row in rows} == {1.9}
    assert {(b["max_tokens"], b["top_logprobs"], b["logprobs"]) for b in asked} == {(1, 5, True)}
    first = sum("turn 1" in str(b["messages"][1]["content"]).split('"M"')[0] for b in asked)
    assert 5 < first < 35
    assert {m["role"] for m in asked[0]["messages"]} == {"system", "user"}
    report = json.loads((artifact.path / "report.json").read_text())
    assert report["scores"]["win rate"]["value"] == pytest.approx(0.9)


def test_published_weights_give_the_published_leaderboard(shared_data):
    folder = shared_data / "benchmarks" / "alpaca-eval-2"
    rows = read_table(folder / "length_controlled_v1" / "baseline_gpt4_1106_preview.csv")
    board = read_table(folder / "weighted_alpaca_eval_gpt4_turbo_leaderboard.csv")
    published = {row[""]: float(row["length_controlled_winrate"]) for row in board}
    found = score_alpaca(rows, folder, 0)
    errors = [
        abs(100 * scores["LC win rate"]["value"] - published[name])
        for name, scores in found.items()
        if name in published
    ]
    assert len(errors) == 199
    assert sum(error < 0.1 for error in errors) >= 197  # less NullModel and dbrx-instruct


def published_weights(folder, name):
    """A model's published weights, and the difficulties of the instructions."""
    rows = read_table(folder / "length_controlled_v1" / "baseline_gpt4_1106_preview.csv")
    weights = [float(v) for row in rows if row[""] == name for v in list(row.values())[1:]]
    difficulty = read_table(folder / "instruction_difficulty.csv")
    return np.array(weights), np.array([float(row["instruction_difficulty"]) for row in difficulty])


def test_the_null_models_published_rate_and_weights_are_of_two_penalties(shared_data):
    """Its answer is always the same text of 872 characters, so that nothing but C is unknown."""
    folder = shared_data / "benchmarks" / "alpaca-eval-2"
    board = read_table(folder / "weighted_alpaca_eval_gpt4_turbo_leaderboard.csv")
    row = next(row for row in board if row[""] == "NullModel")
    weights, hard = published_weights(folder, "NullModel")
    outputs = json.loads((folder / "results/gpt4_1106_preview/model_outputs.json").read_text())
    baseline = np.array([float(len(each["output"])) for each in outputs])
    x = length_features(np.full(805, float(row["avg_length"])), baseline, hard)
    gamed = read_gamed(folder)
    y = balanced_preferences(x, weights, gamed, PENALTIES[5])
    assert 100 * y.mean() == pytest.approx(float(row["win_rate"]), abs=0.002)
    refitted = fit_at_penalty(x, y, gamed, PENALTIES[6])
    published = float(row["length_controlled_winrate"])
    assert win_rate_at_equal_length(weights, hard) == pytest.approx(published - 0.133, abs=0.001)
    assert win_rate_at_equal_length(refitted, hard) == pytest.approx(published, abs=0.001)


def balanced_preferences(x, weights, gamed, c=21.54):
    """What the weights predict, and as much more as the gamed rows and the penalty take away."""
    gamed_gradient = gamed.x_NK.T @ (1 / (1 + np.exp(-gamed.x_NK @ weights))) - gamed.xy_K
    pull = gamed.weight * gamed_gradient + np.sign(weights) / c
    return 1 / (1 + np.exp(-x @ weights)) + x @ np.linalg.solve(x.T @ x, pull)


def test_the_length_model_refits_a_published_model(shared_data):
    """Preferences for which the published weights are the solution, at the published lengths."""
    folder = shared_data / "benchmarks" / "alpaca-eval-2"
    name = "deepseek-llm-67b-chat"
    outputs = {
        model: json.loads((folder / "results" / model / "model_outputs.json").read_text())
        for model in (name, "gpt4_1106_preview")
    }
    weights, hard = published_weights(folder, name)
    lengths = [np.array([float(len(row["output"])) for row in each]) for each in outputs.values()]
    x = length_features(lengths[0], lengths[1], hard)
    y = balanced_preferences(x, weights, read_gamed(folder))
    annotations = [
        {
            "instruction": ours["instruction"],
            "output_1": theirs["output"],
            "output_2": ours["output"],
            "generator_2": name,
            "preference": 1 + share,
        }
        for ours, theirs, share in zip(*outputs.values(), y.tolist(), strict=True)
    ]
    found = score_alpaca(annotations, folder, 0)[name]
    assert 100 * found["LC win rate"]["value"] == pytest.approx(17.843, abs=0.1)
    assert len(instructions(folder)) == 805


def test_at_equal_length_a_win_by_length_alone_is_a_draw():
    generator = np.random.default_rng(0)
    lengths, baseline = generator.integers(100, 3000, size=(2, 400)).astype(float)
    x = length_features(lengths, baseline, np.zeros(400))
    y = 1 / (1 + np.exp(1.5 * x[:, 0]))
    gamed = Gamed(x_NK=np.zeros((1, 3)), xy_K=np.zeros(3))
    weights = fit_length_glm(x, y, gamed)
    assert weights[0] == pytest.approx(-1.5, abs=0.1)
    assert win_rate_at_equal_length(weights, np.zeros(400)) == pytest.approx(50, abs=1)


def test_alignbench_is_the_mean_of_reasoning_and_language():
    rows = [
        {"question_id": i, "model_id": "m", "score": mark, "category": category}
        for i, (category, mark) in enumerate(
            [("数学计算", 4), ("数学计算", 6), ("逻辑推理", 9), ("中文理解", 8), ("文本写作", -1)]
        )
    ]
    known = {str(row["question_id"]): str(row["category"]) for row in rows}
    found = score_align(rows, known, 0)["m"]
    assert found["reasoning"]["value"] == 7.0
    assert found["language"]["value"] == 3.5
    assert found["total"]["value"] == 5.25
    assert grades("{'清晰度': 3} {'清晰度': 7, '综合得分': 6}")[1] == 6.0
    assert grades("nothing")[1] == -1.0


def test_alignbenchs_judge_sees_the_dimensions_of_the_category(config, monkeypatch):
    asked = judged(monkeypatch, lambda _: "{'事实正确性': 8, '综合得分': 7}")
    scores = scores_of(replace(config, benchmark="alignbench", limit=3))
    assert scores["total"]["value"] == 7.0
    text = asked[0]["messages"][0]["content"]
    assert all(part in text for part in ("事实与解释型回答", "1. 事实正确性", "turn 1", "E♭"))


def test_judgments_of_another_form_are_refused(config, tmp_path):
    (tmp_path / "j.jsonl").write_text('{"a": 1}\n')
    for name in ("mt-bench", "arena-hard", "alpaca-eval", "alignbench"):
        wrong = replace(config, benchmark=name, api=None, judgments=tmp_path / "j.jsonl")
        with pytest.raises(SourceError):
            evaluate(wrong)
    with pytest.raises(ConfigError, match="--samples"):
        evaluate(replace(wrong, benchmark="humaneval"))


def test_a_file_of_judgments_of_several_models_is_a_table(config, tmp_path):
    path = tmp_path / "gpt-4_single.jsonl"
    rows = [{"question_id": 81, "model": m, "score": s, "turn": 1} for m, s in (("a", 3), ("b", 9))]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    artifact = evaluate(replace(config, api=None, judgments=path))
    assert artifact.counts["headline"].startswith("2 models: b score 9.0000")
    text = (artifact.path / "report.md").read_text()
    assert "| a | 1 | 3.0000" in text


@pytest.mark.parametrize("name", ["mt-bench", "arena-hard", "alpaca-eval", "alignbench"])
def test_without_a_judge_nothing_is_asked(config, name):
    """At once: not after hours of answers that nobody can judge."""
    with pytest.raises(ConfigError, match="give --judge-api URL"):
        evaluate(replace(config, benchmark=name, judge_api=None))
    assert not config.out_dir.with_name("out.rows").exists()
