"""The requests that the server understands: OpenAI's and DeepSeek's completions and chat,
llama.cpp's.

Input: JSON. Output: checked pydantic models. Fields that we do not know are let pass, because
every client sends some; fields that we know and cannot honour are refused with a message that
says so.

Not here: prompts (prompts.py) and answers (completions.py, chat.py, infill.py).
"""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StrictInt,
    Tag,
    ValidationError,
)

from codling.core.errors import RequestError
from codling.engine.request import MAX_TOP_LOGPROBS
from codling.serve.forms import Constrained

MAX_STOPS = 64
MAX_CHOICES = 64
_MAX_STOP_CHARS = 4096
_MAX_PROMPT_IDS = 2**20
"""Longer than any context: such a list is refused before its members are looked at."""
_MAX_OUTCOME_CHARS = 100_000
_MAX_PATH_CHARS = 4096
_MAX_TURNS = 4096
_MAX_PARTS = 256
_MAX_EXTRA_FILES = 1024


def _as_stops(value: object) -> object:
    """None, one string or a list, as a list without empty strings."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value] if value else []
    return [v for v in value if v != ""] if isinstance(value, list) else value


def _prompt_form(value: object) -> str:
    """Which of its four forms a prompt has, by its first member."""
    if not isinstance(value, list):
        return "text"
    first = value[0] if value else ""
    if isinstance(first, str):
        return "texts"
    return "id-lists" if isinstance(first, list) else "ids"


def _without_endless(limit: object) -> object:
    """-1 is llama.cpp's word for no limit; its clients send it here, too."""
    return None if limit == -1 else limit


Stop = Annotated[str, Field(max_length=_MAX_STOP_CHARS)]
Stops = Annotated[
    list[Stop], Field(max_length=MAX_STOPS, fail_fast=True), BeforeValidator(_as_stops)
]
Temperature = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
TopP = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
TokenId = Annotated[StrictInt, Field(ge=0, lt=2**31)]
TokenIds = Annotated[list[TokenId], Field(max_length=_MAX_PROMPT_IDS, fail_fast=True)]
EndIds = Annotated[list[TokenId], Field(max_length=MAX_STOPS, fail_fast=True)]
Prompt = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[TokenIds, Tag("ids")]
    | Annotated[list[str], Field(max_length=MAX_CHOICES, fail_fast=True), Tag("texts")]
    | Annotated[list[TokenIds], Field(max_length=MAX_CHOICES, fail_fast=True), Tag("id-lists")],
    Discriminator(_prompt_form),
]
Path = Annotated[str, Field(max_length=_MAX_PATH_CHARS)]
OnePrompt = Annotated[
    Annotated[str, Tag("text")] | Annotated[TokenIds, Tag("ids")],
    Discriminator(lambda value: "ids" if isinstance(value, list) else "text"),
]


class StreamOptions(BaseModel):
    """Options of a streamed answer."""

    include_usage: Annotated[bool, BeforeValidator(lambda value: value or False)] = False
    """A null is the default."""


class GenerationRequest(Constrained):
    """What completions and chat share."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: Stops = Field(default_factory=list)
    stop_token_ids: EndIds = Field(default_factory=list)
    n: int = Field(default=1, ge=1, le=MAX_CHOICES)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    user: str | None = None

    @property
    def wants_usage(self) -> bool:
        """True if a stream ends with a chunk that counts tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)


