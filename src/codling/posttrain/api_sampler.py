"""Answers from an OpenAI-compatible server in place of our own engine: grpo --api.

Input: prompts as token ids, a seed each. Output: the same Rollouts as rollout.py's. Tokens are
taken by their ids, never from text, which may be cut into others (`return_token_ids` or
`return_tokens_as_token_ids`, as vLLM and codling serve have them), with the log-probabilities that
the server drew them by.

How the server gets what has been learned:

    adapter    before a step the adapter is written in peft's format and loaded by its path (POST
               load_lora_adapter, as in vLLM and codling serve --runtime-adapters), so server and
               learner share a file system
    stale      never: the answers come from the weights that the server was started with

Either way what the server drew differs from what the learner would have; the objective weighs every
token by its likelihood for the learner over that for the server, up to a bound.

Not here: those weights (objective.py), and serving (serve/).
"""

import math
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from codling.checkpoint.adapter import save_adapter
from codling.core.errors import SourceError
from codling.core.foreign_json import parse
from codling.core.log import say
from codling.engine.stream import Transcript
from codling.model.transformer import Transformer
from codling.posttrain.config import GrpoConfig
from codling.posttrain.lora import matrices
from codling.posttrain.rollout import Ask, Drawing, Rollout
from codling.tokens.tokenizer import Tokenizer

_TRIES = 5
_PAUSE = 1.0
"""Seconds before the second try; they double from try to try."""
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_NAMED_ID = "token_id:"
_MAX_SAID = 200
"""Characters of a server's own message that are told."""


