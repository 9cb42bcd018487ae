"""Ollama's Modelfile: which file to load, and how prompts, insertions and chats are written.

Input: the name of the .gguf file, the model's tokenizer, its context and licence. Output: the text.
Ollama's templates are Go's, not jinja2's, so a chat template is only carried over where it is one
of those that codling knows by name.

Format: https://docs.ollama.com/modelfile.

Not here: the .gguf file (gguf.py).
"""

from codling.tokens.chat import ChatFormat
from codling.tokens.tokenizer import Tokenizer

_CHATS = {
    "<|im_start|>": (
        "<|im_start|>user\n",
        "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n"
        "{{ end }}<|im_start|>assistant\n",
    ),
    "### Instruction:": (
        "### Instruction:\n",
        '{{ range .Messages }}{{ if eq .Role "user" }}### Instruction:\n{{ .Content }}\n'
        '{{ else if eq .Role "assistant" }}### Response:\n{{ .Content }}\n<|EOT|>\n'
        "{{ else }}{{ .Content }}{{ end }}{{ end }}### Response:\n",
    ),
    "User: ": (
        "User: ",
        '{{ range .Messages }}{{ if eq .Role "user" }}User: {{ .Content }}\n\n'
        '{{ else if eq .Role "assistant" }}Assistant: {{ .Content }}<EOS>'
        "{{ else }}{{ .Content }}\n\n{{ end }}{{ end }}Assistant:",
    ),
}
"""What a jinja2 template holds by which it is known, how it begins a user's turn, and the same
turns for Ollama."""
_QUESTION = "What is written here is sought again."


def make_modelfile(
    gguf_name: str, tokenizer: Tokenizer, context: int, license_name: str | None
) -> str:
    """The Modelfile of a model in the file `gguf_name` beside it."""
    parts = [f"FROM ./{gguf_name}", f'TEMPLATE """{_template(tokenizer)}"""']
    parts += [f"PARAMETER stop {_quote(text)}" for text in _stops(tokenizer)]
    parts += [f"PARAMETER num_ctx {context}", "PARAMETER temperature 0"]
    if license_name is not None:
        parts.append(f'LICENSE """{license_name}"""')
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
    source = (tokenizer.config.get("chat_template") or {}).get("default")
    if source is None:
        return None
    eos = tokenizer.specials.eos
    end = "" if eos is None else tokenizer.special_text(eos)
    for mark, (begin, turns) in _CHATS.items():
        if mark in source:
            return _default_system(tokenizer, begin) + turns.replace("<EOS>", end)
    return None


def _default_system(tokenizer: Tokenizer, begin: str) -> str:
    """What the template writes before a conversation that brings no system message."""
    turns = [{"role": "user", "content": _QUESTION}]
    text = ChatFormat(tokenizer).template().render(turns)
    bos = tokenizer.specials.bos
    before, _, _ = text.partition(begin + _QUESTION)
    before = before.removeprefix("" if bos is None else tokenizer.special_text(bos))
    return f"{{{{ if not .System }}}}{before}{{{{ end }}}}" if before else ""


def _stops(tokenizer: Tokenizer) -> list[str]:
    ids = sorted(tokenizer.stop_ids("insert") | tokenizer.stop_ids("chat"))
    return [tokenizer.special_text(i) for i in ids]


def _quote(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'
