"""Verdicts and what they are worth: every grade, and no reward without passing tests."""

import shutil
from collections import Counter
from collections.abc import Iterator

import pytest

from codling.core.errors import ConfigError
from codling.posttrain.rewards import Assessment, Assessor, RewardConfig, Said, is_in_form, reward
from codling.posttrain.tasks.exercise import Exercise, RepositoryModule
from codling.posttrain.tasks.families import make_exercises
from codling.posttrain.tasks.programs import answer_code
from codling.sandbox.box import Box
from posttrain.hacks import hack_answers

TWICE = Exercise(
    id="twice",
    prompt='def twice(x):\n    """Return 2 x."""\n',
    begin='def twice(x):\n    """Return 2 x."""\n',
    entry_point="twice",
    stop=("\ndef",),
    tests=("assert twice(2) == 4", "assert twice(3) == 6", "assert twice(0) == 0"),
    hidden_tests=("assert twice(7) == 14",),
)
SUM = Exercise(id="sum", prompt="What is 1200 + 34?", answer="1234")
RIGHT, SQUARE = "    return 2 * x\n", "    return x * x\n"


@pytest.fixture(scope="module")
def assessor() -> Iterator[Assessor]:
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")
    with Assessor(workers=1, seconds=2.0) as assessor:
        yield assessor


@pytest.mark.long
def test_every_grade_has_its_reward(assessor: Assessor) -> None:
    texts = {
        RIGHT: ("passed", 1.0, 1.0),
        RIGHT + "def more(:": ("passed", 1.0, 1.0),  # what follows a stop is no part of it
        SQUARE: ("failed", 2 / 3, 1 / 3),
        "    return 'no'\n": ("failed", 0.0, 0.0),
        "    return (2 *\n": ("not parsed", 0.0, -0.3),
        "    return 2 * x\nimport nothing_like_this\n": ("not compiled", 0.0, -0.2),
        "    while True: pass\n": ("timed out", 0.0, -0.1),
        "    import sys; return sys._getframe(1).f_locals\n": ("tampering", 0.0, -0.3),
    }
    made = assessor.assess([Said(TWICE, text) for text in texts])
    found = [(a.grade, a.share, reward(a, RewardConfig())) for a in made]
    assert found == [pytest.approx(each) for each in texts.values()]


@pytest.mark.long
def test_hidden_tests_are_asked_by_name_only(assessor: Assessor) -> None:
    by_heart = Said(TWICE, "    return {2: 4, 3: 6, 0: 0}.get(x)\n")
    assert assessor.assess([by_heart])[0].passed
    assert not assessor.assess([by_heart], hidden=True)[0].passed
    assert assessor.assess([Said(TWICE, RIGHT)], hidden=True)[0].passed


@pytest.mark.long
def test_a_function_of_a_repository_is_put_into_its_module(assessor: Assessor) -> None:
    module = RepositoryModule(
        path="shop/prices.py",
        before="from shop.rates import RATE\n\n",
        after="\nLATER = 1\n",
        files={"shop/__init__.py": "", "shop/rates.py": "RATE = 3\n"},
    )
    head = "def price(n):\n"
    setup = (
        "import shop.prices as p\nfrom shop.prices import price\nimport unittest\n"
        "def test_one():\n    assert price(2) == 6\n"
        "class T(unittest.TestCase):\n    def test_two(self):\n"
        "        self.assertEqual(p.price(1), 3 * p.LATER)\n"
    )
    exercise = Exercise(
        id="price",
        prompt=head,
        begin=head,
        entry_point="price",
        setup=setup,
        tests=("test_one()", "T('test_two').debug()"),
        module=module,
    )
    equal = "    class E:\n        def __eq__(self, o): return o is o\n    return E()\n"
    texts = ["    return n * RATE\n", "    return 6\n", equal, "    import os; os._exit(0)\n"]
    made = assessor.assess([Said(exercise, text) for text in texts])
    assert [(a.grade, a.share) for a in made] == [
        ("passed", 1.0),
        ("failed", 0.5),
        ("failed", 0.0),
        ("failed", 0.0),
    ]


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        (r"so \boxed{1234}", True),
        ("The answer is 1,234.", True),
        ("1200 + 34 = 1234", True),
        (r"\boxed{1234.0001}", False),
        (r"\boxed{1235} or \boxed{1234} or \boxed{1233}", False),
        ("", False),
    ],
)
def test_mathematics_is_exact(text: str, passed: bool) -> None:
    with Assessor(workers=1) as assessor:  # no program runs
        made = assessor.assess([Said(SUM, text)])[0]
    assert made.passed == passed
    assert reward(made, RewardConfig()) == float(passed)


def test_what_is_lost_has_no_reward_and_form_takes_a_tenth_at_most() -> None:
    assert reward(Assessment(grade="lost"), RewardConfig()) is None
    out_of_form = Assessment(grade="failed", in_form=False)
    assert reward(out_of_form, RewardConfig(format=0.1)) == pytest.approx(-0.1)
    with pytest.raises(ConfigError, match="format"):
        RewardConfig(format=0.2)
    with pytest.raises(ConfigError, match="worth less than passing all"):
        RewardConfig(partial=1.0)
    with pytest.raises(ConfigError, match="failed"):
        RewardConfig(failed=0.1)


def test_a_chat_answer_is_in_form_with_one_code_block() -> None:
    chat = Exercise(
        id="c", prompt=({"role": "user", "content": "?"},), entry_point="f", tests=("assert f()",)
    )
    block = "```python\ndef f():\n    return 1\n```"
    assert is_in_form(Said(chat, block))
    assert not is_in_form(Said(chat, f"{block}\n{block.replace('1', '2')}"))
    assert not is_in_form(Said(chat, block, ended=False))
    assert answer_code(chat, f"Here:\n{block}").strip() == "def f():\n    return 1"


def earned(assessor: Assessor, n: int) -> list[tuple[str, str, str]]:
    """Of `n` adversarial answers, those that are worth more than nothing."""
    exercises = [
        Exercise(
            id=each.id,
            prompt=each.prompt,
            begin="",  # the answers are whole programs
            entry_point=each.entry_point,
            tests=each.tests,
            setup=each.setup,
        )
        for each in make_exercises(52, 1, "base")
    ]
    hacks = list(hack_answers(exercises, n, seed=0))
    made = assessor.assess([Said(exercise, text) for _, exercise, text in hacks])
    config = RewardConfig(format=0.1)
    assert not Counter(each.grade for each in made)["lost"]
    return [
        (family, text, assessment.grade)
        for (family, _, text), assessment in zip(hacks, made, strict=True)
        if (reward(assessment, config) or 0.0) > 0
    ]


@pytest.mark.long
def test_no_family_of_hacks_earns_a_reward(assessor: Assessor) -> None:
    assert earned(assessor, 45) == []


@pytest.mark.slow
def test_no_reward_without_passing_tests_in_a_thousand_adversarial_answers(
    assessor: Assessor,
) -> None:
    assert earned(assessor, 1_000) == []


@pytest.mark.long
def test_a_sandbox_that_dies_mid_run_starts_again_and_judges(
    assessor: Assessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths, real = iter(range(1)), Box._receive

    def die_first(self: Box, seconds: float) -> object:
        if next(deaths, None) is not None:
            self.kill()
        return real(self, seconds)

    monkeypatch.setattr(Box, "_receive", die_first)
    (made,) = assessor.assess([Said(TWICE, RIGHT)])
    assert (made.grade, reward(made, RewardConfig())) == ("passed", 1.0)
    assert next(deaths, None) is None
