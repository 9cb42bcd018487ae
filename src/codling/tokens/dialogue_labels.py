"""Dialogues as tokens, each with a mark: does it count for the loss?

Input: a Dialogue. Output: Labelled documents of at most `context` tokens. Counted are the answers
and the token that ends each of them, nothing else.

The text is what the model's chat template makes of the messages. Each answer is encoded apart from
what stands before it, as it is when the model is asked: the prompt is given, the answer is
generated. What stands after the last answer is left out. A dialogue that is too long is cut between
exchanges (a question up to its last answer): as many as fit from its beginning are one document;
each later one is a document of its own, after as much of what was said before as there is room for.

`published_labels` is what DeepSeek-Coder's finetune_deepseekcoder.py makes of a row, to the token.

Not here: which rows are dialogues (dialogue_rows.py), and their files (dialogues.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from codling.core.errors import RequestError, TokenizerError
from codling.tokens.chat import ChatFormat, ChatTemplate, Message
from codling.tokens.dialogue_rows import SYSTEM_ROLES, Dialogue, RowError
from codling.tokens.families import EOT
from codling.tokens.template_files import PRESETS
from codling.tokens.tokenizer import Piece, Tokenizer

PUBLISHED_SYSTEM = (
    "You are an AI programming assistant, utilizing the DeepSeek Coder model, developed by "
    "DeepSeek Company, and you only answer questions related to computer science. For politically "
    "sensitive questions, security and privacy issues, and other non-computer science questions, "
    "you will refuse to answer.\n"
)
"""As the script has it; the models' own template spells two words otherwise and ends without a
full stop."""
_TOO_LONG = "answer-too-long"
_REWRITES = "template-rewrites-turns"


@dataclass(frozen=True)
class Labelled:
    """A document: its tokens, and which of them count."""

    ids: list[int]
    counted: list[bool]
    is_cut: bool = False
    """Whether its end is missing; only DeepSeek-Coder's script makes such."""

    @property
    def n_counted(self) -> int:
        """How many of the tokens count."""
        return sum(self.counted)


class DialogueEncoder:
    """Dialogues of one model, by its own chat template or one that is named."""

    def __init__(self, tokenizer: Tokenizer, template: str | None, context: int) -> None:
        """TokenizerError if there is no such template.

        A base without any is taught that of its family.
        """
        self._tokenizer, self._context = tokenizer, context
        self._format = ChatFormat(tokenizer, template or _of_family(tokenizer))
        self._stops = {tokenizer.special_text(i) for i in tokenizer.stop_ids("chat")}
        self._longest_token = max(1, int(tokenizer.token_lengths.max()))
        self.source = self._format.template().source
        self.n_cut = 0
        """Answers that lost the oldest turns before them."""
        self.n_too_long = 0
        """Answers that were left out."""

    def documents(self, dialogue: Dialogue) -> list[Labelled]:
        """The documents of a dialogue.

        Raises RowError if the template refuses it or no answer fits; TokenizerError if the template
        ends answers with a token at which the model would not stop.
        """
        try:
            found = list(self._cut(dialogue))
        except RequestError as error:
            raise RowError("template-refuses", str(error)) from None
        if not found:
            raise RowError(_TOO_LONG, f"no answer fits into {self._context} tokens")
        return found

    def last_answer(self, dialogue: Dialogue) -> Labelled:
        """The dialogue whole, of which only the last answer counts; RowError if it is too long."""
        messages = dialogue.messages
        try:
            found = self._encode(dialogue, messages, len(messages) - 1)
        except RequestError as error:
            raise RowError("template-refuses", str(error)) from None
        if len(found.ids) > self._context:
            raise RowError(_TOO_LONG, f"{len(found.ids)} tokens, and {self._context} fit")
        return found

    def _cut(self, dialogue: Dialogue) -> Iterator[Labelled]:
        messages = dialogue.messages
        starts = _exchange_starts(messages)
        ends = [*starts[1:], len(messages)]
        head = messages[: starts[0]]
        sizes = [self._least_size(messages[s:e]) for s, e in zip(starts, ends, strict=True)]
        n_first = self._first_that_fit(dialogue, sizes, ends)
        if n_first:
            yield self._encode(dialogue, messages[: ends[n_first - 1]], 0)
        for k in range(n_first, len(starts)):
            for h in range(k + 1):
                if sum(sizes[h : k + 1]) > self._context:
                    continue
                kept = (*head, *messages[starts[h] : ends[k]])
                document = self._encode(dialogue, kept, len(kept) - (ends[k] - starts[k]))
                if len(document.ids) <= self._context:
                    self.n_cut += h > 0
                    yield document
                    break
            else:
                self.n_too_long += 1

    def _first_that_fit(self, dialogue: Dialogue, sizes: Sequence[int], ends: Sequence[int]) -> int:
        """How many exchanges from the beginning on are one document."""
        for n in range(len(sizes), 0, -1):
            if sum(sizes[:n]) > self._context:
                continue
            try:
                document = self._encode(dialogue, dialogue.messages[: ends[n - 1]], 0)
            except RowError as error:
                # Such a template shows an answer differently once others follow it: every answer
                # is learnt as it is when it is the last.
                if error.reason == _REWRITES and n > 1:
                    return 0
                raise
            if len(document.ids) <= self._context:
                return n
        return 0

    def _least_size(self, messages: Sequence[Message]) -> int:
        """A lower bound of the tokens that messages need; the template adds more."""
        texts = [str(message.get("content") or "") for message in messages]
        return sum(len(text.encode()) for text in texts) // self._longest_token

    def _encode(
        self, dialogue: Dialogue, messages: Sequence[Message], first_counted: int
    ) -> Labelled:
        """One document; answers from message `first_counted` on count."""
        template = self._format.template(tools=dialogue.tools is not None)
        whole = template.pieces(messages, False, tools=dialogue.tools)
        text = "".join(each for each, _ in whole)
        _refuse_lost_tools(dialogue, messages, text)
        ids: list[int] = []
        counted: list[bool] = []
        at = 0
        for i in range(first_counted, len(messages)):
            if messages[i]["role"] != "assistant":
                continue
            start = self._start_of_answer(template, dialogue, messages[:i], text)
            end = self._end_of_answer(whole, start)
            alone = template.render(messages[: i + 1], False, tools=dialogue.tools)
            if start < at or not alone.startswith(text[:end]):
                raise RowError(_REWRITES, "an answer is shown differently once others follow it")
            for since, until, counts in ((at, start, False), (start, end, True)):
                new = self._ids_of(whole, since, until)
                ids += new
                counted += [counts] * len(new)
            at = end
        return Labelled(ids, counted)

    def _start_of_answer(
        self, template: ChatTemplate, dialogue: Dialogue, before: Sequence[Message], text: str
    ) -> int:
        """Where the answer to `before` begins in the text: after the prompt."""
        prompt = template.render(before, True, tools=dialogue.tools)
        if not text.startswith(prompt):
            raise RowError(_REWRITES, "a prompt is not how the whole dialogue begins")
        return len(prompt)

    def _end_of_answer(self, whole: Sequence[tuple[str, bool]], start: int) -> int:
        at = 0
        for text, is_special in whole:
            at += len(text)
            if at > start and is_special and text in self._stops:
                return at
        raise TokenizerError(
            "the chat template ends an answer with none of the tokens at which the model stops "
            f"({', '.join(sorted(self._stops))}); name one that does with --template: v2's answers "
            "end with eos"
        )

    def _ids_of(self, whole: Sequence[tuple[str, bool]], since: int, until: int) -> list[int]:
        """The tokens of the characters from `since` to `until`."""
        pieces: list[Piece] = []
        at = 0
        for text, is_special in whole:
            part = text[max(0, since - at) : max(0, until - at)]
            at += len(text)
            if part:
                pieces.append(self._tokenizer.control_tokens[part] if is_special else part)
        if since == 0:
            return self._tokenizer.encode_pieces(pieces)
        # Something stands before it, so its text is encoded as within a document.
        anything = next(iter(self._tokenizer.control_tokens.values()))
        return self._tokenizer.encode_pieces([anything, *pieces])[1:]


