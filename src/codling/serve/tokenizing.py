"""POST /tokenize, /detokenize and /apply-template; GET /slots: what llama.cpp and vLLM offer.

Input: llama.cpp's requests, or vLLM's. Output: token ids, text, the prompt that chat would get,
what runs.

    llama.cpp   {"content": "x", "add_special": false, "with_pieces": false}  {"tokens": [..]}
    vLLM        {"prompt": "x"} or {"messages": [..]}   {"tokens": [..], "count": n, ...}

Not here: the settings of llama.cpp's /props (routes.py).
"""

from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, StrictBool

from codling.core.errors import RequestError
from codling.serve.length import refuse_too_long
from codling.serve.prompts import chat_ids
from codling.serve.schema import ChatRequest, Messages, TokenIds
from codling.serve.server import Server
from codling.serve.side_work import Check
from codling.tokens.tokenizer import Tokenizer


class TokenizeRequest(BaseModel):
    """POST /tokenize."""

    model_config = ConfigDict(extra="ignore")

    content: str | None = None
    prompt: str | None = None
    messages: Messages | None = None
    add_special: StrictBool = False
    add_special_tokens: StrictBool = True
    parse_special: StrictBool = True
    with_pieces: StrictBool = False


class DetokenizeRequest(BaseModel):
    """POST /detokenize."""

    model_config = ConfigDict(extra="ignore")

    tokens: TokenIds


async def tokenize(request: Request, asked: TokenizeRequest, server: Server) -> Response:
    """The ids of a text or a dialogue."""
    return JSONResponse(await server.read(request, _tokenize, asked, server))


def detokenize(asked: DetokenizeRequest, server: Server) -> Response:
    """The text of ids, special tokens as their names."""
    tokenizer = server.backend.tokenizer
    if bad := [i for i in asked.tokens if i >= tokenizer.vocab_size]:
        raise RequestError(f"tokens: {bad[0]} is not in the vocabulary", param="tokens")
    text = tokenizer.decode(asked.tokens, skip_special=False)
    return JSONResponse({"content": text, "prompt": text})


async def apply_template(request: Request, asked: ChatRequest, server: Server) -> Response:
    """The prompt of a dialogue as text."""
    ids = await server.read(request, _prompt, asked, server)
    return JSONResponse({"prompt": server.backend.tokenizer.decode(ids, skip_special=False)})


def slots(server: Server) -> list[dict[str, Any]]:
    """llama.cpp's slots: one for each completion that can run at once."""
    running = [choice for run in server.runs for choice in run.choices if not choice.finish_reason]
    shown = []
    for i in range(max(server.config.max_streams, len(running))):
        choice = running[i] if i < len(running) else None
        n_decoded = choice.n_tokens if choice else 0
        shown.append(
            {
                "id": i,
                "n_ctx": server.backend.max_length,
                "speculative": server.config.speculate,
                "is_processing": choice is not None,
                "n_prompt_tokens": len(choice.prompt_ids) if choice else 0,
                "next_token": {"n_decoded": n_decoded, "has_next_token": choice is not None},
            }
        )
    return shown


def _tokenize(check: Check, asked: TokenizeRequest, server: Server) -> dict[str, Any]:
    backend, tokenizer = server.backend, server.backend.tokenizer
    if asked.messages is not None:
        ids, _ = chat_ids(check, ChatRequest(messages=asked.messages), backend)
        return _vllm_answer(ids, server)
    text = asked.prompt if asked.content is None else asked.content
    if text is None:
        raise RequestError("send content, prompt or messages", param="content")
    refuse_too_long(check, [text], tokenizer, 16 * backend.max_length, "content")
    ids = tokenizer.encode(text, allow_special=asked.parse_special)
    if asked.content is None:
        return _vllm_answer((tokenizer.start_ids if asked.add_special_tokens else []) + ids, server)
    ids = (tokenizer.start_ids if asked.add_special else []) + ids
    return {"tokens": [_piece(i, tokenizer) for i in ids] if asked.with_pieces else ids}


def _prompt(check: Check, asked: ChatRequest, server: Server) -> list[int]:
    return chat_ids(check, asked, server.backend)[0]


def _vllm_answer(ids: list[int], server: Server) -> dict[str, Any]:
    return {"tokens": ids, "count": len(ids), "max_model_len": server.backend.max_length}


def _piece(token_id: int, tokenizer: Tokenizer) -> dict[str, Any]:
    """A token with its text, or its bytes where they are no text."""
    raw = tokenizer.token_bytes(token_id)
    try:
        return {"id": token_id, "piece": raw.decode()}
    except UnicodeDecodeError:
        return {"id": token_id, "piece": list(raw)}
