"""Made-up exercises: small functions whose right answers are known, in families (families.toml).

Input: how many, and a seed. Output: Exercises. The members of a family differ in a number, a word
and a name; a family is held out as a whole, so that what is measured was not learned by heart. The
right answer stands in the setup of the tests, which an answer cannot reach.

Not here: whether an answer is right (posttrain/rewards.py).
"""

from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import Any

from codling.core.packaged import packaged_table
from codling.posttrain.tasks.exercise import Exercise
from codling.posttrain.tasks.published import Asking, ask_function

_WORDS = ("red", "blue", "green", "one", "two", "apple", "dog", "sun")
_VERBS = ("", "get_", "compute_", "find_", "calc_", "make_")
_N_TESTS, _N_HIDDEN = 4, 4
_SHOWN = '''def negate(x):
    """Return x with the other sign."""
    return -x


def is_empty(items):
    """Return True if there are no items, otherwise False."""
    return len(items) == 0


'''
"""What precedes a function that a base model is to continue."""


@cache
def families() -> dict[str, dict[str, str]]:
    """The table, by the family's name."""
    found: dict[str, dict[str, str]] = packaged_table("codling.posttrain.tasks", "families.toml")[
        "families"
    ]
    return found


def make_exercises(n: int, seed: int, asking: Asking) -> Iterator[Exercise]:
    """`n` exercises at most, none twice, from all families in turn."""
    random = Random(seed)
    names, seen = sorted(families()), set[str]()
    for number in range(n * 4):
        if len(seen) == n:
            return
        made = _make(names[number % len(names)], random, asking)
        if made.id not in seen:
            seen.add(made.id)
            yield made


def _make(family: str, random: Random, asking: Asking) -> Exercise:
    row = families()[family]
    k, word = random.randint(2, 9), random.choice(_WORDS)
    name = random.choice(_VERBS) + family.replace("_k", f"_{k}", 1)
    says, returns = (row[key].format(k=k, w=word) for key in ("says", "returns"))
    header = f'def {name}({row["arguments"]}):\n    """{says}"""\n'
    draw = _DRAWS[row["takes"]]
    calls = list[str]()
    while len(calls) < _N_TESTS + _N_HIDDEN:
        given = ", ".join(map(repr, draw(random, word)))
        if given not in calls:
            calls.append(given)
    asked = ask_function(header, asking)
    if asking == "base":
        asked["prompt"] = _SHOWN + asked["prompt"]
    tests = [f"assert {name}({given}) == _expected({given})" for given in calls]
    return Exercise(
        id=f"{family}/{name}/{word if '{w}' in row['says'] else k}",
        entry_point=name,
        tests=tuple(tests[:_N_TESTS]),
        hidden_tests=tuple(tests[_N_TESTS:]),
        setup=f"def _expected({row['arguments']}):\n    return {returns}\n",
        group=family,
        solution=f"{header}    return {returns}\n",
        **asked,
    )


def _draw_numbers(random: Random, _word: str) -> list[Any]:
    return [[random.randint(-5, 25) for _ in range(random.randint(1, 12))]]


def _draw_text(random: Random, word: str) -> list[Any]:
    words = random.choices((*_WORDS, word, word, "banana", "cat"), k=random.randint(1, 4))
    return [" ".join(words)]


_DRAWS: dict[str, Callable[[Random, str], list[Any]]] = {
    "number": lambda random, _: [random.randint(-20, 40)],
    "pair": lambda random, _: [random.randint(-9, 20), random.randint(-9, 20)],
    "numbers": _draw_numbers,
    "text": _draw_text,
}
"""What a function is called with, by the family's `takes`."""
