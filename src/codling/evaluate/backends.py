"""Where answers come from: our own engine, an OpenAI-compatible server, the benchmark itself, or a
file of answers.

Input: a Prompt and how to sample. Output: an Answer. `answer` may be called from several threads:
the engine batches what is asked at the same time, and a server gets as many requests at once as
the config allows.

Not here: formats of foreign files (foreign.py) and what is asked (tasks/).
"""

import hashlib
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

import httpx

from codling.checkpoint.hub import has_model
from codling.core.artifact import open_artifact
from codling.core.errors import CheckpointError, ConfigError, RequestError, SourceError
from codling.core.folder_walk import files_below
from codling.core.foreign_json import parse_row
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.task import Prompt, Sampling

NO_JUDGE = "this benchmark's answers are judged by a model: give --judge-api URL"
_RETRIES = 6
_PAUSE = 0.5
"""Seconds before the second attempt; doubled before each further one."""
_LONGEST_WAIT = 60.0
"""Seconds that a server's Retry-After is obeyed for."""
_TRANSIENT = (408, 409, 429, 500, 502, 503, 504)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to one prompt."""

    text: str
    finish: str = ""
    """"stop" or "length", as far as known."""
    n_tokens: int = 0
    seconds: float = 0.0
    logprobs: Mapping[str, float] = field(default_factory=dict)
    """What the first token could be, where it was asked for."""
    options: tuple[float, ...] = ()
    """Log-probabilities of a prompt's options."""
    alone: tuple[float, ...] = ()
    """The same without the prompt, where the ranking needs it."""


class AnswerBackend(Protocol):
    """Answers prompts."""

    @property
    def identity(self) -> str:
        """Names the model exactly: part of every stored answer's key."""
        ...

    def check(self, prompt: Prompt, sampling: Sampling) -> None:
        """RequestError for a prompt that cannot be answered: told before the first is asked."""

    def answer(self, prompt: Prompt, sampling: Sampling, seed: int | None) -> Answer:
        """One answer; `seed` None is greedy."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...


def open_backend(config: BenchmarkConfig) -> AnswerBackend:
    """The backend that the config names; ConfigError unless it is exactly one."""
    if (config.model is None) == (config.api is None):
        raise ConfigError("evaluate needs a --model PATH or an --api URL (one of them)")
    if config.api is not None:
        return ApiBackend(config)
    assert config.model is not None
    return EngineBackend.open(config.model, config)


def open_judge(config: BenchmarkConfig) -> AnswerBackend:
    """The judge that the config names."""
    if config.judge_api is None:
        raise ConfigError(NO_JUDGE)
    return ApiBackend(
        replace(
            config,
            api=config.judge_api,
            api_model=config.judge_model,
            api_key_variable=config.judge_key_variable,
        )
    )


class EngineBackend:
    """Our own engine; requests from all threads run in one batch."""

    def __init__(self, engine: Any, identity: str, config: BenchmarkConfig) -> None:  # noqa: ANN401
        """`engine` is a TextEngine (not named as a type: importing it takes torch)."""
        self._engine, self._identity, self._config = engine, identity, config

    @classmethod
    def open(cls, path: Path, config: BenchmarkConfig) -> Self:
        """Load a checkpoint folder or .gguf file."""
        from codling.engine.text import TextEngine

        if not has_model(path):
            raise CheckpointError(f"no checkpoint at {path}")
        identity = answering_identity(path, config.adapter)
        engine = TextEngine.open(
            path,
            adapter=config.adapter,
            precision=config.precision,
            max_streams=config.concurrency,
            max_length=config.max_length or None,
        )
        return cls(engine, f"{identity} {engine.precision}", config)

    @property
    def identity(self) -> str:
        """Content hash of the checkpoint, and the precision."""
        return self._identity

    def check(self, prompt: Prompt, sampling: Sampling) -> None:
        """RequestError for a prompt that the model, or --max-length, has no room for."""
        if prompt.options:
            whole = (prompt.text or "") + max(prompt.options, key=len)
            self._check_length(len(self._engine.complete_prompt(whole)))
        else:
            self._check_length(len(self._ids(prompt, sampling)[0]) + 1)

    def answer(self, prompt: Prompt, sampling: Sampling, seed: int | None) -> Answer:
        """Generate, or choose among options by log-likelihood."""
        from codling.engine.request import SamplingParams

        started = time.monotonic()
        if prompt.options:
            return rank_options(prompt, self._option_sums)
        params = SamplingParams(
            max_tokens=sampling.max_tokens,
            stop=sampling.stop,
            temperature=0.0 if seed is None else temperature_of(sampling, self._config),
            top_p=1.0 if seed is None else self._config.top_p,
            seed=seed,
        )
        ids, mode = self._ids(prompt, sampling)
        self._check_length(len(ids) + 1)
        parts = list(self._engine.submit(ids, params, mode=mode))
        return Answer(
            text="".join(part.text for part in parts),
            finish=parts[-1].finish_reason or "",
            n_tokens=sum(len(part.token_ids) for part in parts),
            seconds=time.monotonic() - started,
        )

    def close(self) -> None:
        """Stop the engine's thread."""
        self._engine.close()

    def _check_length(self, n_tokens: int) -> None:
        if n_tokens > self._engine.max_length:
            raise RequestError(
                f"a prompt and the beginning of its answer take {n_tokens} tokens, but may have at "
                f"most {self._engine.max_length} here: raise --max-length, or choose a model with "
                "a longer context"
            )

    def _ids(self, prompt: Prompt, sampling: Sampling) -> tuple[list[int], str]:
        if prompt.messages is not None:
            return self._engine.chat_prompt(prompt.messages), "chat"
        if prompt.hole is not None:
            return self._engine.insert_prompt(
                *prompt.hole,
                max_tokens=sampling.max_tokens,
                heals=False,  # as published
            ), "insert"
        assert prompt.text is not None
        return self._engine.complete_prompt(prompt.text), "complete"

    def _option_sums(self, text: str, options: Sequence[str]) -> list[float]:
        """The log-probability of each option after a text.

        Text and option are encoded together, and what comes after the text's own tokens counts.
        """
        start = self._engine.complete_prompt(text)
        wholes = [self._engine.complete_prompt(text + option) for option in options]
        rests = [whole[len(start) :] for whole in wholes]
        sums: list[float] = self._engine.score_options(start, rests)
        return sums


