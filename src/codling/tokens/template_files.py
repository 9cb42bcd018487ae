"""Which chat templates a checkpoint brings, and which one is used.

Input: a checkpoint's folder and its tokenizer_config.json. Output: jinja2 sources by name. They may
lie in tokenizer_config.json, in chat_template.json, or as transformers 5 writes them in
chat_template.jinja and additional_chat_templates/NAME.jinja; the later of these counts.

A model without a template is not a chat model: then there is none, unless one is asked for by name.

Not here: what a template does (chat.py).
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from codling.core.errors import TokenizerError
from codling.core.foreign_json import read_bytes, read_object

TEMPLATE = "chat_template.jinja"
PRESETS = ("chatml", "coder-v1", "codling", "starcoder2", "v2")
"""Templates that can be asked for by name."""
_MAX_BYTES = 1 << 20


def read_templates(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """The templates of a checkpoint by name; the usual one is called "default".

    Raises TokenizerError for a file that cannot be read.
    """
    found = named_templates(config.get("chat_template"))
    processor = folder / "chat_template.json"
    if processor.is_file():
        found |= named_templates(read_object(processor, TokenizerError).get("chat_template"))
    if (folder / TEMPLATE).is_file():
        found["default"] = _read(folder / TEMPLATE)
    for path in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        if path.is_file():
            found[path.stem] = _read(path)
    return found


def named_templates(entry: object) -> dict[str, str]:
    """The field "chat_template": a source, a list of named ones, or a table of them.

    >>> named_templates([{"name": "tool_use", "template": "x"}])
    {'tool_use': 'x'}
    """
    if isinstance(entry, str):
        return {"default": entry}
    if isinstance(entry, list):
        entry = {e.get("name"): e.get("template") for e in entry if isinstance(e, Mapping)}
    pairs = entry.items() if isinstance(entry, Mapping) else ()
    return {n: t for n, t in pairs if isinstance(n, str) and isinstance(t, str)}


def choose_template(
    own: Mapping[str, str],
    asked: str | None,
    *,
    tools: bool = False,
    fitting: str | None = None,
) -> str:
    """The source of the template to use.

    `asked` is the name of one of the checkpoint's own or of a preset, or a file. None takes the
    checkpoint's: "tool_use" where there are tools, else "default". Raises TokenizerError if there
    is none (`fitting` is the preset to recommend), or none of that name.
    """
    if asked is not None:
        return own.get(asked) or _find_template(own, asked)
    if not own:
        cure = fitting or f"one of {', '.join(PRESETS)} or a file"
        raise TokenizerError(
            "this model has no chat template, so it is not a chat model: ask for a completion; if "
            "it was taught to chat all the same, name its template with --chat-template "
            f"({cure})"
        )
    if tools and "tool_use" in own:
        return own["tool_use"]
    if "default" not in own and len(own) > 1:
        raise TokenizerError(
            f"this model has several chat templates; name one with --chat-template: "
            f"{', '.join(sorted(own))}"
        )
    return own.get("default") or next(iter(own.values()))


@cache
def preset_source(name: str) -> str:
    """The jinja2 source of a preset in templates/: one of PRESETS."""
    return (files("codling.tokens") / "templates" / f"{name}.jinja").read_text(encoding="utf-8")


def _find_template(own: Mapping[str, str], asked: str) -> str:
    if asked in PRESETS:
        return preset_source(asked)
    if Path(asked).is_file():
        return _read(Path(asked))
    names = ", ".join(sorted({*own, *PRESETS}))
    raise TokenizerError(f"there is no chat template {asked}; known are {names}, or name a file")


def _read(path: Path) -> str:
    try:
        return read_bytes(path, TokenizerError, max_bytes=_MAX_BYTES).decode("utf-8")
    except UnicodeDecodeError:
        raise TokenizerError(f"{path} is not UTF-8 text; fetch it again") from None
