"""From a request's text to token ids, sampling parameters and choices.

Input: the checked request and the backend. Output: Choices, or an error that names the field at
fault. A prompt without a suffix may hold special tokens (editors that build insertion prompts
themselves send them); look-alikes of them are refused. With a suffix, prompt and suffix are text
and nothing else.

Not here: the order of the insertion tokens (tokens/fim.py) and chat templates (tokens/chat.py).
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from codling.core.errors import RequestError, TokenizerError
from codling.corpus.context import Cursor
from codling.engine.request import Mode, SamplingParams
from codling.serve.backend import Backend
from codling.serve.config import ServeConfig
from codling.serve.errors import too_long_error
from codling.serve.forms import Constrained
from codling.serve.length import refuse_too_long
from codling.serve.run import Choice
from codling.serve.schema import (
    MAX_CHOICES,
    ChatRequest,
    CompletionRequest,
    InfillRequest,
    Message,
    Native,
)
from codling.serve.side_work import Check
from codling.serve.tools import ToolPlan, plan_tools, tool_turns
from codling.tokens.fim import CursorPrompt, insertion_prompt, without_indentation
from codling.tokens.healing import continuation_prompt
from codling.tokens.tokenizer import Tokenizer

_SEED_RANGE = 2**63


def completion_choices(
    check: Check, request: CompletionRequest, backend: Backend, config: ServeConfig
) -> list[Choice]:
    """`n` choices of each prompt, those of a prompt side by side."""
    prompts = request.prompts()
    if len(prompts) * request.n_made > MAX_CHOICES:
        name = "n" if request.n_made == request.n else "best_of"
        raise RequestError(
            f"{len(prompts)} prompts with {name}={request.n_made} make more than {MAX_CHOICES} "
            "completions",
            param=name,
        )
    wanted = config.default_max_tokens if request.max_tokens is None else request.max_tokens
    suffix = _not_to_repeat(request, config)
    choices: list[Choice] = []
    for index, prompt in enumerate(prompts):
        check()
        inserting = inserts(request.suffix, backend.tokenizer) and not request.echo
        if isinstance(prompt, str) and inserting:
            cursor = Cursor(request.path, prompt, request.suffix or "")
            ids = insertion_ids(backend, cursor, wanted, is_exact=_is_exact(request))
            mode: Mode = "insert"
        elif isinstance(prompt, str) and request.path and not request.echo:
            ids = context_ids(backend, Cursor(request.path, prompt), wanted) or _continuation_ids(
                check, backend, prompt, request
            )
            mode = mode_of(ids, backend.tokenizer)
        else:
            ids = _continuation_ids(check, backend, prompt, request)
            mode = mode_of(ids, backend.tokenizer)
        params = _params(check, ids, request, backend, wanted, config)
        first = Choice(prompt_index=index, prompt_ids=ids, params=params, mode=mode, suffix=suffix)
        choices += _repeat(_hide_unlikely(first, request, config), request.n_made)
    return choices


def _continuation_ids(
    check: Check, backend: Backend, prompt: str | list[int], request: CompletionRequest
) -> list[int]:
    """The ids of a prompt that is continued; of a text, those before its last run of blanks,
    letters or marks, with which the answer must begin.

    Not where the answer shows the prompt or every token: all of it has to be there. Another server
    cannot be held to a beginning: only the cursor's indentation is left to it.
    """
    if isinstance(prompt, list) or request.echo or _is_exact(request):
        return plain_ids(check, backend, prompt)
    if backend.can_heal:
        whole = plain_ids(check, backend, prompt)
        return continuation_prompt(backend.tokenizer, prompt, literal=False, whole=whole)
    text, lead = without_indentation(prompt)
    ids = plain_ids(check, backend, text if text.strip() else prompt)
    return CursorPrompt(ids, lead) if text.strip() and lead else ids


def _is_exact(request: CompletionRequest) -> bool:
    """Whether the answer has to begin where the prompt ends, not at the beginning of its word."""
    return request.logprobs is not None or request.form is not None


def chat_choices(
    check: Check, request: ChatRequest, backend: Backend, config: ServeConfig
) -> tuple[list[Choice], ToolPlan | None]:
    """`n` choices of the assistant's next turn, and what its tools mean for them."""
    ids, plan = chat_ids(check, request, backend)
    room = _room(ids, backend, "messages")
    params = _params(check, ids, request, backend, request.limit or room, config)
    if plan is not None:
        params = _with_tools(params, plan, backend)
    return _repeat(Choice(prompt_ids=ids, params=params, mode="chat"), request.n), plan


