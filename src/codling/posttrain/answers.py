"""Sample answers: what the model says to a few held-out questions, at each evaluation.

Input: the model in training, held-out dialogues. Output: answers.jsonl (a row per evaluation and
question: step, number, question, answer, wanted) and answers.html, a page that shows them beside
the held-out loss. Answers are greedy, so that two runs of one seed say the same.

Not here: the engine, whose prompts and batches are not needed here (engine/).
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codling.core.files import read_json_lines, write_text
from codling.core.log import MetricsLog
from codling.model.cache import KVCache
from codling.model.transformer import Transformer
from codling.report.page import render_page
from codling.tokens.dialogue_files import LabelledStream
from codling.tokens.tokenizer import Tokenizer

ANSWERS, PAGE = "answers.jsonl", "answers.html"


@dataclass(frozen=True)
class HeldoutQuestion:
    """What stands before the first answer of a dialogue, and that answer."""

    ids: list[int]
    wanted: list[int]


def take_questions(stream: LabelledStream, n: int, room: int) -> Iterator[HeldoutQuestion]:
    """The first `n` dialogues whose question leaves `room` tokens of the context."""
    for start, length in zip(stream.starts.tolist(), stream.lengths.tolist(), strict=True):
        counted = stream.counted[start : start + length]
        ids = stream.ids[start : start + length].tolist()
        begin = int(np.argmax(counted))
        if n == 0:
            return
        if 0 < begin <= room and counted[begin]:
            n_wanted = int(np.argmin(np.append(counted[begin:], False)))
            n -= 1
            yield HeldoutQuestion(ids[:begin], ids[begin : begin + n_wanted])


class SampleAnswers:
    """Asks the model in training, and keeps what it says."""

    def __init__(
        self,
        questions: Sequence[HeldoutQuestion],
        tokenizer: Tokenizer,
        folder: Path,
        n_tokens: int,
    ) -> None:
        """At most `n_tokens` of each answer; the rows go into `folder`."""
        self._questions, self._tokenizer = questions, tokenizer
        self._folder, self._n_tokens = folder, n_tokens
        self._stops = tokenizer.stop_ids("chat")
        self._log: MetricsLog | None = None

    def ask(self, model: Transformer, step: int, *, write: bool) -> None:
        """Every question, after `step` steps; all processes ask, one of them writes."""
        if write and self._log is None:
            # A resumed run asks again from here on.
            self._log = MetricsLog(self._folder / ANSWERS, keep_below_step=step)
        for number, question in enumerate(self._questions):
            answer = answer_greedily(model, question.ids, self._stops, self._n_tokens)
            if write and self._log is not None:
                said = {"answer": self._text(answer), "wanted": self._text(question.wanted)}
                asked = self._text(question.ids)
                self._log.write(step=step, number=number, question=asked, **said)

    def publish(self, losses: Sequence[tuple[int, float]]) -> None:
        """The page: the answers of every evaluation beside the `losses` (step, nats)."""
        path = self._folder / ANSWERS
        if not path.is_file():
            return
        by_number: dict[int, list[dict[str, Any]]] = {}
        for row in read_json_lines(path):
            by_number.setdefault(row["number"], []).append(row)
        asked = [
            (rows[0]["question"], rows[0]["wanted"], [(r["step"], r["answer"]) for r in rows])
            for rows in by_number.values()
        ]
        page = render_page("codling.posttrain", "answers.html", losses=losses, asked=asked)
        write_text(self._folder / PAGE, page)

    def _text(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids, skip_special=False)


@torch.no_grad()
def answer_greedily(
    model: Transformer, prompt: Sequence[int], stops: Collection[int], n_tokens: int
) -> list[int]:
    """The likeliest continuation of `prompt`, up to one of `stops`, which is its last token."""
    weight = model.embed_tokens.weight
    length = len(prompt) + n_tokens
    cache = KVCache.allocate(model.config, 1, length, weight.dtype, weight.device)
    new, answer = list(prompt), list[int]()
    while len(answer) < n_tokens:
        hidden_BLE = model(torch.tensor([new], device=weight.device), cache=cache)
        cache.advance(torch.tensor([len(new)]))
        new = [int(model.logits(hidden_BLE[0, -1]).argmax())]
        answer += new
        if new[0] in stops:
            break
    return answer
