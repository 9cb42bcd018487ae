"""POST /v1/completions: continue a prompt, or insert between a prompt and a suffix.

Input: OpenAI's legacy completion request, with DeepSeek's suffix. Output: its answer, whole or
streamed.

Not here: prompts (prompts.py), and the running of completions (run.py).
"""

import math
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from codling.core.errors import RequestError
from codling.engine.request import TokenLogprob
from codling.serve.outcomes import About
from codling.serve.prompts import completion_choices, inserts
from codling.serve.run import Choice, Run
from codling.serve.schema import CompletionRequest
from codling.serve.server import Server, session_of
from codling.serve.side_work import Check
from codling.serve.sse import EventStream, Objects, await_while_connected

_MAX_ENTRIES = 2**18
"""Log-probabilities of prompts in one answer."""


async def complete(request: Request, asked: CompletionRequest, server: Server) -> Response:
    """Answer one completion request."""
    asked.refuse_unsupported()
    choices, prompts = await server.read(request, _read, asked, server)
    run = server.new_run(choices)
    if isinstance(asked.prompt, str):
        run.about = About(asked.prompt, asked.suffix or "", asked.path)
    if asked.max_tokens == 0:
        whole = await await_while_connected(request, _prompt_only(run, asked, server, prompts))
        return EventStream(_one_chunk(whole, asked)) if asked.stream else JSONResponse(whole)
    inserting = inserts(asked.suffix, server.backend.tokenizer)
    session = session_of(request, asked.user) if inserting else None
    if asked.stream:
        await run.open(server.backend)
        return EventStream(_stream_chunks(run, asked, server, prompts, session))
    return JSONResponse(
        await await_while_connected(request, _answer_at_once(run, asked, server, prompts, session))
    )


def _read(check: Check, asked: CompletionRequest, server: Server) -> tuple[list[Choice], list[str]]:
    """The request's choices, and what the text of each begins with."""
    choices = completion_choices(check, asked, server.backend, server.config)
    if asked.echo and asked.logprobs is not None:
        _refuse_too_many(choices, asked.logprobs)
    return choices, _echoes(choices, asked, server)


def _refuse_too_many(choices: Sequence[Choice], n_top: int) -> None:
    n_entries = sum(len(choice.prompt_ids) * (1 + n_top) for choice in choices)
    if n_entries > _MAX_ENTRIES:
        raise RequestError(
            f"echo with logprobs would give {n_entries:,} log-probabilities and at most "
            f"{_MAX_ENTRIES:,} fit into one answer; send fewer prompts at once",
            param="logprobs",
        )


async def _answer_at_once(
    run: Run, asked: CompletionRequest, server: Server, prompts: Sequence[str], session: str | None
) -> dict[str, Any]:
    await run.open(server.backend)
    with server.register(run, session):
        choices = await run.finish()
        scores = await _prompt_logprobs(run, asked, server)
    best = _likeliest(choices, asked)
    return _head(run, server) | {
        "choices": [
            {
                "text": prompts[i] + choices[i].text,
                "index": shown,
                "logprobs": _logprobs(scores[i] + choices[i].logprobs, asked),
                "finish_reason": choices[i].finish_reason,
            }
            | _token_ids(choices[i].logprobs, asked)
            for shown, i in enumerate(best)
        ],
        "usage": run.usage(),
    }


def _likeliest(choices: Sequence[Choice], asked: CompletionRequest) -> list[int]:
    """Which choices are answered: with best_of, of each prompt the `n` whose tokens are likeliest
    on average."""
    if asked.n_made == asked.n:
        return list(range(len(choices)))

    def score(i: int) -> float:
        values = [entry.logprob for entry in choices[i].logprobs]
        return sum(values) / len(values) if values else -math.inf

    best: list[int] = []
    for start in range(0, len(choices), asked.n_made):
        best += sorted(range(start, start + asked.n_made), key=score, reverse=True)[: asked.n]
    return best


async def _stream_chunks(
    run: Run, asked: CompletionRequest, server: Server, prompts: Sequence[str], session: str | None
) -> Objects:
    head = _head(run, server) | ({"usage": None} if asked.wants_usage else {})
    offsets = [0] * len(run.choices)

    def chunk(
        i: int, text: str, logprobs: Sequence[TokenLogprob], reason: str | None
    ) -> dict[str, Any]:
        choice = {
            "text": text,
            "index": i,
            "logprobs": _logprobs(logprobs, asked, offsets[i]),
            "finish_reason": reason,
        } | _token_ids(logprobs, asked)
        offsets[i] += sum(map(_n_chars, logprobs))
        return head | {"choices": [choice]}

    with server.register(run, session):
        if asked.echo:
            scores = await _prompt_logprobs(run, asked, server)
            for i, prompt in enumerate(prompts):
                yield chunk(i, prompt, scores[i], None)
        async with aclosing(run.events(server.config.keep_alive_seconds)) as events:
            async for event in events:
                if event is None:
                    yield None
                    continue
                i, delta = event
                if delta.text or delta.finish_reason or delta.logprobs:
                    yield chunk(i, delta.text, delta.logprobs, delta.finish_reason)
    if asked.wants_usage:
        yield head | {"choices": [], "usage": run.usage()}