class ApiSampler:
    """Draws answers from a server."""

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        config: GrpoConfig,
        folder: Path,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`model` is what learns; its adapter is written under `folder`. `transport` replaces the
        network in tests.

        SourceError if the server does not answer, or not with tokens and log-probabilities.
        """
        assert config.api is not None
        key = os.environ.get(config.api_key_variable, "")
        self._model, self._tokenizer, self._config = model, tokenizer, config
        self._folder = folder.absolute()
        self._threads = ThreadPoolExecutor(config.n_at_once)
        self._pause = _PAUSE
        self._client = _connect(config.api, key, config.n_at_once, transport)
        self._loaded = ""
        """The adapter that the server answers with."""
        try:
            self._name = config.api_model or self._first_model()
            self._ask(Ask(prompt_ids=(0,), stop=(), seed=0), Drawing(max_tokens=1))
        except SourceError:
            self._client.close()
            raise
        if config.api_weights == "stale":
            say(
                f"{config.api} keeps its weights: the more is learned the less its answers are the "
                "learner's own, which importance weights correct up to their bound"
            )

    def follow(self, step: int) -> None:
        """Let the server answer with what has been learned in `step` steps."""
        if self._config.api_weights == "stale":
            return
        before, self._loaded = self._loaded, f"codling-{os.getpid()}-{step}"
        if before == self._loaded:
            return
        path, config = self._folder / self._loaded, self._config
        save_adapter(
            matrices(self._model),
            path,
            rank=config.rank,
            alpha=config.alpha,
            base_name=str(config.model),
        )
        self._post("load_lora_adapter", {"lora_name": self._loaded, "lora_path": str(path)})
        if before:
            self._post("unload_lora_adapter", {"lora_name": before})
            _remove(self._folder / before)

    def draw(self, asks: Sequence[Ask], drawing: Drawing) -> list[Rollout]:
        """One answer each, in order."""
        return list(self._threads.map(lambda ask: self._ask(ask, drawing), asks))

    def close(self) -> None:
        """Unload the adapter, and close the connections."""
        if self._loaded:
            self._post("unload_lora_adapter", {"lora_name": self._loaded})
            _remove(self._folder / self._loaded)
        self._threads.shutdown()
        self._client.close()

    def _ask(self, ask: Ask, drawing: Drawing) -> Rollout:
        ends = self._tokenizer.stop_ids("chat" if ask.is_chat else "complete")
        body = {
            "model": self._loaded or self._name,
            "prompt": list(ask.prompt_ids),
            "max_tokens": drawing.max_tokens,
            "temperature": drawing.temperature,
            "top_p": drawing.top_p,
            "seed": ask.seed,
            "stop": list(ask.stop),
            "stop_token_ids": sorted(ends),
            "stop_at_loop": False,
            "logprobs": 1,
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
        }
        match self._post("completions", body):
            case {"choices": [{"logprobs": {"token_logprobs": [*logprobs]}} as choice]}:
                ids = _read_ids(choice)
            case _:
                ids, logprobs = [], []
        if not ids or len(ids) != len(logprobs) or not all(map(_is_logprob, logprobs)):
            raise SourceError(
                f"{self._config.api} gives no log-probabilities of the tokens that it drew, with "
                "their ids (/completions with logprobs and return_token_ids), which learning "
                "needs; vLLM and codling serve do"
            )
        if max(ids) >= self._model.config.vocab_size:
            raise SourceError(
                f"{self._config.api} answers with token {max(ids)}, which {self._config.model} "
                "does not have: it runs another model; see --api-model"
            )
        return self._read(ask, ids, logprobs, ends, str(choice.get("finish_reason")))

    def _read(
        self,
        ask: Ask,
        ids: Sequence[int],
        logprobs: Sequence[float],
        ends: frozenset[int],
        reason: str,
    ) -> Rollout:
        """The answer up to its first stop string or end token, whatever the server knows of
        these."""
        transcript = Transcript(self._tokenizer, ask.stop)
        text, n = "", 0
        for token_id in ids:
            is_end, n = token_id in ends, n + 1
            is_last = is_end or n == len(ids)
            ended = ("stop" if is_end else "length") if is_last else None
            delta = transcript.push(token_id, None, ended, silent=is_end)  # type: ignore[arg-type]
            text += delta.text
            if delta.finish_reason is not None:
                break
        return Rollout(
            prompt_ids=tuple(ask.prompt_ids),
            token_ids=tuple(ids[:n]),
            logprobs=tuple(map(float, logprobs[:n])),
            text=text,
            ended=delta.finish_reason == "stop" or (n == len(ids) and reason == "stop"),
        )

    def _first_model(self) -> str:
        match self._request("GET", "models", None):
            case {"data": [{"id": str(name)}, *_]}:
                return name
        raise SourceError(f"{self._config.api} lists no model; name it with --api-model")

    def _post(self, path: str, body: Mapping[str, Any]) -> object:
        return self._request("POST", path, body)

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None) -> object:
        """The JSON of an answer, or its text; a busy server is asked again."""
        reason = ""
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(self._pause * 2 ** (attempt - 1))
            try:
                reply = self._client.request(method, path, json=body)
            except httpx.TransportError as error:
                reason = str(error) or type(error).__name__
                if isinstance(error, httpx.ConnectError):
                    break
                continue
            if reply.status_code == httpx.codes.OK:
                is_json = "json" in reply.headers.get("content-type", "")
                return parse(reply.content, f"{self._config.api}'s answer") if is_json else {}
            reason = f"status {reply.status_code}: {' '.join(reply.text.split())[:_MAX_SAID]}"
            if reply.status_code not in _TRANSIENT:
                break
        cure = _CURES.get(path, "is the URL right, such as http://127.0.0.1:8000/v1?")
        raise SourceError(f"{self._client.base_url}{path} does not answer: {reason}; {cure}")


def _connect(
    url: str, key: str, n_connections: int, transport: httpx.BaseTransport | None
) -> httpx.Client:
    try:
        return httpx.Client(
            base_url=url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(600.0, connect=10.0),
            limits=httpx.Limits(max_connections=n_connections),
            transport=transport,
        )
    except httpx.InvalidURL as error:
        raise SourceError(f"{url} does not answer: {error}") from None


_NO_ADAPTERS = (
    "to load adapters vLLM needs --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, codling "
    "serve --runtime-adapters; --api-weights stale does without"
)
_CURES = {
    "completions": "is --api-model one of the server's?",
    "load_lora_adapter": _NO_ADAPTERS,
    "unload_lora_adapter": _NO_ADAPTERS,
}


def _read_ids(choice: Mapping[str, Any]) -> list[int]:
    """The ids of the tokens that were drawn, in either of two forms; none if it has neither."""
    match choice:
        case {"token_ids": [*ids]} if all(type(each) is int and each >= 0 for each in ids):
            return ids
        case {"logprobs": {"tokens": [*names]}}:
            rests = [str(each).removeprefix(_NAMED_ID) for each in names]
            named = all(str(each).startswith(_NAMED_ID) for each in names)
            if named and all(each.isdecimal() for each in rests):
                return [int(each) for each in rests]
    return []


def _is_logprob(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value <= 0


def _remove(folder: Path) -> None:
    for each in folder.iterdir():
        each.unlink()
    folder.rmdir()