class CompletionRequest(GenerationRequest):
    """POST /v1/completions: continue a prompt, or insert between `prompt` and `suffix`."""

    prompt: Prompt
    suffix: str | None = None
    max_tokens: int | None = Field(default=None, ge=0)
    echo: bool = False
    best_of: int | None = Field(default=None, ge=1, le=MAX_CHOICES)
    """So many choices are made, and the `n` likeliest of them answered."""
    logprobs: int | None = Field(default=None, ge=0, le=20)
    return_token_ids: bool = False
    """vLLM's: each choice also has the ids of its tokens; needs logprobs here."""
    path: Path = ""
    """Ours: the file that is edited, of the repository that the server follows."""
    stop_at_suffix: StrictBool | None = None
    """Ours: cut an insertion where it begins to repeat the suffix; default: the server's."""

    def refuse_unsupported(self) -> None:
        """Raise RequestError for a setting or a combination that is not implemented."""
        super().refuse_unsupported()
        if self.n_made < self.n:
            raise RequestError("best_of must be at least n", param="best_of")
        if self.return_token_ids and self.logprobs is None:
            raise RequestError("return_token_ids needs logprobs", param="return_token_ids")
        if self.n_made > self.n and self.stream:
            raise RequestError(
                "best_of needs whole answers to choose from; leave stream out", param="best_of"
            )
        if self.suffix and not isinstance(self.prompt, str):
            raise RequestError("with suffix, prompt must be one string", param="prompt")
        if self.echo and self.suffix:
            raise RequestError("echo and suffix exclude each other", param="echo")

    @property
    def n_logprobs(self) -> int | None:
        """How many alternatives to give with each token's log-probability; None: none at all."""
        return self.logprobs

    @property
    def n_made(self) -> int:
        """How many choices of each prompt are made."""
        return self.n if self.best_of is None else self.best_of

    def prompts(self) -> list[str | list[int]]:
        """The prompts as a list, whichever of the four forms came in."""
        prompt: Any = self.prompt
        if isinstance(prompt, str):
            return [prompt]
        if not prompt:
            raise RequestError("prompt is an empty list", param="prompt")
        if isinstance(prompt[0], int):
            return [prompt]
        many: list[str | list[int]] = prompt
        return many


class ContentPart(BaseModel):
    """One part of a message's content; only text is understood."""

    type: str
    text: str | None = None


Parts = Annotated[list[ContentPart], Field(max_length=_MAX_PARTS, fail_fast=True)]


class Message(BaseModel):
    """One turn of a dialogue."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Parts | None = None
    tool_calls: list[Any] | None = Field(default=None, max_length=_MAX_PARTS)
    tool_call_id: str | None = None
    name: str | None = None
    prefix: bool = False
    """DeepSeek's: on a last assistant turn, the answer continues this text."""

    def text(self) -> str:
        """The content as one string; RequestError for images, sound or files."""
        if isinstance(self.content, str):
            return self.content
        parts = self.content or []
        for part in parts:
            if part.type != "text":
                raise RequestError(
                    f"content of type {part.type} is not supported", param="messages"
                )
        return "".join(part.text or "" for part in parts)


Messages = Annotated[list[Message], Field(min_length=1, max_length=_MAX_TURNS, fail_fast=True)]


