"""POST /infill and /completion: what llama.vim, llama.vscode and other clients of llama.cpp send.

Input: llama.cpp's requests. Output: its answers: `content`, `timings`, `tokens_cached`,
`truncated` ...; streamed as events without [DONE]. `prompt` (the cursor's line so far) counts as
the end of the prefix: models learn to insert at any character, and so no token border is forced
between the two.

With `n_cmpl` above 1 a list of answers, each with a seed of its own.

With `n_predict` 0 the prompt is read into the cache and no text is sent: one token is generated all
the same, but not counted.

Not here: llama.cpp's slots and most of its samplers (fields that name them are ignored).
"""

import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from codling.core.errors import RequestError
from codling.core.languages.table import detect, path_comment
from codling.corpus.context import Cursor
from codling.engine.request import TokenLogprob
from codling.serve.completions import json_number
from codling.serve.outcomes import About
from codling.serve.prompts import insertion_ids, inserts, native_choices, plain_ids
from codling.serve.run import Choice, Run
from codling.serve.schema import ExtraFile, InfillRequest, Native, NativeRequest
from codling.serve.server import Server, session_of
from codling.serve.side_work import Check
from codling.serve.sse import EventStream, Objects, await_while_connected

_BOS_AS_TEXT = "<s>"
"""cmp-ai writes this before DeepSeek's FIM tokens."""


async def infill(request: Request, asked: InfillRequest, server: Server) -> Response:
    """Answer one insertion."""
    asked.refuse_unsupported()
    backend = server.backend
    if not inserts(asked.input_suffix or " ", backend.tokenizer):
        raise RequestError("this model cannot insert", param="input_suffix")
    ids = await server.read(request, _insertion, asked, server)
    # Not with probabilities, whose lists name every token of the text.
    cuts = server.config.stop_at_suffix and not asked.n_probs
    suffix = asked.input_suffix if cuts else ""
    run = server.new_run(await _choices(request, asked, ids, server, suffix))
    run.about = About(asked.input_prefix + asked.prompt, asked.input_suffix, asked.path)
    return await _answer(request, asked, server, run, session_of(request, asked.user))


def _insertion(_: Check, asked: InfillRequest, server: Server) -> list[int]:
    """The ids of an insertion's prompt."""
    prefix = context(asked.input_extra) + asked.input_prefix + asked.prompt
    wanted = asked.n_predict if asked.n_predict > 0 else server.config.default_max_tokens
    cursor = Cursor(asked.path, prefix, asked.input_suffix)
    is_exact = bool(asked.n_probs) or asked.form is not None
    return insertion_ids(server.backend, cursor, wanted, is_exact=is_exact)


async def native_completion(request: Request, asked: NativeRequest, server: Server) -> Response:
    """Answer one plain completion."""
    asked.refuse_unsupported()
    prompt = asked.prompt
    begin = server.backend.tokenizer.specials.fim_begin
    if isinstance(prompt, str) and begin is not None:
        mark = server.backend.tokenizer.special_text(begin)
        prompt = (
            prompt.removeprefix(_BOS_AS_TEXT) if prompt.startswith(_BOS_AS_TEXT + mark) else prompt
        )
    ids = await server.read(request, plain_ids, server.backend, prompt)
    run = server.new_run(await _choices(request, asked, ids, server))
    return await _answer(request, asked, server, run)


async def _choices(
    request: Request, asked: Native, ids: list[int], server: Server, suffix: str = ""
) -> list[Choice]:
    work = native_choices
    return await server.read(request, work, asked, ids, server.backend, server.config, suffix)


def context(files: Sequence[ExtraFile]) -> str:
    """Pieces of other files as the training data joins them: a comment with the path, then the
    text.

    >>> context([ExtraFile(filename="a.py", text="x = 1")])
    '# a.py\\nx = 1\\n'
    """
    parts = []
    for file in files:
        language = detect(file.filename, file.text[:512].encode()) if file.filename else None
        comment = path_comment(language, file.filename) if language else ""
        parts.append(comment + file.text + ("" if file.text.endswith("\n") else "\n"))
    return "".join(parts)


async def _answer(
    request: Request, asked: Native, server: Server, run: Run, session: str | None = None
) -> Response:
    writing = _NativeAnswer(run, asked, server, session)
    if asked.stream:
        await writing.run.open(server.backend)
        return EventStream(writing.stream_chunks(), done=False)
    return JSONResponse(await await_while_connected(request, writing.answer_at_once()))


class _Written:
    """What the client has of one choice."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self.content = ""
        self.cut = False
        """True once n_indent or the time limit ends the text, not the model."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing more comes."""
        return self.cut or self.choice.finish_reason is not None