def _with_tools(params: SamplingParams, plan: ToolPlan, backend: Backend) -> SamplingParams:
    """The parameters with which calls are written; `must` holds the answer to them."""
    known = backend.tokenizer.control_tokens
    marks = tuple(mark for mark in plan.format.marks if mark in known)
    # A call that must come is whole: what a stop string would cut is no text that anyone is shown.
    params = replace(params, marks=marks, stop=() if plan.must else params.stop)
    if params.form is not None:
        if plan.must:
            raise RequestError(
                "tool_choice asks for a call and response_format for another form; send one",
                param="response_format",
            )
        return params
    form = plan.form()
    if form is None:
        return params
    try:
        backend.prepare(form, marks)
    except RequestError as error:
        if plan.must:
            raise RequestError(str(error), param="tools") from None
        return params  # its calls are read all the same
    return replace(params, form=form)


def native_choices(  # noqa: PLR0913 - the request, and what it is asked of
    check: Check, request: Native, ids: list[int], backend: Backend, config: ServeConfig,
    suffix: str = "",
) -> list[Choice]:  # fmt: skip
    """The choices of a llama.cpp request; `ids` is its prompt, `suffix` what it may not repeat."""
    room = _room(ids, backend, "prompt")
    # llama.cpp fills the context; for an insertion, soon made stale by a key, nobody means that.
    endless = config.default_max_tokens if isinstance(request, InfillRequest) else room
    wanted = endless if request.n_predict < 0 else max(1, request.n_predict)
    params = SamplingParams(
        max_tokens=min(wanted, room),
        temperature=request.temperature or 0.0,
        top_p=request.top_p or 1.0,
        top_k=max(0, request.top_k or 0),
        seed=None if request.seed is None or request.seed < 0 else request.seed,
        stop=tuple(request.stop),
        logprobs=request.n_probs or None,
        **_pushes(check, request, backend, config),
    )
    mode = mode_of(ids, backend.tokenizer)
    choice = Choice(prompt_ids=ids, params=params, mode=mode, suffix=suffix)
    # Greedy ones are all the same: the answer repeats it.
    return _repeat(
        _hide_unlikely(choice, request, config), request.n_cmpl if params.temperature else 1
    )


def inserts(suffix: str | None, tokenizer: Tokenizer) -> bool:
    """Whether a request with this suffix is an insertion; RequestError if the model has no tokens
    for it.

    An empty suffix is the end of a file: an insertion where the model can, else a plain completion.
    """
    if suffix and not tokenizer.can_insert:
        raise RequestError(
            "this model has no fill-in-the-middle tokens, so it cannot insert before a suffix; "
            "leave suffix out, or serve a model trained for insertion",
            param="suffix",
        )
    return suffix is not None and tokenizer.can_insert


