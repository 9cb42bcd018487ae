"""Right answers in the forms in which people publish them: they score as right, without a flag."""

import json

import pytest

from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.foreign_samples import read_samples
from codling.evaluate.task import Problem
from codling.evaluate.tasks import find_task

CONFIG = BenchmarkConfig(benchmark="mine")


def published(folder, name, rows, problems):
    """The answers that a published file gives to `problems`, as the benchmark would judge them."""
    path = folder / "published.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    config = BenchmarkConfig(benchmark=name, samples=path)
    samples, _ = read_samples(find_task(name), problems, config)
    return [sample.answer for sample in samples]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (r"thus $\boxed{\frac12}$.", r"\frac12"),
        ("So she has 18 eggs left at the end.", "18"),
        ("9 + 9\nThe answer is 18.", "18"),
        ("9 + 9 = 18\n#### 18", "18"),
        (r"\frac{1}{2}", r"\frac{1}{2}"),
        (r"x \in [-2,7]", r"x \in [-2,7]"),
        ("5 square metres", "5 square metres"),
        ("<think>7</think> $\\boxed{5}$", "5"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("name", ["math-500", "aime", "math-odyssey", "cot-math"])
def test_answers_of_mathematics_are_read_boxed_stated_or_bare(tmp_path, name, said, answer):
    problem = Problem(id="1", data={"question": "?", "answer": "18"})
    for rows in ([{"id": "1", "completion": said}], [{"id": "1", "solution": said}], [[said]]):
        assert published(tmp_path, name, rows, [problem]) == [answer]


@pytest.mark.parametrize(
    ("name", "group", "said", "answer"),
    [
        ("cot-math", "aqua", "(C)", "C"),
        ("bbh", "x", "A thought. So the answer is (B).", "(B)"),
        ("agieval", "lsat-ar", "It is (B).", "B"),
        ("agieval", "math", "$\\frac12$", "$\\frac12$"),
        ("agieval", "math", "so it is \\boxed{3}", "3"),
        ("triviaqa", "", "\nParis\nQuestion: x", "Paris"),
        ("cruxeval", "", "assert f(1) == 2", "2"),
        ("mmlu", "", "The answer is (B).", "B"),
    ],
)
def test_answers_in_words_are_read_whatever_the_file_calls_them(
    tmp_path, name, group, said, answer
):
    data = {"subset": "output", "options": ["x", "y"]}
    problem = Problem(id="1", group=group, data=data)
    assert published(tmp_path, name, [[said]], [problem]) == [answer]
    assert published(tmp_path, name, [{"id": "1", "completion": said}], [problem]) == [answer]
