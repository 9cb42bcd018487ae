"""The verbs that generate text: complete, insert and chat.

Input: their configs. Output: the generated text, piece by piece, for the command line to print.

Not here: the server (serve/), and how prompts are built (tokens/, corpus/context.py).
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from codling.core.errors import ConfigError
from codling.core.foreign_files import read_text
from codling.core.ranges import (
    ContextLength,
    Count,
    CountFromZero,
    PositiveShare,
    Ranged,
    Seed,
    Temperature,
    Workers,
)
from codling.core.recipe import aside
from codling.corpus.context import Cursor, RepositoryContext
from codling.engine.config import FORMER_NAMES, CacheForm, ContextReach, Precision, SuffixReach
from codling.engine.reach import CursorReach
from codling.engine.request import Mode, SamplingParams
from codling.engine.text import TextEngine

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
"""As editors count lines: a form feed or U+2028 ends none."""


@dataclass(frozen=True, kw_only=True)
class GenerateConfig(Ranged):
    """What all verbs that generate text share."""

    RENAMED: ClassVar[Mapping[str, str]] = FORMER_NAMES

    model: Path
    """A run's folder, a checkpoint's folder, a .gguf file, or ORGANISATION/MODEL on the hub."""
    max_tokens: Count = 128
    """Tokens to generate at most."""
    temperature: Temperature = 0.0
    """0 takes the likeliest token; 1 samples from the model's distribution."""
    top_p: PositiveShare = 1.0
    """Sample from the likeliest tokens that together have this probability."""
    top_k: CountFromZero = 0
    """Sample from this many likeliest tokens; 0 means all."""
    seed: Seed | None = None
    """The same seed gives the same text, alone or in any batch (float32 on the CPU)."""
    stop: tuple[str, ...] = ()
    """Strings before which the text ends."""
    precision: Precision = "auto"
    """How weights are held: float32 is exact; bfloat16, int8 and int4 are smaller and faster on
    CPU. auto is int8 there: files of 4 to 8 bits as they are stored, others rounded to 8."""
    cache: CacheForm = aside("auto")
    """How keys and values are held: int8 takes half the memory of bfloat16, on CPUs."""
    max_length: ContextLength | None = aside(None)
    """Tokens of prompt and completion at most; by default the model's context."""
    adapter: Path | None = None
    """Adapter (codling adapt, or peft's LoRA) that is added to the model's weights."""
    memory: Path | None = None
    """Memory of a repository (codling memory) that completions and insertions may repeat."""
    speculate: bool = True
    """Let the model try tokens that followed the same text in the prompt or the memory: the answer
    stays the same, and comes sooner where code repeats itself."""
    threads: Workers | None = aside(None)
    """CPU threads; by default torch decides."""