def context_ids(backend: Backend, cursor: Cursor, wanted: int) -> list[int] | None:
    """The prompt at a cursor of the repository that is followed; None where there is none."""
    return backend.context_prompt(cursor, max(1, min(wanted, backend.max_length // 2)))


def insertion_ids(backend: Backend, cursor: Cursor, wanted: int, *, is_exact: bool) -> list[int]:
    """The insertion prompt; what is too long is cut at the ends far from the cursor.

    The cursor's path, if it has one, brings the files that its file depends on from the repository
    that is followed. An exact prompt ends with the cursor, within a word too.
    """
    if cursor.path and (ids := context_ids(backend, cursor, wanted)):
        return ids
    try:
        return insertion_prompt(
            backend.tokenizer,
            cursor.prefix,
            backend.reach.cut_suffix(backend.tokenizer, cursor.suffix),
            max_tokens=backend.reach.count_room(backend.max_length, wanted),
            heals=backend.can_heal and not is_exact,
        )
    except TokenizerError as error:
        raise RequestError(str(error), param="prompt") from None


def plain_ids(check: Check, backend: Backend, prompt: str | list[int]) -> list[int]:
    """The ids of a prompt without suffix; token ids are taken as they are."""
    tokenizer = backend.tokenizer
    if isinstance(prompt, str):
        refuse_too_long(check, [prompt], tokenizer, backend.max_length, "prompt")
        try:
            return tokenizer.encode_prompt(prompt) or _start(tokenizer)
        except TokenizerError as error:
            raise RequestError(str(error), param="prompt") from None
    if bad := [i for i in prompt if i >= tokenizer.vocab_size]:
        raise RequestError(
            f"prompt: token {bad[0]} is not in the vocabulary of {tokenizer.vocab_size}",
            param="prompt",
        )
    return list(prompt) or _start(tokenizer)


def chat_ids(
    check: Check, request: ChatRequest, backend: Backend
) -> tuple[list[int], ToolPlan | None]:
    """The prompt of a dialogue, and what its tools mean; a last assistant turn with `prefix` is
    continued."""
    messages = request.messages
    texts = [message.text() for message in messages] + [json.dumps(request.tools or "")]
    refuse_too_long(check, texts, backend.tokenizer, backend.max_length, "messages")
    source = backend.chat_format.source(tools=bool(request.tools))
    plan = plan_tools(request.tools, request.tool_choice, request.parallel_tool_calls, source)
    turns = tool_turns([_turn(message) for message in messages], plan, source)
    told = None if plan is None else plan.for_template
    if messages[-1].prefix and messages[-1].role == "assistant":
        begun = turns[-1]["content"]
        return backend.chat_prompt(turns[:-1], begun=begun, tools=told), plan
    return backend.chat_prompt(turns, tools=told), plan


def _turn(message: Message) -> dict[str, Any]:
    """A message as templates take it."""
    role = {"developer": "system", "function": "tool"}.get(message.role, message.role)
    turn: dict[str, Any] = {"role": role, "content": message.text()}
    if message.tool_calls:
        turn |= {"tool_calls": message.tool_calls}
        turn["content"] = message.text() or None
    if message.tool_call_id:
        turn["tool_call_id"] = message.tool_call_id
    if message.name:
        turn["name"] = message.name
    return turn


def mode_of(ids: Sequence[int], tokenizer: Tokenizer) -> Mode:
    """ "insert" if the prompt ends like an insertion prompt, else "complete"."""
    specials = tokenizer.specials
    hole = specials.fim_hole
    return "insert" if hole is not None and hole in ids else "complete"


def _start(tokenizer: Tokenizer) -> list[int]:
    """What an empty prompt begins with: the start of a document."""
    specials = tokenizer.specials
    start = specials.bos if specials.bos is not None else specials.eos
    if start is None:
        raise RequestError("the prompt is empty; send at least one character", param="prompt")
    return [start]


def _room(ids: Sequence[int], backend: Backend, param: str) -> int:
    room = backend.max_length - len(ids)
    if room < 1:
        raise too_long_error(len(ids), backend.max_length, param)
    return room


def _params(  # noqa: PLR0913 - the request, and what it is asked of
    check: Check,
    ids: Sequence[int],
    request: CompletionRequest | ChatRequest,
    backend: Backend,
    wanted: int,
    config: ServeConfig,
) -> SamplingParams:
    logprobs = request.n_logprobs
    if logprobs is None and request.n_made > request.n:
        logprobs = 0  # to choose the likeliest by
    return SamplingParams(
        max_tokens=max(1, min(wanted, _room(ids, backend, "prompt"))),
        temperature=request.temperature or 0.0,
        top_p=request.top_p or 1.0,
        top_k=max(0, request.top_k or 0),
        seed=None if request.seed is None else request.seed % _SEED_RANGE,
        stop=tuple(request.stop),
        stop_token_ids=tuple(request.stop_token_ids),
        logprobs=logprobs,
        **_pushes(check, request, backend, config),
    )


def _pushes(
    check: Check, request: Constrained, backend: Backend, config: ServeConfig
) -> dict[str, Any]:
    """The parameters that forms, penalties and biases make."""
    wanted = request.stop_at_loop
    form = request.form
    if form is not None:
        check()
        backend.prepare(form)
    return {
        "form": form,
        "logit_bias": request.biases,
        "frequency_penalty": request.frequency_penalty,
        "presence_penalty": request.presence_penalty,
        "repetition_penalty": request.repetition,
        "stop_loops": config.stop_at_loop if wanted is None else wanted,
    }


def _hide_unlikely(choice: Choice, request: Constrained, config: ServeConfig) -> Choice:
    """The choice with the log-probability under which it stays away, if it is an insertion."""
    wanted = config.show_from if request.min_logprob is None else request.min_logprob
    if wanted is None or choice.mode != "insert" or request.form is not None:
        return choice
    shows = choice.params.logprobs is not None
    params = choice.params if shows else replace(choice.params, logprobs=0)
    return replace(choice, params=params, min_logprob=wanted, shows_logprobs=shows)


def _repeat(choice: Choice, n: int) -> list[Choice]:
    """`n` choices like this one, each with a seed of its own."""
    return [replace(choice, params=params) for params in choice.params.choices(n)]


def _not_to_repeat(request: CompletionRequest, config: ServeConfig) -> str:
    """The suffix, if the insertion ends where it begins to repeat it.

    Not with logprobs, whose lists name every token of the text.
    """
    wanted = config.stop_at_suffix if request.stop_at_suffix is None else request.stop_at_suffix
    return (request.suffix or "") if wanted and request.logprobs is None else ""