class ChatRequest(GenerationRequest):
    """POST /v1/chat/completions."""

    messages: Messages
    max_tokens: Annotated[int | None, BeforeValidator(_without_endless)] = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    n_predict: int | None = Field(default=None, ge=-1)
    """llama.cpp's: the length where the others are left out; 0 warms up and says one token."""
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    tools: list[Any] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None

    @property
    def n_made(self) -> int:
        """How many choices are made."""
        return self.n

    @property
    def n_logprobs(self) -> int | None:
        """How many alternatives to give with each token's log-probability; None: none at all."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def limit(self) -> int | None:
        """The wanted length; max_completion_tokens is the newer spelling and wins."""
        wanted = self.max_completion_tokens or self.max_tokens
        if wanted is None and self.n_predict is not None and self.n_predict >= 0:
            return max(1, self.n_predict)
        return wanted


class ResponsesRequest(GenerationRequest):
    """POST /v1/responses."""

    input: str | list[Any]
    instructions: str | None = None
    max_output_tokens: int | None = Field(default=None, ge=1)
    tools: list[Any] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    text: dict[str, Any] | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    background: bool | None = None
    conversation: Any = None
    metadata: dict[str, Any] | None = None

    def refuse_unsupported(self) -> None:
        """Raise RequestError for a setting that is not implemented."""
        super().refuse_unsupported()
        if self.background:
            raise RequestError("background is not supported; leave it out", param="background")
        if self.conversation:
            raise RequestError(
                "conversation is not supported; use previous_response_id", param="conversation"
            )
        if self.n > 1:
            raise RequestError("a response has one answer; leave n out", param="n")

    def as_chat(self, messages: list[dict[str, Any]]) -> ChatRequest:
        """The same as a chat request."""
        shared = {
            name: getattr(self, name)
            for name in GenerationRequest.model_fields
            if name in self.model_fields_set
        }
        given: dict[str, Any] = {
            "tools": self.tools,
            "tool_choice": self.tool_choice,
            "parallel_tool_calls": self.parallel_tool_calls,
            "max_completion_tokens": self.max_output_tokens,
        }
        if (wanted := (self.text or {}).get("format")) is not None:
            if not isinstance(wanted, dict):
                raise RequestError("text.format must be an object with a type", param="text")
            given["response_format"] = wanted
        try:
            return ChatRequest.model_validate({"messages": messages, **shared, **given})
        except ValidationError as error:
            first = error.errors()[0]
            raise RequestError(f"input: {first['msg'].lower()}", param="input") from None


class OutcomeRequest(BaseModel):
    """POST /v1/completions/{id}/outcome: what became of a choice."""

    model_config = ConfigDict(extra="ignore")

    outcome: Literal["taken", "typed", "dismissed"]
    """Taken, whole or in part; something else was typed in its place; or neither."""
    index: int = Field(default=0, ge=0, le=MAX_CHOICES)
    text: str | None = Field(default=None, max_length=_MAX_OUTCOME_CHARS)
    """What was taken of it, or typed in its place; left out: all of it was taken."""


class ForgetRequest(BaseModel):
    """POST /v1/memory/forget: a file that nothing may come from any more."""

    path: str = Field(min_length=1, max_length=_MAX_PATH_CHARS)
    repo: str | None = Field(default=None, max_length=_MAX_PATH_CHARS)
    """Its repository, where the memory holds several that have the path."""


class ExtraFile(BaseModel):
    """A piece of another file that helps an insertion."""

    filename: str = ""
    text: str = ""


class Native(Constrained):
    """What llama.cpp's /completion and /infill share."""

    model_config = ConfigDict(extra="ignore")

    n_predict: int = Field(default=-1, ge=-1)
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: Stops = Field(default_factory=list)
    stream: bool = False
    n_probs: int = Field(default=0, ge=0, le=MAX_TOP_LOGPROBS)
    """Give the log-probability of each token, and so many alternatives; 0 gives none."""
    post_sampling_probs: bool = False
    cache_prompt: bool = True
    n_indent: int = Field(default=0, ge=0)
    t_max_prompt_ms: float = 0
    t_max_predict_ms: float = 0
    response_fields: list[str] = Field(default_factory=list, max_length=64)
    user: str | None = None
    n_cmpl: int = Field(default=1, ge=1, le=MAX_CHOICES)
    """So many answers, as a list where it is more than one."""

    def refuse_unsupported(self) -> None:
        """Raise RequestError for a setting or a combination that is not implemented."""
        super().refuse_unsupported()
        if self.post_sampling_probs and self.n_probs:
            raise RequestError(
                "post_sampling_probs is not supported: probabilities are the model's own; leave it "
                "out",
                param="post_sampling_probs",
            )
        if self.n_cmpl > 1 and self.stream:
            raise RequestError("n_cmpl above 1 is not streamed; leave stream out", param="n_cmpl")


class NativeRequest(Native):
    """POST /completion: continue a prompt."""

    prompt: OnePrompt = ""


class InfillRequest(Native):
    """POST /infill: insert between `input_prefix` + `prompt` and `input_suffix`."""

    path: Path = ""
    """Ours: the file that is edited, of the repository that the server follows."""
    prompt: str = ""
    input_prefix: str = ""
    input_suffix: str = ""
    input_extra: list[ExtraFile] = Field(
        default_factory=list, max_length=_MAX_EXTRA_FILES, fail_fast=True
    )
