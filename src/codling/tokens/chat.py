"""Chats as prompts: the checkpoint's template, or the preset of its generation.

Input: messages [{"role": "system" | "user" | "assistant", "content": text}]. Output: the prompt, as
text or ids. Templates are jinja2 from a file that others wrote, so they run in the sandbox.

Special tokens that a template writes are read as such; the same characters inside a message are
text, so a message cannot end its own turn.

Not here: tools, and images.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import NoReturn, Self

from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from codling.core.errors import CodlingError, RequestError, TokenizerError
from codling.tokens.tokenizer import Tokenizer

Message = Mapping[str, str]

_OPEN, _CLOSE = "\ue000", "\ue001"
"""Private characters that mark where a message's own text stands in a rendered prompt."""


class ChatTemplate:
    """A jinja2 chat template with the two tokens that templates may ask for."""

    def __init__(self, source: str, *, bos_token: str = "", eos_token: str = "") -> None:
        try:
            self._template = _environment().from_string(source)
        except TemplateError as error:
            raise TokenizerError(
                f"the chat template is not valid jinja2 ({error}); remove it from "
                "tokenizer_config.json to use the preset"
            ) from None
        self.source = source
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Self:
        """The template of a checkpoint, else the preset of its generation.

        Raises TokenizerError if there is neither.
        """
        source = _own_source(tokenizer.config.get("chat_template"))
        if source is None:
            if tokenizer.generation.template is None:
                raise TokenizerError(
                    "this model has no chat template; it is a base model: ask for a completion"
                )
            source = preset_source(tokenizer.generation.template)
        return cls(
            source,
            bos_token=_named(tokenizer, "bos_token", tokenizer.specials.bos),
            eos_token=_named(tokenizer, "eos_token", tokenizer.specials.eos),
        )

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
        """The prompt as text; RequestError if the messages are not what the template takes."""
        _check(messages)
        try:
            return self._template.render(
                messages=[dict(m) for m in messages],
                add_generation_prompt=add_generation_prompt,
                tools=None,
                **self._tokens,
            )
        except TemplateError as error:
            raise RequestError(f"the chat template refuses: {error}", param="messages") from None


def chat_ids(
    tokenizer: Tokenizer, messages: Sequence[Message], add_generation_prompt: bool = True
) -> list[int]:
    """The ids of a chat's prompt, special tokens of the template included."""
    template = ChatTemplate.of(tokenizer)
    if not any(tokenizer.has_special(m.get("content", "")) for m in messages):
        return tokenizer.encode(
            template.render(messages, add_generation_prompt), allow_special=True
        )
    marked = [{**m, "content": f"{_OPEN}{m['content']}{_CLOSE}"} for m in _check(messages)]
    return _encode_marked(tokenizer, template.render(marked, add_generation_prompt))


@cache
def preset_source(name: str) -> str:
    """The jinja2 source of a preset in templates/: coder-v1, v2, chatml or codling."""
    return (files("codling.tokens") / "templates" / f"{name}.jinja").read_text(encoding="utf-8")


def _encode_marked(tokenizer: Tokenizer, text: str) -> list[int]:
    """Encode, reading special tokens only outside the marks; the marks themselves vanish."""
    spans: list[tuple[int, int]] = []
    plain = ""
    for part in text.split(_OPEN):
        inside, closed, outside = part.partition(_CLOSE)
        if closed:
            spans.append((len(plain), len(plain) + len(inside)))
        plain += inside + outside
    return tokenizer.encode(plain, allow_special=True, literal=spans)


def _environment() -> ImmutableSandboxedEnvironment:
    # The settings under which published templates were written (transformers' chat templates).
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.globals["raise_exception"] = _raise
    environment.filters["tojson"] = _json
    return environment


def _json(value: object, indent: int | None = None) -> str:
    """JSON as it is, where jinja2's own filter would escape it for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)


def _own_source(entry: object) -> str | None:
    """The template in tokenizer_config.json: a string, or a list of named ones."""
    if isinstance(entry, list):
        named = {e.get("name"): e.get("template") for e in entry if isinstance(e, Mapping)}
        entry = named.get("default")
    return entry if isinstance(entry, str) else None


def _named(tokenizer: Tokenizer, key: str, token_id: int | None) -> str:
    """The text of bos or eos as tokenizer_config.json has it, which in instruct models is the
    turn's end."""
    entry = tokenizer.config.get(key)
    text = entry.get("content") if isinstance(entry, Mapping) else entry
    if isinstance(text, str):
        return text
    return "" if token_id is None else tokenizer.special_text(token_id)


def _check(messages: Sequence[Message]) -> Sequence[Message]:
    error: CodlingError | None = None
    if not messages:
        error = RequestError("messages is empty; send at least one", param="messages")
    for i, message in enumerate(messages):
        if message.get("role") not in ("system", "user", "assistant"):
            error = RequestError(
                f"messages[{i}] has role {message.get('role')!r}; use system, user or assistant",
                param="messages",
            )
        elif not isinstance(message.get("content"), str):
            error = RequestError(f"messages[{i}] has no text in content", param="messages")
    if error:
        raise error
    return messages
