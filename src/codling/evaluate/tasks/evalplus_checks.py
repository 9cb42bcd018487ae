"""The program that judges one answer of an EvalPlus benchmark (HumanEval+, MBPP+).

Input: a row of the data, the reference solution, the answer. Output: the source of a program that
passes if all outputs agree by EvalPlus's rules (output_rules.py).

Not here: the data (humaneval_plus.py, mbpp_plus.py).
"""

import json
from collections.abc import Mapping
from typing import Any

from codling.grading.isolated_tests import rules_source

MEMORY_BYTES = 8 << 30
"""EvalPlus gives a process 4 GB; here the reference and the answer run at once."""


def program(
    data: Mapping[str, Any], answer: str, reference: str, dataset: str, prepare: str = "inputs"
) -> str:
    """The program's source; `prepare` is an expression that gives a list of argument lists
    `inputs` the types which JSON cannot hold."""
    lists = json.dumps([data["base_input"], data["plus_input"] or []])
    rules = rules_source()
    return f"""
import json, sys
sys.set_int_max_str_digits(100000)
rules = {{"__name__": "output_rules"}}
exec({rules!r}, rules)
input_lists = [{prepare} for inputs in json.loads({lists!r})]
rules["judge_outputs"](
    {rules!r}, {reference!r}, {answer!r}, {data["entry_point"]!r}, input_lists, {dataset!r},
    {data["atol"] or 0!r},
)
"""
