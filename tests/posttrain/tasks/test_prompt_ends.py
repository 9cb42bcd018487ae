"""A text to be continued ends before the line break that tokenizers join with what follows."""

from codling.posttrain.tasks.families import make_exercises
from codling.posttrain.tasks.programs import answer_code
from codling.posttrain.tasks.published import ask_function


def test_a_prompt_ends_before_the_line_break() -> None:
    asked = ask_function('def f(x):\n    """Return x."""\n', "base")
    assert asked["prompt"] == asked["begin"] == 'def f(x):\n    """Return x."""'


def test_prompt_and_right_answer_make_the_solution() -> None:
    for exercise in make_exercises(60, 0, "base"):
        assert isinstance(exercise.prompt, str)
        assert exercise.prompt.endswith('"""')
        assert exercise.solution is not None
        rest = exercise.solution.removeprefix(exercise.begin)
        assert rest.startswith("\n    return ")
        assert answer_code(exercise, rest).split() == exercise.solution.split()