def _refuse_lost_tools(dialogue: Dialogue, messages: Sequence[Message], text: str) -> None:
    """RowError if a template shows nothing of tools or of their calls: what would be learned then
    is an empty answer."""
    named = [tool.get("function", tool) for tool in dialogue.tools or ()]
    for message in messages:
        calls = message.get("tool_calls")
        named += [call.get("function", call) for call in calls or () if isinstance(call, Mapping)]
    for each in named:
        name = each.get("name") if isinstance(each, Mapping) else None
        if isinstance(name, str) and name not in text:
            raise RowError("template-ignores-tools", f"{name} is not shown; see --template")


def published_labels(
    tokenizer: Tokenizer, instruction: str, output: str, max_length: int
) -> Labelled:
    """The labels that DeepSeek-Coder's script makes of a row: cut on the right, perhaps to none.

    The prompt is encoded alone to find its length, in which padding tokens do not count; special
    tokens in the texts are read as such.
    """
    prompt = f"{PUBLISHED_SYSTEM}### Instruction:\n{instruction.strip()}\n### Response:\n"
    begin = tokenizer.start_ids

    def encode(text: str) -> list[int]:
        return [*begin, *tokenizer.encode(text, allow_special=True)]

    whole = encode(f"{prompt}{output}\n{EOT}")
    ids = whole[:max_length]
    n_prompt = sum(i != tokenizer.specials.pad for i in encode(prompt)[:max_length])
    counted = [place >= n_prompt for place in range(len(ids))]
    return Labelled(ids, counted, is_cut=len(ids) < len(whole))


def published_template(tokenizer: Tokenizer) -> str:
    """The template for a model that learned published labels: its own, or DeepSeek-Coder's."""
    asked = None if ChatFormat(tokenizer).can_chat else "coder-v1"
    return ChatFormat(tokenizer, asked).template().source


def _of_family(tokenizer: Tokenizer) -> str | None:
    """The preset that a tokenizer without a template of its own is taught; None: it has one."""
    if ChatFormat(tokenizer).can_chat:
        return None
    if tokenizer.family.template is None:
        raise TokenizerError(
            f"the model has no chat template; name one with --template ({', '.join(PRESETS)}, or "
            "a file)"
        )
    return tokenizer.family.template


def _exchange_starts(messages: Sequence[Message]) -> list[int]:
    """Where each exchange begins: the first message that is no system text, then questions that
    follow an answer."""
    first = next(i for i, message in enumerate(messages) if message["role"] not in SYSTEM_ROLES)
    return [first] + [
        i
        for i in range(first + 1, len(messages))
        if messages[i]["role"] == "user" and messages[i - 1]["role"] == "assistant"
    ]
