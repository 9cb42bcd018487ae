"""Tests that an answer in the same process cannot reach: the program that runs both.

Input: an answer that defines a function, and tests that define `check`. Output: the source of a
Python program. The tests are compiled in a scope of their own, with builtins of their own, before
the answer runs; no name that the answer can use leads there, so a function called `exec`
or `abs`, or a signal handler that waits for `check`, changes nothing. The answer is the module
`__main__`, as it would be alone. What its function returns reaches the tests as plain data
(plain_output.guard).

Not here: what frames and lists of objects would show (sandbox/inside/notary.py refuses them).
"""

import inspect
import re

from codling.grading import output_rules, plain_output

_JUDGE = """
def _judge(rules, tests, answer, name):
    import builtins
    run, build, found = exec, compile, globals()
    judge, scope = ({"__name__": "tests", "__builtins__": dict(vars(builtins))} for _ in "12")
    run(build(rules, "rules.py", "exec"), judge)
    code = build(tests, "tests.py", "exec")
    run(code, scope)
    plain, check, used, codes = judge["guard"], scope["check"], set(), [code]
    for each in codes:
        used.update(each.co_names)
        codes.extend(part for part in each.co_consts if isinstance(part, type(code)))
    used = tuple(used.difference(scope, scope["__builtins__"]))
    run(build(answer, "main.py", "exec"), found)
    for each in used:
        if each in found:
            scope[each] = found[each]
    scope[name] = function = plain(found[name])
    check(function)
"""


def rules_source() -> str:
    """The text of output_rules.py as it runs in the sandbox: with plain_output.py's in place of
    its import."""
    text, used = inspect.getsource(output_rules), inspect.getsource(plain_output)
    return re.sub(r"(?m)^from codling\.grading\.plain_output import .*$", lambda _: used, text)


def isolate_tests(answer: str, tests: str, name: str) -> str:
    """A program that succeeds if the tests' `check` accepts the answer's function `name`.

    What the tests use and do not define (helpers of an infilled function) they get from the answer.
    """
    rules = inspect.getsource(plain_output)
    return f"{_JUDGE}\n_judge({rules!r}, {tests!r}, {answer!r}, {name!r})\n"
