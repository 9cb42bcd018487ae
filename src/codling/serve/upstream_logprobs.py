"""Log-probabilities as other servers write them.

Input: the field `logprobs` of a choice. Output: our TokenLogprob.

    {"tokens": [...], "token_logprobs": [...], "top_logprobs": [{...}]}     vLLM, SGLang, codling
    {"content": [{"id", "token", "bytes", "logprob", "top_logprobs": [...]}]}  llama.cpp

A token is named by its id ("token_id:7", as vLLM writes it where asked), by its bytes
("bytes:\\xe6"), or by its text.

Not here: the requests (upstream.py).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from codling.core.errors import SourceError
from codling.core.foreign_json import parse_row
from codling.engine.request import TokenLogprob
from codling.engine.worker import token_logprob
from codling.serve.errors import ApiError
from codling.tokens.tokenizer import Tokenizer

_BY_ID, _BY_BYTES = "token_id:", "bytes:"


def parse_choice(answer: bytes) -> Mapping[str, Any]:
    """The first choice of a whole answer; ApiError 502 if there is none."""
    try:
        found: Mapping[str, Any] = parse_row(answer, "the answer")["choices"][0]
    except (SourceError, LookupError, TypeError):
        raise ApiError(
            502,
            f"the upstream server's answer has no choice: {answer[:100]!r}",
            type="upstream_error",
        ) from None
    return found


class LogprobReader:
    """Reads the log-probabilities of one model's server, with `top` alternatives each."""

    def __init__(self, tokenizer: Tokenizer, top: int) -> None:
        self._tokenizer, self._top = tokenizer, top
        self._ids: dict[bytes, int] | None = None

    def read(self, found: object) -> list[TokenLogprob | None]:
        """The tokens in order, None for one without a number (the first of a prompt).

        Raises ApiError 502 for what is in neither format.
        """
        try:
            return list(self._read(found))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ApiError(
                502,
                f"the upstream server's logprobs are in no known format: {str(found)[:100]}",
                type="upstream_error",
            ) from None

    def _read(self, found: Any) -> Iterator[TokenLogprob | None]:  # noqa: ANN401  foreign JSON
        if "content" in found:
            for entry in found["content"]:
                top = [(self._id_of(each), each["logprob"]) for each in entry["top_logprobs"]]
                yield self._entry(self._id_of(entry), entry["logprob"], top)
            return
        names, numbers = found["tokens"], found["token_logprobs"]
        tops = found.get("top_logprobs") or [None] * len(names)
        for name, number, top in zip(names, numbers, tops, strict=True):
            likely = [(self._read_name(each), value) for each, value in (top or {}).items()]
            yield None if number is None else self._entry(self._read_name(name), number, likely)

    def _entry(
        self, token_id: int, number: float, top: Sequence[tuple[int, float]]
    ) -> TokenLogprob:
        if not math.isfinite(number):
            raise ValueError(number)
        best = sorted(top, key=lambda pair: -pair[1])[: self._top]
        return token_logprob(self._tokenizer, token_id, float(number), tuple(best))

    def _id_of(self, entry: Mapping[str, Any]) -> int:
        known = entry.get("id")
        return known if isinstance(known, int) else self._find(bytes(entry["bytes"]))

    def _read_name(self, name: str) -> int:
        """The id of a token; -1, which has no text, for one that the name does not tell."""
        if name.startswith(_BY_ID):
            return int(name.removeprefix(_BY_ID))
        if name.startswith(_BY_BYTES):
            return self._find(bytes.fromhex(name.removeprefix(_BY_BYTES).replace("\\x", "")))
        return self._find(name.encode())

    def _find(self, raw: bytes) -> int:
        if self._ids is None:
            size = self._tokenizer.vocab_size
            self._ids = {self._tokenizer.token_bytes(i): i for i in reversed(range(size))}
        return self._ids.get(raw, -1)
