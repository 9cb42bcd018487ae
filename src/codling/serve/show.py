"""Whether an insertion is worth showing: its first line's mean log-probability against a threshold.

Input: deltas with the log-probability of each token. Output: the same deltas once the first line is
known to be good enough, or one that ends the answer with no text. An answer that stays away costs
its first line only.

    threshold -0.5    "return total\\n"  -0.1 -0.2 -0.3    shown
                      "foo(bar)\\n"      -1.9 -0.4 -2.2    not shown

Where the threshold comes from: codling calibrate (evaluate/calibrate.py).
"""

from dataclasses import replace

from codling.engine.confidence import first_line_score
from codling.engine.request import Delta


class ShowFilter:
    """Holds an answer back until its first line is whole."""

    def __init__(self, threshold: float | None) -> None:
        """None lets everything pass at once."""
        self.threshold = threshold
        self.stopped = False
        """Whether the answer stays away."""
        self._held: list[Delta] = []
        self._is_open = threshold is None

    def push(self, delta: Delta) -> list[Delta]:
        """The deltas that may be shown now."""
        if self._is_open:
            return [delta]
        self._held.append(delta)
        if delta.finish_reason is None and not _has_line(self._held):
            return []
        score = first_line_score(entry for held in self._held for entry in held.logprobs)
        assert self.threshold is not None
        if score is not None and score < self.threshold:
            self.stopped = True
            n_tokens = tuple(i for held in self._held for i in held.token_ids)
            return [Delta(text="", token_ids=n_tokens, finish_reason="stop")]
        self._is_open = True
        return self._held


def without_logprobs(delta: Delta) -> Delta:
    """The delta of a request that did not ask for them."""
    return replace(delta, logprobs=())


def _has_line(deltas: list[Delta]) -> bool:
    return "\n" in "".join(delta.text for delta in deltas).lstrip("\n\r \t")
