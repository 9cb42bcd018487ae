"""Chats as prompts: the one place where messages are turned into tokens.

Input: messages [{"role": "system" | "user" | "assistant" | "tool", "content": text}], the tools
they may use. Output: the prompt, as text or ids, by the checkpoint's template or one that is named.

A prompt is made of pieces: text, and special tokens. Special tokens come only from what the
template itself writes (template_marks.py); what people, tools or documents contribute is text,
whatever it looks like, and cannot end its own turn. Templates are foreign programs and run in a
sandbox with bounded work (template_sandbox.py).

Not here: which templates a checkpoint has (template_files.py), and images.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError

from codling.core.errors import RequestError, TokenizerError
from codling.tokens.template_budget import bound_parts, set_budget
from codling.tokens.template_files import choose_template, named_templates
from codling.tokens.template_marks import ROLES, StandIns, rewrite
from codling.tokens.template_sandbox import BoundedEnvironment
from codling.tokens.tokenizer import Piece, Tokenizer, surrogate_at
from codling.tokens.validation import token_text

Message = Mapping[str, Any]

_MAX_SOURCE = 200_000
"""Characters of a template; the longest published ones have about 30,000."""
_MAX_DEPTH = 64
_NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token")
"""Special tokens that templates may ask for by these names."""


class ChatTemplate:
    """A jinja2 chat template, ready to be rendered any number of times, from any thread."""

    def __init__(
        self,
        source: str,
        *,
        tokens: Mapping[str, str] | None = None,
        specials: Collection[str] = (),
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        """`tokens` are the texts of `bos_token` and so on, `specials` those of all special tokens.

        Raises TokenizerError if the source is not a template.
        """
        self.source = source
        self._marks = StandIns(specials)
        environment = BoundedEnvironment(self._marks, now)
        try:
            if len(source) > _MAX_SOURCE:
                raise TemplateError(f"it has more than {_MAX_SOURCE:,} characters")
            parsed = rewrite(environment.parse(source), self._marks)
            parsed.set_environment(environment)
            self._template = environment.from_string(parsed)
            self._tokens = {n: self._marks.replace_specials(t) for n, t in (tokens or {}).items()}
        except Exception as error:  # noqa: BLE001 -- jinja2 raises Python's own for odd sources
            raise TokenizerError(
                f"the chat template is not valid jinja2 ({_one_line(error)}); correct it, or name "
                "another one"
            ) from None

    def render(
        self,
        messages: Sequence[Message],
        add_generation_prompt: bool = True,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **fields: object,
    ) -> str:
        """The prompt as text; see `pieces`."""
        parts = self.pieces(messages, add_generation_prompt, tools=tools, **fields)
        return "".join(text for text, _ in parts)

    def pieces(
        self,
        messages: Sequence[Message],
        add_generation_prompt: bool = True,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **fields: object,
    ) -> list[tuple[str, bool]]:
        """The prompt in pieces (text, whether it is a special token that the template placed).

        `fields` are further variables of the template. Raises RequestError if the messages are not
        what the template takes, and if it needs more work than bounds allow.
        """
        said = _ValueCopier()
        given: dict[str, Any] = said.copy_plain({**fields, "tools": tools}, "chat_template_kwargs")
        given["messages"] = [
            said.copy_plain(message, f"messages[{i}]") for i, message in enumerate(_check(messages))
        ]
        given["add_generation_prompt"] = add_generation_prompt
        try:
            with set_budget(said.n_chars):
                return self._marks.pieces(self._run_template({**self._tokens, **given}))
        except TemplateError as error:
            raise RequestError(
                f"the chat template refuses: {_one_line(error)}", param="messages"
            ) from None
        except Exception as error:  # noqa: BLE001 -- whatever a foreign program does wrong
            raise RequestError(
                f"the chat template fails: {type(error).__name__}: {_one_line(error)}",
                param="messages",
            ) from None

    def _run_template(self, given: Mapping[str, Any]) -> str:
        context = self._template.new_context(dict(given))
        return "".join(bound_parts(self._template.root_render_func(context)))


class ChatFormat:
    """The chat format of one model: its tokenizer, and its templates, each compiled once."""

    def __init__(self, tokenizer: Tokenizer, asked: str | None = None) -> None:
        """`asked` names a template: the checkpoint's own, a preset, or a file.

        Raises TokenizerError if it names none. A model without any is not an error before it is
        asked.
        """
        self._tokenizer = tokenizer
        self._asked = asked
        self._own = named_templates(tokenizer.config.get("chat_template"))
        self._compiled: dict[str, ChatTemplate] = {}
        if asked is not None:
            self.template()

    @property
    def can_chat(self) -> bool:
        """Whether there is a template; it may still refuse."""
        return self._asked is not None or bool(self._own)

    def template(self, *, tools: bool = False) -> ChatTemplate:
        """The template; TokenizerError if there is none, or it is broken."""
        fitting = self._tokenizer.family.template
        source = choose_template(self._own, self._asked, tools=tools, fitting=fitting)
        if source not in self._compiled:
            self._compiled[source] = ChatTemplate(
                source,
                tokens=_named_tokens(self._tokenizer),
                specials=self._tokenizer.control_tokens,
            )
        return self._compiled[source]

    def source(self, *, tools: bool = False) -> str:
        """The template's source; TokenizerError if there is none."""
        return self.template(tools=tools).source

    def ids(
        self,
        messages: Sequence[Message],
        add_generation_prompt: bool = True,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        begun: str = "",
    ) -> list[int]:
        """The ids of a dialogue, up to where the assistant answers; `begun` is how it begins to.

        Raises RequestError or TokenizerError.
        """
        template = self.template(tools=tools is not None)
        control = self._tokenizer.control_tokens
        pieces: list[Piece] = [
            control[text] if special else text
            for text, special in template.pieces(messages, add_generation_prompt, tools=tools)
        ]
        return self._tokenizer.encode_pieces(
            [*pieces, _ValueCopier().copy_plain(begun, "messages")]
        )


