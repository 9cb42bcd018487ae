"""How sure a model is of a suggestion: the mean log-probability of its first line's tokens.

Input: the log-probabilities of an answer's tokens. Output: a number, 0 at most. The server's filter
(serve/show.py) and the verb that finds its threshold (evaluate/calibrate.py) share it.

Not here: thresholds.
"""

from collections.abc import Iterable

from codling.engine.request import TokenLogprob


def first_line_score(logprobs: Iterable[TokenLogprob]) -> float | None:
    """The mean up to the token that ends the first line, that token included; None without any.

    Blank lines before the first text belong to it.
    """
    values: list[float] = []
    text = ""
    for entry in logprobs:
        values.append(entry.logprob)
        text += entry.text
        if "\n" in text.lstrip("\n\r \t"):
            break
    return sum(values) / len(values) if values else None