class _NativeAnswer:
    """One native answer, or several, as it is written."""

    def __init__(self, run: Run, asked: Native, server: Server, session: str | None) -> None:
        self.run, self.asked, self.server, self.session = run, asked, server, session
        self.written = [_Written(choice) for choice in run.choices]

    async def answer_at_once(self) -> dict[str, Any] | list[dict[str, Any]]:
        await self.run.open(self.server.backend)
        async for _ in self.stream_chunks():
            pass
        answers = [
            self._final(i, written.content) | self._probabilities(written.choice.logprobs)
            for i, written in enumerate(self.written)
        ]
        wanted = self.asked.n_cmpl
        if len(answers) < wanted:  # greedy
            answers = [answers[0] | {"index": i} for i in range(wanted)]
        answers = [select(answer, self.asked.response_fields) for answer in answers]
        return answers if wanted > 1 else answers[0]

    async def stream_chunks(self) -> Objects:
        with self.server.register(self.run, self.session):
            async with aclosing(self.run.events(self.server.config.keep_alive_seconds)) as events:
                async for event in events:
                    if event is None:
                        yield None
                        continue
                    i, delta = event
                    text, entries = self._take(self.written[i], delta.text), delta.logprobs
                    if text or (entries and self.asked.n_predict):
                        said = {"index": i, "content": text, "stop": False, "id_slot": 0}
                        yield said | self._probabilities(entries)
                    if all(written.is_whole for written in self.written):
                        break
        yield select(self._final(0, ""), self.asked.response_fields)

    def _take(self, written: _Written, text: str) -> str:
        """The part of the new text that the client may have."""
        if self.asked.n_predict == 0 or written.cut:
            return ""
        before = len(written.content)
        written.content += text
        if self.asked.n_indent:
            kept = keep_indent(written.content, self.asked.n_indent)
            written.cut = len(kept) < len(written.content)
            written.content = kept if len(kept) >= before else written.content[:before]
        if self._is_overtime(written.content):
            written.cut = True
        return written.content[before:]

    def _probabilities(self, entries: Sequence[TokenLogprob]) -> dict[str, Any]:
        """llama.cpp's field for `n_probs`, if it was sent."""
        if not (self.asked.n_probs and self.asked.n_predict):
            return {}
        named = [
            _name(entry) | {"top_logprobs": [_name(e) for e in entry.top]} for entry in entries
        ]
        return {"completion_probabilities": named}

    def _is_overtime(self, content: str) -> bool:
        """llama.cpp's rule: time counts from the first token, and a first line is finished."""
        limit, first = self.asked.t_max_predict_ms, self.run.first_text_at
        if not limit or first is None or "\n" not in content:
            return False
        return (time.perf_counter() - first) * 1000 > limit

    def _final(self, i: int, content: str) -> dict[str, Any]:
        run, written = self.run, self.written[i]
        choice = written.choice
        by_limit = choice.finish_reason == "length" or written.cut or self.asked.n_predict == 0
        n_prompt = run.n_prompt_tokens
        n_new = choice.n_tokens if self.asked.n_predict else 0
        return {
            "index": i,
            "id": f"cmpl-{run.id}",
            "content": content,
            "stop": True,
            "stop_type": "limit" if by_limit else "eos",
            "model": self.server.backend.name,
            "tokens_predicted": n_new,
            "tokens_evaluated": n_prompt,
            "tokens_cached": n_prompt + n_new,
            "truncated": False,
            "has_new_line": "\n" in written.content,
            "id_slot": 0,
            "generation_settings": {
                "n_ctx": self.server.backend.max_length,
                "n_predict": choice.params.max_tokens if self.asked.n_predict else 0,
                "temperature": choice.params.temperature,
                "top_k": choice.params.top_k,
                "top_p": choice.params.top_p,
                "stop": list(choice.params.stop),
            },
            "timings": self._timings(n_prompt - run.n_cached_tokens, n_new),
        }

    def _timings(self, n_prompt: int, n_new: int) -> dict[str, float]:
        now = time.perf_counter()
        first = self.run.first_text_at or now
        prompt_ms, predicted_ms = (first - self.run.started) * 1000, (now - first) * 1000
        return {
            "cache_n": self.run.n_cached_tokens,
            "draft_n": self.run.n_drafted_tokens,
            "draft_n_accepted": self.run.n_accepted_tokens,
            "prompt_n": n_prompt,
            "prompt_ms": round(prompt_ms, 3),
            "prompt_per_token_ms": round(prompt_ms / max(1, n_prompt), 3),
            "prompt_per_second": round(1000 * n_prompt / max(1e-3, prompt_ms), 3),
            "predicted_n": n_new,
            "predicted_ms": round(predicted_ms, 3),
            "predicted_per_token_ms": round(predicted_ms / max(1, n_new), 3),
            "predicted_per_second": round(1000 * n_new / max(1e-3, predicted_ms), 3),
        }


def _name(entry: TokenLogprob) -> dict[str, Any]:
    """A token as llama.cpp names it."""
    return {
        "id": entry.token_id,
        "token": entry.text,
        "bytes": list(entry.bytes),
        "logprob": json_number(entry.logprob),
    }


def keep_indent(text: str, n_indent: int) -> str:
    """The text up to the first new line that is indented by less than `n_indent`; blank lines pass.

    >>> keep_indent("a\\n    b\\n\\n    c\\ndef d", 4)
    'a\\n    b\\n\\n    c'
    """
    lines = text.split("\n")
    for i, line in enumerate(lines[1:], start=1):
        bare = line.lstrip(" \t")
        if bare and len(line) - len(bare) < n_indent:
            return "\n".join(lines[:i]).rstrip("\n")
    return text


def select(answer: dict[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
    """Only llama.cpp's `response_fields`; a path such as timings/prompt_n becomes a flat key."""
    if not wanted:
        return answer
    chosen = {}
    for path in wanted:
        value: Any = answer
        for part in path.split("/"):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            chosen[path] = value
    return chosen
