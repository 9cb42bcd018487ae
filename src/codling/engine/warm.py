"""Warming up: what the first requests would wait for is done before them.

Input: an opened engine. Output: nothing; loops are compiled or read from the disk, matrices and the
index of tokens are in memory. Not here: loading (text.py).
"""

from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine

_BEFORE = "def is_prime(n: int) -> bool:\n    '''Whether n is a prime number.'''\n    "
_AFTER = "\n    return True\n\n\nprint([n for n in range(50) if is_prime(n)])\n"


def warm_up(engine: TextEngine) -> None:
    """Answer a short text at a cursor, and an insertion if the model knows them.

    The prompts are longer than what the compiled loop takes, and the answers use it, so both ways
    of computing are compiled.
    """
    params = SamplingParams(max_tokens=2, ignore_eos=True)
    ids = engine.cursor_prompt(_BEFORE * 2)
    if len(ids) < engine.max_length:
        engine.submit(ids, params).result()
    if engine.can_insert:
        engine.submit(engine.insert_prompt(_BEFORE, _AFTER), params, mode="insert").result()
