"""The settings of `codling serve`.

Not here: any import of torch or of the HTTP libraries; --help must stay fast.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from codling.core.errors import ConfigError
from codling.core.ranges import ContextLength, Count, Range, Ranged, Seconds
from codling.engine.config import FORMER_NAMES, CacheForm, ContextReach, Precision, SuffixReach

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@]+", re.ASCII)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts that only programs on this machine can reach."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """What one connection may cost."""

    request_seconds: float = 30.0
    """From the first byte of a request, or from the opening of the connection, to its end."""
    reading_seconds: float = 60.0
    """How long the client may leave an answer unread that no longer fits into the buffers."""
    max_connections: int = 512


@dataclass(frozen=True, kw_only=True)
class ServeConfig(Ranged):
    """What `codling serve` serves, and where."""

    RENAMED: ClassVar[Mapping[str, str]] = FORMER_NAMES

    model: Path
    """A run's folder, a checkpoint's folder, a .gguf file, or ORGANISATION/MODEL on the hub; with
    --upstream, the folder that has its tokenizer."""
    host: str = "127.0.0.1"
    """Address to listen on; anything but this machine's own address needs an API key."""
    port: Annotated[int, Range(0, 65_535)] = 8000
    """Port to listen on; 0 takes a free one."""
    name: str | None = None
    """The model's name in /v1/models and in answers; by default the run's, the folder's or the
    file's."""
    api_key: str | None = None
    """Key that clients must send; prefer --api-key-file or the variable CODLING_API_KEY, which do
    not show in the list of processes."""
    api_key_file: Path | None = None
    """File whose first line is the API key."""
    upstream: str | None = None
    """Base URL of a vLLM, SGLang, llama.cpp or other OpenAI-like server that runs the model;
    codling then builds the insertion and chat prompts and passes the tokens on."""
    upstream_key: str | None = None
    """API key for the upstream server."""
    chat_template: str | None = None
    """Chat template by name (chatml, coder-v1, codling, starcoder2, v2, or one of several that the
    checkpoint has), or a file; by default the checkpoint's own, and no chat if it has none."""
    precision: Precision = "auto"
    """How weights are held: float32 is exact; bfloat16, int8 and int4 are smaller and faster on
    CPU. auto is int8 there: files of 4 to 8 bits as they are stored, others rounded to 8."""
    cache: CacheForm = "auto"
    """How keys and values are held: auto is float32 beside float32 weights and bfloat16 beside
    others; int8 takes half the memory of bfloat16, on CPUs."""
    adapter: Path | None = None
    """Adapter (codling adapt, or peft's LoRA) that is added to the model's weights."""
    runtime_adapters: bool = False
    """Let clients load another adapter from a folder of this machine while the server runs (POST
    /v1/load_lora_adapter, as in vLLM), as codling grpo --api does."""
    memory: Path | None = None
    """Memory of a repository (codling memory) that completions and insertions may repeat."""
    repo: Path | None = None
    """Repository or folder whose code completions and insertions may repeat, followed while it
    changes; requests that name their `path` get the files that theirs depends on in front. Takes
    the weights of --memory, if given."""
    speculate: bool = True
    """Let the model try tokens that followed the same text in the prompt or the memory: the answer
    stays the same, and comes sooner where code repeats itself."""
    warm: bool = False
    """Answer two short prompts before the server says that it is ready, so that the first request
    does not wait for what is compiled or read at the first use."""
    log_completions: Path | None = None
    """File that notes which completions were shown and, where clients tell, taken or typed over;
    only hashes and lengths of their text. Off by default."""
    log_text: bool = False
    """Note the text too, prompts and all, as training on it needs (codling data accepted)."""
    max_streams: Annotated[int, Range(1, 65_536)] = 16
    """Completions that are computed together; more wait."""
    max_waiting: Annotated[int, Range(0, 1_000_000)] = 64
    """Completions that may wait; beyond that the server answers 503 and the client tries again."""
    max_length: ContextLength | None = None
    """Longest prompt plus completion in tokens; by default the model's context."""
    default_max_tokens: Count = 128
    """Length of a completion, in tokens, when the request names none."""
    context_tokens: ContextReach = "auto"
    """Tokens of an insertion's prompt, and of one with files of --repo, at most; auto is 2,048 on
    CPUs, which take minutes to read a context of 32,768, and all that has room elsewhere."""
    suffix_tokens: SuffixReach = "auto"
    """Tokens after the cursor that an insertion's prompt takes at most, for models that read them
    last (PSM) and so again at every word; auto is 256 on CPUs, and all that has room elsewhere."""
    stop_at_suffix: bool = True
    """Cut an insertion where it begins to repeat the lines after the cursor."""
    stop_at_loop: bool = True
    """End an answer that repeats the same few tokens without end (eight times or more, over 64
    tokens or more)."""
    min_logprob: Annotated[float, Range(-1000, 0)] | Literal["auto"] | None = None
    """Insertions whose first line has a lower mean log-probability stay away; auto takes what
    codling calibrate found for this model."""
    keep_alive_seconds: Seconds = 15.0
    """A waiting stream sends a comment line this often, so that proxies do not close it."""
    max_body_bytes: Count = 8 * 2**20
    """Longest request body."""
    request_seconds: Seconds = Patience.request_seconds
    """Seconds within which a whole request must arrive after its first byte."""
    max_connections: Annotated[int, Range(1, 1_000_000)] = Patience.max_connections
    """Open connections; beyond that the oldest that only waits is closed for a new one."""
    cors_origins: tuple[str, ...] = ()
    """Origins of other web pages that may call this server, such as https://editor.example."""

    def __post_init__(self) -> None:
        """Raise ConfigError for a setting that cannot work."""
        super().__post_init__()
        if self.api_key and self.api_key_file:
            raise ConfigError("serve: give api_key or api_key_file, not both")
        for origin in self.cors_origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ConfigError(
                    f"serve: cors_origins has {origin}; an origin is a scheme and a host, such as "
                    "https://editor.example, without a path or a slash at its end"
                )
        if self.log_text and self.log_completions is None:
            raise ConfigError("serve: log_text needs log_completions, the file that it goes to")
        if self.upstream and (self.repo or self.memory):
            raise ConfigError("serve: repo and memory work with our own engine, not an upstream's")
        if self.upstream and self.runtime_adapters:
            raise ConfigError("serve: runtime_adapters are for our own engine, not an upstream's")
        if self.upstream and (self.warm or self.min_logprob == "auto"):
            raise ConfigError(
                "serve: warm and min_logprob auto work with our own engine, not an upstream's"
            )
        if self.upstream and not self.upstream.startswith(("http://", "https://")):
            raise ConfigError(f"serve: upstream is {self.upstream}; it must begin with http://")

    @property
    def show_from(self) -> float | None:
        """The log-probability from which insertions are shown; None shows all."""
        assert self.min_logprob != "auto", "serve() looks it up first"
        return self.min_logprob

    @property
    def patience(self) -> Patience:
        """The limits of connections."""
        return Patience(request_seconds=self.request_seconds, max_connections=self.max_connections)

    @property
    def is_private(self) -> bool:
        """True if only this machine can reach the server."""
        return self.host in LOOPBACK