class _ValueCopier:
    """Copies values from outside into plain ones, and measures them."""

    def __init__(self) -> None:
        self.n_chars = 0

    def copy_plain(self, value: Any, where: str, depth: int = 0) -> Any:  # noqa: ANN401 -- JSON
        """The value; RequestError for what is not JSON or not Unicode."""
        if isinstance(value, str):
            self.n_chars += len(value)
            if (at := surrogate_at(value)) is not None:
                raise RequestError(
                    f"{where} holds half a surrogate pair (U+{ord(value[at]):04X}) at character "
                    f"{at}; send valid Unicode",
                    param="messages",
                )
            return value
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth == _MAX_DEPTH:
            raise RequestError(f"{where} is nested more than {_MAX_DEPTH} deep", param="messages")
        self.n_chars += 16
        if isinstance(value, Mapping):
            return {
                self.copy_plain(k, where): self.copy_plain(v, f"{where}.{k}"[:80], depth + 1)
                for k, v in value.items()
            }
        if isinstance(value, Sequence):
            return [
                self.copy_plain(v, f"{where}[{i}]"[:80], depth + 1) for i, v in enumerate(value)
            ]
        raise RequestError(f"{where} is a {type(value).__name__}, not JSON", param="messages")


def _named_tokens(tokenizer: Tokenizer) -> dict[str, str]:
    """The texts of bos, eos and so on as tokenizer_config.json has them: in instruct models `eos`
    is the turn's end."""
    ids = {"bos_token": tokenizer.specials.bos, "eos_token": tokenizer.specials.eos}
    found = {}
    for name in _NAMED_TOKENS:
        text = token_text(tokenizer.config.get(name))
        token_id = ids.get(name)
        if text is not None:
            found[name] = text
        elif token_id is not None:
            found[name] = tokenizer.special_text(token_id)
    return found


def _check(messages: Sequence[Message]) -> Sequence[Message]:
    if not messages:
        raise RequestError("messages is empty; send at least one", param="messages")
    for i, message in enumerate(messages):
        if message.get("role") not in ROLES:
            raise RequestError(
                f"messages[{i}] has role {message.get('role')!r}; use one of {', '.join(ROLES)}",
                param="messages",
            )
        if not isinstance(message.get("content"), str) and "tool_calls" not in message:
            raise RequestError(f"messages[{i}] has no text in content", param="messages")
    return messages


def _one_line(error: Exception) -> str:
    """What an error says, in one line of printable characters."""
    text = "".join(c if c.isprintable() else " " for c in str(error))
    where = f", line {error.lineno}" if isinstance(error, TemplateSyntaxError) else ""
    return " ".join(text.split())[:300] + where or type(error).__name__