@dataclass(frozen=True, kw_only=True)
class CompleteConfig(GenerateConfig):
    """Settings of complete: a prompt, or a place in a file."""

    prompt: str | None = None
    """Text to continue; - reads it from standard input."""
    file: Path | None = None
    """File to continue at the cursor, in place of a prompt."""
    line: Count | None = None
    """Line of the cursor, from 1; by default the end of the file."""
    column: CountFromZero | None = None
    """Characters before the cursor in its line; by default the end of the line."""
    repo: Path | None = None
    """Repository of the file: the files that it depends on go before it in the prompt."""
    context_tokens: ContextReach = "auto"
    """Tokens of a prompt with other files at most; auto is 2,048 on CPUs, and all that has room
    elsewhere."""
    lines: Count | None = None
    """End after this many lines."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.prompt is None) == (self.file is None):
            raise ConfigError("complete needs either --prompt TEXT or --file PATH")
        _check_cursor(self.file, self.line, self.column, self.repo)


@dataclass(frozen=True, kw_only=True)
class InsertConfig(GenerateConfig):
    """Settings of insert: a place in a file, or a prefix and a suffix."""

    file: Path | None = None
    """File with the cursor."""
    line: Count | None = None
    """Line of the cursor, from 1; by default the end of the file."""
    column: CountFromZero | None = None
    """Characters before the cursor in its line; by default the end of the line."""
    repo: Path | None = None
    """Repository of the file: the files that it depends on go before it in the prompt."""
    prefix: str | None = None
    """Text before the hole, in place of a file."""
    suffix: str = ""
    """Text after the hole, in place of a file."""
    context_tokens: ContextReach = "auto"
    """Tokens of the prompt at most; auto is 2,048 on CPUs, and all that has room elsewhere."""
    suffix_tokens: SuffixReach = "auto"
    """Tokens after the cursor that the prompt takes at most, for models that read them last (PSM);
    auto is 256 on CPUs, and all that has room elsewhere."""
    lines: Count | None = None
    """End after this many lines."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.prefix is None) == (self.file is None):
            raise ConfigError("insert needs either --file PATH or --prefix TEXT --suffix TEXT")
        if self.file is not None and self.suffix:
            raise ConfigError(
                "--suffix goes with --prefix; with --file the file holds what follows"
            )
        _check_cursor(self.file, self.line, self.column, self.repo)


@dataclass(frozen=True, kw_only=True)
class ChatConfig(GenerateConfig):
    """Settings of chat: one message, or a conversation line by line from standard input."""

    message: str | None = None
    """What to say; by default one message per line is read from standard input and answered."""
    system: str | None = None
    """System message; by default the model's own."""
    chat_template: str | None = None
    """Chat template by name (chatml, coder-v1, codling, starcoder2, v2, or one of several that the
    checkpoint has), or a file; by default the checkpoint's own."""
    max_tokens: Count = 512
    """Tokens per answer at most."""


def complete(config: CompleteConfig) -> Iterator[str]:
    """Continue a prompt, or a file at a cursor, optionally with the repository around it.

    Example:
        codling complete runs/stdlib/checkpoint --prompt "def is_prime(n):" --max-tokens 64
    """
    params = _params(config)
    cursor = None if config.file is None else read_cursor(config.file, config.line, config.column)
    prompt = sys.stdin.read() if config.prompt == "-" else config.prompt or ""
    engine = _open(config)
    engine.reach = CursorReach.of(config.context_tokens, "auto", on_cpu=engine.on_cpu)
    if cursor is None:
        ids = engine.cursor_prompt(prompt, literal=False)
    elif config.repo is None:
        ids = engine.cursor_prompt(cursor.prefix)
    else:
        ids = engine.repository_prompt(
            RepositoryContext(config.repo), cursor, max_tokens=config.max_tokens
        )
    return _stream(engine, ids, params, "complete", config.lines)


def insert(config: InsertConfig) -> Iterator[str]:
    """Fill the hole at a cursor in a file, or between a prefix and a suffix.

    Example:
        codling insert runs/stdlib/checkpoint --file app.py --line 12 --lines 1
    """
    params = _params(config)
    if config.file is None:
        cursor = Cursor("", config.prefix or "", config.suffix)
    else:
        cursor = read_cursor(config.file, config.line, config.column)
    engine = _open(config)
    engine.reach = CursorReach.of(config.context_tokens, config.suffix_tokens, on_cpu=engine.on_cpu)
    ids: list[int]
    if config.repo is None:
        ids = engine.insert_prompt(cursor.prefix, cursor.suffix, max_tokens=config.max_tokens)
    else:
        ids = engine.repository_prompt(
            RepositoryContext(config.repo), cursor, insert=True, max_tokens=config.max_tokens
        )
    return _stream(engine, ids, params, "insert", config.lines)


def chat(config: ChatConfig) -> Iterator[str]:
    """Talk to an instruction-tuned model: one message, or a conversation on standard input.

    Example:
        codling chat weights/qwen2.5-coder-0.5b-instruct.gguf --message "Reverse a list in Python."
    """
    params = _params(config)
    engine = _open(config, chat_template=config.chat_template, must_chat=True)
    return _converse(engine, config, params)


