"""benchmarks/grpo_gain.py: its prompts have one right answer each, and its figures are right."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from codling.posttrain.rewards import Assessor, Said
from codling.posttrain.tasks.exercise import is_held_out, read_exercise

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "grpo_gain.py"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("grpo_gain", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_prompt_has_its_right_answer_and_its_own_numbers(program: ModuleType) -> None:
    made = [read_exercise(row, "row") for row in program.make_rows(40, 0)]
    assert len({each.id for each in made}) == len(made) == 24 * 40
    assert len({each.group for each in made}) == 24
    for each in made:
        sign, a, b = each.id[0], *map(int, each.id.split("/")[1:])
        assert each.answer == str(a + b if sign == "+" else a - b)
        assert int(each.answer) > 0
        assert str(a) in each.prompt
        assert str(b) in each.prompt
        assert "{" not in str(each.prompt)
    for seed in range(3):
        held = [each for each in made if is_held_out(each, 0.3, seed)][:120]
        assert len(held) == 120
        assert len({each.group for each in held}) > 2


def test_an_answer_counts_by_its_number_alone(program: ModuleType) -> None:
    exercise = read_exercise(next(iter(program.make_rows(1, 0))), "row")
    right = str(exercise.answer)
    said = [f" {right}", f" It is {right}.", f" {right}1", "", " no"]
    with Assessor(workers=1) as assessor:
        made = assessor.assess([Said(exercise, text) for text in said])
    assert [each.passed for each in made] == [True, True, False, False, False]


def test_the_figures_of_a_run(program: ModuleType, tmp_path: Path) -> None:
    held: list[dict[str, object]] = [
        {"step": step, "id": f"p{i}", "group": f"g{i % 2}", "n": 2, "n_passed": passed}
        for step, passes in ((0, (0, 0, 1, 1)), (5, (1, 1, 2, 2)))
        for i, passed in enumerate(passes)
    ]
    written: dict[str, list[dict[str, object]]] = {
        "heldout.jsonl": held,
        "metrics.jsonl": [{"pass_rate": 0.1}, {"pass_rate": 0.3}],
        "rollouts.jsonl": [{}] * 3,
    }
    for name, rows in written.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = program.summarise(tmp_path)
    assert (found["before"], found["after"], found["gain"]) == (0.25, 0.75, 0.5)
    assert found["by_prompt"] == found["by_group"] == (0.5, 0.5)
    assert (found["curve"], found["answers"]) == ([0.1, 0.3], 3)