class ApiBackend:
    """An OpenAI-compatible server: /completions (with suffix for holes) and /chat/completions."""

    def __init__(
        self, config: BenchmarkConfig, transport: httpx.BaseTransport | None = None
    ) -> None:
        """`transport` replaces the network in tests."""
        assert config.api is not None
        key = os.environ.get(config.api_key_variable, "")
        self._config = config
        self._client = httpx.Client(
            base_url=config.api.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(600.0, connect=10.0),
            limits=httpx.Limits(max_connections=config.concurrency),
            transport=transport,
        )
        self._pause = _PAUSE

    @property
    def identity(self) -> str:
        """Address and model name: only its owner knows what a server runs."""
        return f"{self._config.api} {self._config.api_model}"

    def check(self, prompt: Prompt, sampling: Sampling) -> None:
        """Nothing: only the server knows its model's context."""

    def answer(self, prompt: Prompt, sampling: Sampling, seed: int | None) -> Answer:
        """One request; busy servers are retried with exponential backoff."""
        started = time.monotonic()
        if prompt.options:
            return rank_options(prompt, self._option_sums)
        body: dict[str, Any] = {
            "model": self._config.api_model or "default",
            "max_tokens": sampling.max_tokens,
            "temperature": 0.0 if seed is None else temperature_of(sampling, self._config),
        }
        if sampling.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": sampling.top_logprobs}
        if seed is not None:
            body |= {"top_p": self._config.top_p, "seed": seed}
        if sampling.stop:
            body["stop"] = list(sampling.stop[:4])  # OpenAI's limit; all are applied again below
        choice, usage = self._choice(prompt, body)
        text = _read_text_of(choice if prompt.messages is not None else {"text": choice["text"]})
        from codling.grading.extract import cut_at

        return Answer(
            text=cut_at(text, sampling.stop),
            finish=choice.get("finish_reason") or "",
            n_tokens=usage.get("completion_tokens", 0),
            seconds=time.monotonic() - started,
            logprobs=_first_logprobs(choice) if sampling.top_logprobs else {},
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _choice(
        self, prompt: Prompt, body: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        if prompt.messages is not None:
            reply = self._post("chat/completions", body | {"messages": list(prompt.messages)})
        elif prompt.hole is not None:
            prefix, suffix = prompt.hole
            reply = self._post("completions", body | {"prompt": prefix, "suffix": suffix})
        else:
            reply = self._post("completions", body | {"prompt": prompt.text})
        return reply["choices"][0], reply.get("usage") or {}

    def _option_sums(self, text: str, options: Sequence[str]) -> list[float]:
        """The log-probability of each option after a text: the server echoes both with their
        log-probabilities."""
        wholes = [text + option for option in options]
        body: dict[str, Any] = {
            "model": self._config.api_model or "default",
            "prompt": wholes,
            "max_tokens": 1,  # 0 is refused by some servers
            "temperature": 0.0,
            "echo": True,
            "logprobs": 1,
        }
        try:
            choices = self._post("completions", body)["choices"]
            by_index = sorted(choices, key=lambda choice: int(choice["index"]))
            return [
                _option_score(choice, whole, option)
                for choice, whole, option in zip(by_index, wholes, options, strict=True)
            ]
        except (RequestError, KeyError, TypeError, ValueError) as error:
            raise RequestError(
                f"{self._config.api} gives no log-probabilities of a prompt (/completions with "
                f"echo and logprobs): use --model or --style instruct ({error})"
            ) from None

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        reason, asked = "", 0.0
        for attempt in range(_RETRIES):
            if attempt:
                time.sleep(max(asked, self._pause * 2 ** (attempt - 1)))
            try:
                reply = self._client.post(path, json=body)
            except httpx.TransportError as error:
                reason = str(error) or type(error).__name__
                continue
            if reply.status_code == 200:
                if (answer := _completion(reply.content)) is not None:
                    return answer
                reason = f"no completion: {_one_line(reply.text)}"
                continue
            reason = f"status {reply.status_code}: {_one_line(reply.text)}"
            asked = _seconds_to_wait(reply)
            if reply.status_code not in _TRANSIENT:
                break
        raise RequestError(
            f"{self._client.base_url}{path} does not answer: {reason} (what was answered is kept: "
            "the same command goes on there)"
        )


def _completion(content: bytes) -> dict[str, Any] | None:
    """A body in the form of a completion; None for any other, as a proxy in trouble may send."""
    try:
        body = parse_row(content, "the answer")
    except SourceError:
        return None
    match body:
        case {"choices": [{"text": str() | None} | {"message": {}}, *_]}:
            return dict(body)
    return None


def _read_text_of(choice: Mapping[str, Any]) -> str:
    """The text of a choice; a message's content may come in parts."""
    content = (choice.get("message") or {"content": choice.get("text")}).get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content)
    return content if isinstance(content, str) else ""


def _seconds_to_wait(reply: httpx.Response) -> float:
    """What a busy server asks for, within bounds."""
    said = reply.headers.get("retry-after", "")
    return min(float(said), _LONGEST_WAIT) if said.isdecimal() else 0.0


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def rank_options(prompt: Prompt, sums_after: Callable[[str, Sequence[str]], list[float]]) -> Answer:
    """The likeliest option, with all log-probabilities."""
    assert prompt.text is not None
    started = time.monotonic()
    sums = tuple(sums_after(prompt.text, prompt.options))
    alone = tuple(sums_after(prompt.alone, prompt.options)) if prompt.ranking == "alone" else ()
    text = prompt.choose(sums, alone)
    seconds = time.monotonic() - started
    return Answer(text=text, finish="stop", options=sums, alone=alone, seconds=seconds)


def temperature_of(sampling: Sampling, config: BenchmarkConfig) -> float:
    """The user's temperature, else the benchmark's own."""
    return config.temperature or sampling.temperature


def _first_logprobs(choice: Mapping[str, Any]) -> dict[str, float]:
    """What the first token of a chat's answer could be, as far as the server says."""
    content = (choice.get("logprobs") or {}).get("content") or [{}]
    top = content[0].get("top_logprobs") or []
    return {str(each["token"]): float(each["logprob"]) for each in top}


def _option_score(choice: dict[str, Any], whole: str, option: str) -> float:
    """The sum over the tokens of `option`, at the end of the echoed text `whole`.

    Found from the end by the tokens' texts, not by offsets: these go wrong after a character
    that is split between tokens. One generated token may follow; its text may be empty.
    """
    tokens, logprobs = choice["logprobs"]["tokens"], choice["logprobs"]["token_logprobs"]
    last = len(tokens) - (len(choice["text"]) > len(whole))
    for end in (last, last - 1):
        begin, said = end, ""
        while begin > 0 and len(said) < len(option):
            begin -= 1
            said = tokens[begin] + said
        if said.endswith(option):
            return math.fsum(logprobs[begin:end])
    raise ValueError("the option is not at the end of the echo")


def answering_identity(path: Path, adapter: Path | None) -> str:
    """`model_identity` of a model and of the adapter that goes with it."""
    # Which load torch.
    from codling.checkpoint.adapter import adapter_path
    from codling.checkpoint.of_run import model_and_adapter

    weights, added = model_and_adapter(path, adapter)
    more = [] if added is None else [model_identity(adapter_path(added))]
    return " + ".join([model_identity(weights), *more])


def model_identity(path: Path) -> str:
    """A name that changes with the weights: an artefact's id, else a hash of names, sizes and
    ends of files."""
    manifest = path / "manifest.json"
    if manifest.is_file():
        return f"{path.name} {open_artifact(path).id}"
    digest = hashlib.sha256()
    for file in files_below(path) if path.is_dir() else [path]:
        if file.is_file():
            size = file.stat().st_size
            with file.open("rb") as opened:
                digest.update(f"{file.name} {size}".encode() + opened.read(1 << 20))
                opened.seek(max(0, size - (1 << 20)))
                digest.update(opened.read())
    return f"{path.name} {digest.hexdigest()[:16]}"
