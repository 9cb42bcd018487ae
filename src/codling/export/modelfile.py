"""Ollama's Modelfile: which file to load, and how prompts, insertions and chats are written.

Input: the name of the .gguf file, the model's tokenizer, its context and licence. Output: the text.
Ollama's templates are Go's, not jinja2's, so a chat template is only carried over where a
conversation comes out of it as out of one that codling knows.

Format: https://docs.ollama.com/modelfile.

Not here: the .gguf file (gguf.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from codling.core.errors import TokenizerError
from codling.tokens.chat import ChatFormat
from codling.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class _Chat:
    """The turns of a chat, each as Go's templates write it, and what an answer comes after."""

    user: str
    assistant: str
    other: str
    end: str

    def go(self) -> str:
        """The whole template."""
        turn = (
            f'{{{{ if eq .Role "user" }}}}{self.user}{{{{ else if eq .Role "assistant" }}}}'
            f"{self.assistant}{{{{ else }}}}{self.other}{{{{ end }}}}"
        )
        if self.user == self.assistant == self.other:
            turn = self.user
        return f"{{{{ range .Messages }}}}{turn}{{{{ end }}}}{self.end}"

    def render(self, turns: Sequence[Mapping[str, str]]) -> str:
        """The prompt that Go makes of these turns."""
        kinds = {"user": self.user, "assistant": self.assistant}
        texts = [
            kinds.get(turn["role"], self.other)
            .replace("{{ .Role }}", turn["role"])
            .replace("{{ .Content }}", turn["content"])
            for turn in turns
        ]
        return "".join(texts) + self.end


_CHATML = "<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n"
_CHATS = (
    _Chat(_CHATML, _CHATML, _CHATML, "<|im_start|>assistant\n"),
    _Chat(
        "### Instruction:\n{{ .Content }}\n",
        "### Response:\n{{ .Content }}\n<|EOT|>\n",
        "{{ .Content }}",
        "### Response:\n",
    ),
    _Chat(
        "User: {{ .Content }}\n\n",
        "Assistant: {{ .Content }}<EOS>",
        "{{ .Content }}\n\n",
        "Assistant:",
    ),
)
_TURNS = (
    {"role": "user", "content": "What is asked?"},
    {"role": "assistant", "content": "What was said."},
    {"role": "user", "content": "And then?"},
)
_SYSTEM = {"role": "system", "content": "What holds always."}


def make_modelfile(
    gguf_name: str, tokenizer: Tokenizer, context: int, license_name: str | None
) -> str:
    """The Modelfile of a model in the file `gguf_name` beside it."""
    parts = [f"FROM ./{gguf_name}", f'TEMPLATE """{_template(tokenizer)}"""']
    parts += [f"PARAMETER stop {_quote(text)}" for text in _stops(tokenizer)]
    parts += [f"PARAMETER num_ctx {context}", "PARAMETER temperature 0"]
    if license_name is not None:
        # No sign within three quotation marks can stand for three.
        text = license_name.replace('"""', "'''")
        parts.append(f'LICENSE """{text}"""')
    return "\n".join(parts) + "\n"


def _template(tokenizer: Tokenizer) -> str:
    """Insertion where there is a suffix, turns where there are any, else the prompt as it is."""
    chat = _chat(tokenizer)
    branches = []
    if tokenizer.can_insert:
        branches.append((".Suffix", _insertion(tokenizer)))
    if chat is not None:
        branches.append((".Messages", chat))
    if not branches:
        return "{{ .Prompt }}"
    words = ["if", *("else if" for _ in branches[1:])]
    # No "{{-": it would take the line's end off a chat's last words, too.
    head = "".join(
        f"{{{{ {word} {condition} }}}}{text}"
        for word, (condition, text) in zip(words, branches, strict=True)
    )
    return head + "{{ else }}{{ .Prompt }}{{ end }}"


def _insertion(tokenizer: Tokenizer) -> str:
    special = tokenizer.specials
    marks = (special.fim_begin, special.fim_hole, special.fim_end)
    begin, hole, end = (tokenizer.special_text(i) for i in marks if i is not None)
    if tokenizer.fim_mode == "spm":
        return f"{begin}{hole}{{{{ .Suffix }}}}{end}{{{{ .Prompt }}}}"
    return f"{begin}{{{{ .Prompt }}}}{hole}{{{{ .Suffix }}}}{end}"


def _chat(tokenizer: Tokenizer) -> str | None:
    """Go's template of the chats that say what the model's own says; None if there is none."""
    if "default" not in (tokenizer.config.get("chat_template") or {}):
        return None
    special = tokenizer.specials
    bos, eos = ("" if i is None else tokenizer.special_text(i) for i in (special.bos, special.eos))
    try:
        template = ChatFormat(tokenizer).template()
        plain, led = (
            template.render(turns).removeprefix(bos) for turns in (_TURNS, (_SYSTEM, *_TURNS))
        )
    except TokenizerError:
        return None
    for known in _CHATS:
        chat = replace(known, assistant=known.assistant.replace("<EOS>", eos))
        before = plain.removesuffix(chat.render(_TURNS))
        # What the template says before a conversation that brings no system message.
        if led == chat.render((_SYSTEM, *_TURNS)) and before != plain and _is_plain(before):
            return (f"{{{{ if not .System }}}}{before}{{{{ end }}}}" if before else "") + chat.go()
    return None


def _is_plain(text: str) -> bool:
    """Whether neither Go nor a Modelfile reads the text as their own."""
    return "{{" not in text and '"""' not in text


def _stops(tokenizer: Tokenizer) -> list[str]:
    ids = sorted(tokenizer.stop_ids("insert") | tokenizer.stop_ids("chat"))
    return [tokenizer.special_text(i) for i in ids]


def _quote(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'