def read_cursor(path: Path, line: int | None, column: int | None) -> Cursor:
    """The text of a file before and after a cursor; ConfigError if the place is not in the file.

    `line` counts from 1, `column` the characters before the cursor in that line.
    """
    text = read_text(path)
    name = path.absolute().as_posix()
    if line is None:
        return Cursor(name, text, "")
    lines = _LINE.findall(text)
    if not text or text.endswith("\n"):
        lines.append("")
    if not 1 <= line <= len(lines):
        raise ConfigError(f"{path} has {len(lines)} lines; --line {line} is not one of them")
    width = len(lines[line - 1].rstrip("\r\n"))
    at = width if column is None else column
    if not 0 <= at <= width:
        raise ConfigError(f"line {line} of {path} has {width} characters; --column {at} is outside")
    place = sum(len(text) for text in lines[: line - 1]) + at
    return Cursor(name, text[:place], text[place:])


def _params(config: GenerateConfig) -> SamplingParams:
    return SamplingParams(
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        seed=config.seed,
        stop=config.stop,
    )


def _open(
    config: GenerateConfig, *, chat_template: str | None = None, must_chat: bool = False
) -> TextEngine:
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    return TextEngine.open(
        config.model,
        precision=config.precision,
        cache=config.cache,
        max_streams=1,
        max_length=config.max_length,
        chat_template=chat_template,
        must_chat=must_chat,
        memory=config.memory,
        adapter=config.adapter,
        speculate=config.speculate,
    )


def first_lines(pieces: Iterable[str], n_lines: int | None) -> Iterator[str]:
    r"""The text up to the n-th line break, which is left out; all of it for None.

    >>> list(first_lines(["a\nb", "c\n", "d"], 2))
    ['a\nb', 'c']
    """
    n_left = n_lines
    for piece in pieces:
        if n_left is not None and piece.count("\n") >= n_left:
            yield "\n".join(piece.split("\n")[:n_left])
            return
        if n_left is not None:
            n_left -= piece.count("\n")
        yield piece


def _stream(
    engine: TextEngine, ids: list[int], params: SamplingParams, mode: Mode, n_lines: int | None
) -> Iterator[str]:
    with engine:
        stream = engine.submit(ids, params, mode=mode)
        yield from first_lines((delta.text for delta in stream), n_lines)


def _converse(engine: TextEngine, config: ChatConfig, params: SamplingParams) -> Iterator[str]:
    messages: list[dict[str, str]] = []
    if config.system is not None:
        messages.append({"role": "system", "content": config.system})
    n_fixed = len(messages)
    with engine:
        for said in _messages(config):
            messages.append({"role": "user", "content": said})
            ids = engine.chat_prompt(messages)
            while len(ids) + config.max_tokens > engine.max_length and len(messages) > n_fixed + 1:
                del messages[n_fixed : n_fixed + 2]  # the oldest question and its answer
                ids = engine.chat_prompt(messages)
            answer = []
            for delta in engine.submit(ids, params, mode="chat"):
                answer.append(delta.text)
                yield delta.text
            messages.append({"role": "assistant", "content": "".join(answer)})
            if config.message is None:
                yield "\n"


def _messages(config: ChatConfig) -> Iterator[str]:
    if config.message is not None:
        yield config.message
        return
    while True:
        if sys.stdin.isatty():
            sys.stderr.write("> ")
            sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def _check_cursor(
    file: Path | None, line: int | None, column: int | None, repo: Path | None
) -> None:
    for name, value in (("line", line), ("column", column), ("repo", repo)):
        if value is not None and file is None:
            raise ConfigError(f"--{name} needs --file")
    if column is not None and line is None:
        raise ConfigError("--column needs --line")
