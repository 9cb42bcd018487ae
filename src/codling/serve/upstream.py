"""Another server behind us: vLLM, SGLang, llama.cpp, or codling itself.

Input: prompts as token ids. Output: the other server's text as Deltas. Our side builds the
prompts (insertion in the model's own order, chat templates) and sends token ids to POST
/v1/completions, which all of them take; so insertion works in front of servers that refuse
`suffix`, and no prompt is tokenised in two ways.

Not here: starting the other server.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

import httpx

from codling.checkpoint.hub import local_path
from codling.core.errors import ConfigError, RequestError, SourceError
from codling.core.foreign_json import parse_row
from codling.core.ranges import MAX_CONTEXT
from codling.corpus.context import Cursor, CursorContext
from codling.engine.form import Form
from codling.engine.reach import CursorReach
from codling.engine.request import Delta, FinishReason, Mode, SamplingParams, TokenLogprob
from codling.engine.stream import LeadFilter
from codling.serve.config import ServeConfig
from codling.serve.errors import ApiError
from codling.serve.side_work import Check
from codling.serve.upstream_logprobs import LogprobReader, parse_choice
from codling.tokens.chat import ChatFormat, Message
from codling.tokens.fim import CursorPrompt
from codling.tokens.tokenizer import Tokenizer

_FALLBACK_LENGTH = 4096
_TIMEOUT = httpx.Timeout(600.0, connect=5.0)
_PROBE_SECONDS = 10.0
_MAX_LINE = 8 * 2**20
"""Bytes of one event: a token with the most log-probabilities has thousands."""
_SLACK = 16
"""Pieces of text beyond the tokens that were asked for, of servers that split one."""


class UpstreamBackend:
    """The Backend of a model that another server runs."""

    can_heal = False
    repository = None
    reach = CursorReach()

    def __init__(  # noqa: PLR0913 - where it is, and what is known of its model
        self,
        base_url: str,
        tokenizer: Tokenizer,
        *,
        model: str,
        name: str | None = None,
        max_length: int = _FALLBACK_LENGTH,
        key: str | None = None,
        chat_template: str | None = None,
    ) -> None:
        """`base_url` ends before /completions; `model` is the name that the other server wants."""
        self.tokenizer = tokenizer
        self.chat_format = ChatFormat(tokenizer, chat_template)
        self.model = model
        self.name = name or model
        self.max_length = max_length
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers=_headers(key),
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
            trust_env=False,
        )

    @classmethod
    def connect(cls, config: ServeConfig) -> "UpstreamBackend":
        """Ask the other server for its model's name and context; ConfigError if it is silent."""
        assert config.upstream is not None
        base = base_url(config.upstream)
        card = _model_card(base, config.upstream_key)
        backend = cls(
            base,
            Tokenizer.open(local_path(config.model)),
            model=card["id"],
            name=config.name,
            max_length=config.max_length or _context(card) or _FALLBACK_LENGTH,
            key=config.upstream_key,
            chat_template=config.chat_template,
        )
        backend.reach = CursorReach.of(config.context_tokens, config.suffix_tokens, on_cpu=False)
        return backend

    def context_prompt(self, _: Cursor, __: int) -> list[int] | None:
        """None: no repository is followed here."""
        return None

    def explain_context(self, _: Cursor, __: int) -> CursorContext | None:
        """None, for the same reason."""
        return None

    def forget(self, _: str, __: str | None) -> bool:
        """False: there is no memory here."""
        return False

    async def open(
        self, prompt_ids: Sequence[int], params: SamplingParams, mode: Mode
    ) -> "UpstreamStream":
        """Send the prompt on; ApiError with the other server's words if it refuses."""
        ends = self.tokenizer.stop_ids(mode) | set(params.stop_token_ids)
        body = _body(self.model, prompt_ids, params, sorted(ends))
        stack = AsyncExitStack()
        try:
            request = self._client.build_request("POST", "completions", json=body)
            response = await self._client.send(request, stream=True)
            stack.push_async_callback(response.aclose)
            if response.status_code != 200:
                raise _refusal_error(response.status_code, await response.aread(), response.headers)
        except httpx.HTTPError as error:
            await stack.aclose()
            raise _unreachable_error(error) from None
        except BaseException:
            await stack.aclose()
            raise
        lead = prompt_ids.lead if isinstance(prompt_ids, CursorPrompt) else ""
        reader = self._reader(params.logprobs)
        return UpstreamStream(response, stack, params.max_tokens, lead=lead, reader=reader)

    def chat_prompt(
        self,
        messages: Sequence[Message],
        *,
        begun: str = "",
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[int]:
        """See Backend."""
        return self.chat_format.ids(messages, begun=begun, tools=tools)

    def prepare(self, form: Form, _: Sequence[str] = ()) -> None:
        """RequestError for forms that the other server's OpenAI address has no field for."""
        if form.kind not in ("json", "schema"):
            raise RequestError(
                "through an upstream server only response_format json_object and json_schema bind "
                "an answer; send one of those",
                param="response_format",
            )

    def score(self, check: Check, ids: Sequence[int], top: int) -> Sequence[TokenLogprob | None]:
        """See Backend; ApiError if the other server gives none of a prompt (llama.cpp's does not).

        The prompt comes back before one new token, which is left out.
        """
        check()
        body = _body(self.model, ids, SamplingParams(max_tokens=1, logprobs=top), [])
        del body["stream_options"]
        body |= {"stream": False, "echo": True}
        try:
            with httpx.Client(
                base_url=self._client.base_url, headers=self._client.headers, timeout=_TIMEOUT,
                trust_env=False,
            ) as client:  # fmt: skip
                response = client.post("completions", json=body)
        except httpx.HTTPError as error:
            raise _unreachable_error(error) from None
        if response.status_code != 200:
            raise _refusal_error(response.status_code, response.content)
        choice = parse_choice(response.content)
        scores = LogprobReader(self.tokenizer, top).read(choice.get("logprobs") or {"content": []})
        if len(scores) <= len(ids):
            raise ApiError(
                400, "the upstream server gives no log-probabilities of a prompt", param="logprobs"
            )
        return [None, *scores[1 : len(ids)]]

    def _reader(self, top: int | None) -> "LogprobReader | None":
        return None if top is None else LogprobReader(self.tokenizer, top)

    async def close(self) -> None:
        """See Backend."""
        await self._client.aclose()


class UpstreamStream:
    """One completion that another server computes. Leaving the loop closes the connection."""

    def __init__(
        self,
        response: httpx.Response,
        stack: AsyncExitStack,
        most: int,
        *,
        lead: str = "",
        reader: LogprobReader | None = None,
    ) -> None:
        """`most`: tokens that were asked for; more are not counted. `lead` is left out where the
        answer begins with it (CursorPrompt); `reader` where log-probabilities are asked for."""
        self.n_cached_tokens = self.n_drafted_tokens = self.n_accepted_tokens = 0
        self._response, self._stack, self._lead = response, stack, LeadFilter(lead)
        self._reader = reader
        self._most, self._n_tokens, self._n_pieces = most, 0, 0
        self._reason: FinishReason | None = None

    def cancel(self) -> None:
        """Nothing to do: the end of the reading task closes the connection, which cancels it."""

    async def __aiter__(self) -> AsyncIterator[Delta]:
        async with self._stack:
            try:
                async for event in _events(self._response):
                    if event is None:
                        self._reason = self._reason or "stop"
                        break
                    for delta in self._read(event):
                        self._n_pieces += 1
                        yield delta
                    if self._n_pieces > self._most + _SLACK:
                        self._reason = "length"  # it would go on for ever
                        break
            except httpx.HTTPError as error:
                raise _unreachable_error(error) from None
            # Token counts come after the last text, so the end is sent only now.
            if self._reason is None:
                raise ApiError(
                    502,
                    "the upstream server broke off in the middle of its answer",
                    type="upstream_error",
                )
            n_rest = max(0, min(self._n_tokens, self._most))
            yield Delta(text="", token_ids=(0,) * n_rest, finish_reason=self._reason)

    def _read(self, event: Mapping[str, Any]) -> Sequence[Delta]:
        """What an event says; ApiError 502 for one that is none."""
        try:
            return self._deltas(event)
        except (AttributeError, LookupError, TypeError, ValueError):
            raise _nonsense_error("no part of a completion", json.dumps(event)) from None

    def _deltas(self, event: Mapping[str, Any]) -> Sequence[Delta]:
        if "error" in event:
            raise _refusal_error(502, json.dumps(event).encode())
        if usage := event.get("usage"):
            self._n_tokens = int(usage.get("completion_tokens") or 0)
            details = usage.get("prompt_tokens_details") or {}
            self.n_cached_tokens = int(details.get("cached_tokens") or 0)
        found = []
        for choice in event.get("choices", []):
            if reason := choice.get("finish_reason"):
                self._reason = "length" if reason == "length" else "stop"
            text, entries = choice.get("text") or "", self._logprobs(choice)
            if not isinstance(text, str):
                raise TypeError(text)
            if text or entries:
                found.append(Delta(text=self._lead.push(text), logprobs=entries))
        return found

    def _logprobs(self, choice: Mapping[str, Any]) -> tuple[TokenLogprob, ...]:
        if self._reader is None:
            return ()
        if choice.get("logprobs") is None:
            if choice.get("text"):
                raise ApiError(
                    400, "the upstream server gives no log-probabilities", param="logprobs"
                )
            return ()
        return tuple(e for e in self._reader.read(choice["logprobs"]) if e is not None)


def base_url(url: str) -> str:
    """The address under which /completions and /models lie.

    >>> base_url("http://127.0.0.1:8080"), base_url("http://h/v1/")
    ('http://127.0.0.1:8080/v1', 'http://h/v1')
    """
    bare = url.rstrip("/")
    return bare if bare.endswith(("/v1", "/beta")) else f"{bare}/v1"


def _body(
    model: str, prompt_ids: Sequence[int], params: SamplingParams, ends: Sequence[int]
) -> dict[str, Any]:
    """Fields that all servers take; top_k and stop_token_ids are extensions that they share."""
    body: dict[str, Any] = {
        "model": model,
        "prompt": list(prompt_ids),
        "max_tokens": params.max_tokens,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "stop_token_ids": list(ends),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    body |= _pushes(params)
    if params.stop:
        body["stop"] = list(params.stop)
    if params.top_k:
        body["top_k"] = params.top_k
    if params.seed is not None:
        body["seed"] = params.seed
    if params.logprobs is not None:
        # llama.cpp reads 0 as none at all; vLLM names tokens by their ids where asked.
        body |= {"logprobs": max(1, params.logprobs), "return_tokens_as_token_ids": True}
    return body


def _pushes(params: SamplingParams) -> dict[str, Any]:
    """The fields of penalties, biases and forms, where they change anything."""
    body: dict[str, Any] = {}
    for name in ("frequency_penalty", "presence_penalty"):
        if value := getattr(params, name):
            body[name] = value
    if params.repetition_penalty != 1:
        body["repetition_penalty"] = params.repetition_penalty
    if params.logit_bias:
        body["logit_bias"] = {str(i): bias for i, bias in params.logit_bias}
    if params.marks:
        body["skip_special_tokens"] = False
    if params.form is not None and params.form.kind == "json":
        body["response_format"] = {"type": "json_object"}
    elif params.form is not None and params.form.kind == "schema":
        named = {"name": "answer", "schema": parse_row(params.form.source, "the schema")}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    return body


async def _events(response: httpx.Response) -> AsyncGenerator[Mapping[str, Any] | None, None]:
    """The events of a stream; None for its [DONE]."""
    async for line in _lines(response):
        if not line.startswith(b"data:"):
            continue
        data = line.removeprefix(b"data:").strip()
        if data == b"[DONE]":
            yield None
            return
        try:
            event = parse_row(data, "the upstream server's event")
        except SourceError:
            raise _nonsense_error("not JSON", data.decode("utf-8", "replace")) from None
        if not isinstance(event, dict):
            raise _nonsense_error("no part of a completion", json.dumps(event))
        yield event


async def _lines(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """Lines as events have them: httpx's also end at U+2028 and others, which may stand in text."""
    held = b""
    async for piece in response.aiter_bytes():
        *lines, held = (held + piece).split(b"\n")
        for line in lines:
            yield line
        if len(held) > _MAX_LINE:
            raise _nonsense_error("a line without end", held[:100].decode("utf-8", "replace"))
    yield held


def _model_card(base: str, key: str | None) -> dict[str, Any]:
    try:
        with httpx.Client(trust_env=False, timeout=_PROBE_SECONDS) as client:
            answer = client.get(f"{base}/models", headers=_headers(key))
            answer.raise_for_status()
            listed = parse_row(answer.content, "its answer", cure="check the address")
            card: dict[str, Any] = listed["data"][0]
            return {**card, "id": str(card["id"])}
    except (httpx.HTTPError, httpx.InvalidURL, SourceError, LookupError, TypeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"no OpenAI-like server answers at {base}/models ({reason}); start it first, or "
            "correct --upstream"
        ) from None


def _context(card: Mapping[str, Any]) -> int | None:
    """The context: vLLM, SGLang and codling say max_model_len, llama.cpp meta.n_ctx_train."""
    meta = card.get("meta")
    inner = meta if isinstance(meta, Mapping) else {}
    for value in (card.get("max_model_len"), inner.get("n_ctx"), inner.get("n_ctx_train")):
        if isinstance(value, int) and 1 < value <= MAX_CONTEXT:
            return value
    return None


def _headers(key: str | None) -> dict[bytes, bytes]:
    """Bytes: httpx takes only ASCII of a text."""
    return {b"Authorization": f"Bearer {key}".encode()} if key else {}


def _unreachable_error(error: httpx.HTTPError) -> ApiError:
    reason = str(error) or type(error).__name__
    return ApiError(502, f"the upstream server does not answer: {reason}", type="upstream_error")


def _nonsense_error(what: str, sent: str) -> ApiError:
    message = f"the upstream server sent what is {what}: {sent[:100]}"
    return ApiError(502, message, type="upstream_error")


def _refusal_error(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> ApiError:
    """Its words, and for how long it wants to be left alone."""
    message = None
    with suppress(SourceError, AttributeError):
        value = parse_row(body, "the answer")
        inner = value.get("error", value)
        message = inner.get("message") if isinstance(inner, dict) else inner
    message = message or body[:200].decode("utf-8", "replace") or f"status {status}"
    wait = (headers or {}).get("retry-after")
    # Its refusal of our key is our problem, not the client's.
    shown = 502 if status in (401, 403, 404) or status < 400 else status
    return ApiError(
        shown,
        f"the upstream server refuses: {message}",
        type="upstream_error",
        headers={"Retry-After": wait} if wait else None,
    )
