"""Rules of a grammar that cannot end are found; no package is needed to count."""

import json
import math
from types import SimpleNamespace
from typing import Any

import pytest

from codling.core.errors import RequestError
from codling.engine.grammar_rules import count_shortest, refuse_endless

A, RULE_0, RULE_1 = [0, 1, 97], [4, 1, 0], [4, 1, 1]


def write(rules: dict[str, int], *expressions: list[int]) -> dict[str, Any]:
    """A grammar as xgrammar writes it: rules with their bodies, expressions one after another."""
    starts = [sum(map(len, expressions[:i])) for i in range(len(expressions))]
    return {
        "rules": [[name, body, -1] for name, body in rules.items()],
        "grammar_expr_data": [number for each in expressions for number in each],
        "grammar_expr_indptr": starts,
    }


@pytest.mark.parametrize(
    ("grammar", "shortest"),
    [
        # root ::= "a" root
        (write({"root": 2}, A, RULE_0, [5, 2, 0, 1]), [math.inf]),
        # root ::= "a" root | ""
        (write({"root": 4}, A, RULE_0, [5, 2, 0, 1], [3, 0], [6, 2, 2, 3]), [0]),
        # root ::= [a-c] x{3,9}; x ::= "a" "a" | root
        (
            write(
                {"root": 2, "x": 6},
                [1, 3, 0, 97, 99], [8, 3, 1, 3, 9], [5, 2, 0, 1], A, [5, 2, 3, 3], RULE_0,
                [6, 2, 4, 5],
            ),
            [7, 2],
        ),
        # root ::= x | "a"; x ::= x
        (write({"root": 2, "x": 0}, RULE_1, A, [6, 2, 0, 1]), [1, math.inf]),
        # root ::= x{0,5}; x ::= x
        (write({"root": 1, "x": 0}, RULE_1, [8, 3, 1, 0, 5]), [0, math.inf]),
    ],
)  # fmt: skip
def test_the_shortest_text_of_each_rule(grammar: dict[str, Any], shortest: list[float]) -> None:
    assert count_shortest(grammar) == shortest


@pytest.mark.parametrize(
    ("numbers", "shortest"),
    [
        ([0, 97, 99], 1),
        ([0], math.inf),  # []
        ([1], 1),  # [^]
        ([1, 0, 0x10FFFF], math.inf),
        ([1, 0x80, 0x10FFFF, 0, 0x7F, 5, 9], math.inf),
        ([1, 0x81, 0x10FFFF, 0, 0x7F], 1),
    ],
)
def test_a_class_without_characters_has_no_text(numbers: list[int], shortest: float) -> None:
    assert count_shortest(write({"root": 0}, [1, len(numbers), *numbers])) == [shortest]


def test_a_rule_that_never_ends_is_named() -> None:
    written = write({"root": 2, "x": 0}, RULE_1, A, [6, 2, 0, 1])
    grammar = SimpleNamespace(serialize_json=lambda: json.dumps(written))
    with pytest.raises(RequestError, match="its rule x never ends"):
        refuse_endless(grammar)