async def _prompt_only(
    run: Run, asked: CompletionRequest, server: Server, prompts: Sequence[str]
) -> dict[str, Any]:
    """max_tokens 0: nothing is generated; with echo and logprobs, the prompt is scored."""
    with server.register(run):
        scores = await _prompt_logprobs(run, asked, server)
    return _head(run, server) | {
        "choices": [
            {
                "text": prompt,
                "index": i,
                "logprobs": _logprobs(scores[i], asked),
                "finish_reason": "length",
            }
            for i, prompt in enumerate(prompts)
        ],
        "usage": run.usage(),
    }


async def _one_chunk(whole: dict[str, Any], asked: CompletionRequest) -> Objects:
    """An answer that was made at once as a stream."""
    usage = whole.pop("usage")
    yield whole | ({"usage": None} if asked.wants_usage else {})
    if asked.wants_usage:
        yield whole | {"choices": [], "usage": usage}


def _head(run: Run, server: Server) -> dict[str, Any]:
    return {
        "id": f"cmpl-{run.id}",
        "object": "text_completion",
        "created": int(run.created),
        "model": server.backend.name,
        "system_fingerprint": server.fingerprint,
    }


def _echoes(choices: Sequence[Choice], asked: CompletionRequest, server: Server) -> list[str]:
    """What each choice's text begins with."""
    if not asked.echo:
        return [""] * len(choices)
    given = asked.prompts()
    texts = [p if isinstance(p, str) else server.backend.tokenizer.decode(p) for p in given]
    return [text for text in texts for _ in range(asked.n_made)]


async def _prompt_logprobs(
    run: Run, asked: CompletionRequest, server: Server
) -> list[list[TokenLogprob]]:
    """With echo, the log-probabilities of the prompts' own tokens; the first has none (nan)."""
    if not (asked.echo and asked.logprobs is not None):
        return [[] for _ in run.choices]
    done: dict[int, list[TokenLogprob]] = {}
    for choice in run.choices:
        if choice.prompt_index not in done:
            done[choice.prompt_index] = await _score_prompt(choice.prompt_ids, asked, server)
    return [done[choice.prompt_index] for choice in run.choices]


async def _score_prompt(
    ids: Sequence[int], asked: CompletionRequest, server: Server
) -> list[TokenLogprob]:
    first, *rest = await server.scoring.run(server.backend.score, ids, asked.logprobs or 0)
    assert first is None
    tokenizer = server.backend.tokenizer
    text = "" if tokenizer.is_special(ids[0]) else tokenizer.decode([ids[0]])
    start = TokenLogprob(
        token_id=ids[0], text=text, bytes=tokenizer.token_bytes(ids[0]), logprob=math.nan
    )
    return [start, *(entry for entry in rest if entry is not None)]


def _logprobs(
    entries: Sequence[TokenLogprob], asked: CompletionRequest, offset: int = 0
) -> dict[str, Any] | None:
    """OpenAI's four parallel lists, or None if they were not asked for."""
    if asked.logprobs is None:
        return None
    offsets = []
    for entry in entries:
        offsets.append(offset)
        offset += _n_chars(entry)
    return {
        "tokens": [_name(entry) for entry in entries],
        "token_logprobs": [json_number(entry.logprob) for entry in entries],
        "top_logprobs": [
            {_name(alternative): json_number(alternative.logprob) for alternative in entry.top}
            or None
            for entry in entries
        ],
        "text_offset": offsets,
    }


def _token_ids(entries: Sequence[TokenLogprob], asked: CompletionRequest) -> dict[str, list[int]]:
    return {"token_ids": [each.token_id for each in entries]} if asked.return_token_ids else {}


def _n_chars(entry: TokenLogprob) -> int:
    """Characters of the text that begin in this token."""
    try:
        entry.bytes.decode()
    except UnicodeDecodeError:
        return sum(byte >> 6 != 0b10 for byte in entry.bytes)
    return len(entry.text)


def _name(entry: TokenLogprob) -> str:
    """The token's text; a piece of a character is named by its bytes, as OpenAI does.

    Names are keys here, and all pieces of characters would read alike.
    """
    try:
        return entry.bytes.decode() or entry.text
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in entry.bytes)


def json_number(logprob: float) -> float | None:
    """JSON knows no nan and no infinity."""
    if math.isnan(logprob):
        return None
    return max(logprob, -9999.0)
