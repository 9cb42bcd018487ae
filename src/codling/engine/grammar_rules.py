"""Whether each rule of a grammar can end, and within a length that an answer may have.

Input: a grammar of xgrammar's, as it writes itself as JSON. Output: nothing, or the rule at fault.
A rule that only leads to itself (`list ::= item list`) never ends, so no answer has its form, and
what such a grammar forces has no end either: it must not come near a matcher.

    root ::= "a" root           no end: refused
    root ::= "a" root | ""      0 bytes
    root ::= "ab"{3} x          6 bytes and those of x

Not here: what holds an answer to a grammar (structured.py).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from codling.core.errors import RequestError
from codling.core.foreign_json import parse_row

MAX_BYTES = 65_536
"""A rule whose shortest text is longer stands in no answer."""
_BYTES, _CLASS, _RULE, _SEQUENCE, _CHOICES, _REPEAT = 0, 1, 4, 5, 6, 8
"""xgrammar's kinds of expressions; all others may be empty."""
_N_CHARACTERS = 0x110000


def refuse_endless(grammar: Any) -> None:  # noqa: ANN401 -- xgrammar's, untyped
    """Raise RequestError if a rule has no text of MAX_BYTES or less."""
    written = parse_row(grammar.serialize_json(), "the grammar", RequestError)
    names = [rule[0] for rule in written["rules"]]
    for name, n_bytes in zip(names, count_shortest(written), strict=True):
        if n_bytes > MAX_BYTES:
            what = "never ends" if n_bytes == math.inf else f"has {n_bytes:,.0f} bytes at least"
            raise RequestError(
                f"no answer can have this form: its rule {name} {what}; give it a shorter way out"
            )


def count_shortest(written: Mapping[str, Any]) -> list[float]:
    """Bytes of each rule's shortest text; infinite for one that never ends."""
    data, starts = written["grammar_expr_data"], written["grammar_expr_indptr"]
    expressions = [data[start : start + 2 + data[start + 1]] for start in starts]
    bodies = [rule[1] for rule in written["rules"]]
    shortest = [math.inf] * len(bodies)
    users: list[set[int]] = [set() for _ in bodies]
    for rule, body in enumerate(bodies):
        _find_users(rule, body, expressions, users)
    waiting = set(range(len(bodies)))
    while waiting:
        rule = waiting.pop()
        found = _count(bodies[rule], expressions, shortest.__getitem__)
        if found < shortest[rule]:
            shortest[rule] = found
            waiting |= users[rule]
    return shortest


def _find_users(
    rule: int, at: int, expressions: Sequence[Sequence[int]], users: Sequence[set[int]]
) -> None:
    """Note `rule` with all rules that its expression speaks of."""
    kind, _, *parts = expressions[at]
    if kind in (_RULE, _REPEAT):
        users[parts[0]].add(rule)
    elif kind in (_SEQUENCE, _CHOICES):
        for part in parts:
            _find_users(rule, part, expressions, users)


def _count(at: int, expressions: Sequence[Sequence[int]], of_rule: Callable[[int], float]) -> float:
    kind, n, *parts = expressions[at]
    if kind == _BYTES:
        return n
    if kind == _CLASS:
        return _count_class(*parts)
    if kind == _RULE:
        return of_rule(parts[0])
    if kind == _REPEAT:
        return parts[1] * of_rule(parts[0]) if parts[1] else 0
    if kind in (_SEQUENCE, _CHOICES):
        counts = [_count(part, expressions, of_rule) for part in parts]
        return sum(counts) if kind == _SEQUENCE else min(counts, default=math.inf)
    return 0


def _count_class(is_negated: int, *bounds: int) -> float:
    """1 for a class of characters; one without any has no text at all."""
    n_left = _N_CHARACTERS if is_negated else 0
    at = 0
    for first, last in sorted(zip(bounds[::2], bounds[1::2], strict=True)):
        n_new = max(0, last + 1 - max(at, first))
        n_left += -n_new if is_negated else n_new
        at = max(at, last + 1)
    return 1 if n_left > 0 else math.inf
