"""How models write the calls of tools: each template's own format.

Input: a chat template's source and the tools of a request. Output: the format that the template
teaches: where a call begins, how its head reads, and the form (engine/form.py) that holds the
answer to it.

    hermes     <tool_call> {"name": .., "arguments": {..}} </tool_call>      Qwen2.5, Hermes, ours
    qwen3      <tool_call> <function=..> <parameter=..> .. </tool_call>       Qwen3-Coder
    deepseek   tool calls begin, name, JSON (fenced in V3, bare in V3.1)      DeepSeek V3, R1
    llama      {"name": .., "parameters": {..}}, alone or after python_tag    Llama 3.1 to 3.3
    mistral    [TOOL_CALLS] [{"name": .., "arguments": {..}}]                 Mistral

A template that knows no tools is told of them in the system's turn, in the hermes format.

Not here: the reading of an answer (tool_parser.py), the request's fields (tools.py).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codling.engine.form import Form, bind_lengths

_NAME = r'"name"\s*:\s*"(?P<name>[^"\\]+)"'
_OBJECT = r'\{\s*(?:"type"\s*:\s*"function"\s*,\s*)?' + _NAME + r"\s*,\s*"
_CALL = _OBJECT + r'"(?:arguments|parameters)"\s*:\s*'
_MARK = "<\uff5ctool\u2581{}\uff5c>"
"""DeepSeek's marks, with the bar U+FF5C and the low line U+2581."""
_BEGIN, _SEP, _END = (_MARK.format(n) for n in ("call\u2581begin", "sep", "call\u2581end"))
_CALLS_BEGIN, _CALLS_END = _MARK.format("calls\u2581begin"), _MARK.format("calls\u2581end")
_MAX_BLANKS = 32
"""Between the parts of arguments."""


@dataclass(frozen=True)
class ToolFormat:
    """One way to write calls."""

    name: str
    triggers: tuple[str, ...]
    """Texts with which a call begins."""
    head: re.Pattern[str]
    """From the trigger to where the arguments begin, with the group `name`."""
    tail: tuple[str, ...]
    """What may follow the arguments, in this order, before the next call or text."""
    marks: tuple[str, ...] = ()
    """Special tokens that it is written with."""
    begin: str = ""
    """The exact beginning of a call of NAME."""
    end: str = ""
    around: tuple[str, str] = ("", "")
    """What stands before the first call and after the last."""
    only_first: bool = False
    """Whether a call may only begin the answer (there is no mark that no other text has)."""

    @property
    def is_xml(self) -> bool:
        """Whether arguments are elements, not JSON."""
        return self.name == "qwen3"


HERMES = ToolFormat(
    "hermes",
    ("<tool_call>",),
    re.compile(r"<tool_call>\s*" + _CALL),
    ("}", "</tool_call>"),
    ("<tool_call>", "</tool_call>"),
    '<tool_call>\n{"name": NAME, "arguments": ',
    "}\n</tool_call>",
)
QWEN3 = ToolFormat(
    "qwen3",
    ("<tool_call>",),
    re.compile(r"<tool_call>\s*<function=(?P<name>[^>\s]+)>"),
    ("</function>", "</tool_call>"),
    ("<tool_call>", "</tool_call>"),
    "<tool_call>\n<function=BARE>\n",
    "\n</function>\n</tool_call>",
)
DEEPSEEK_V3 = ToolFormat(
    "deepseek-v3",
    (_CALLS_BEGIN, _BEGIN),
    re.compile(rf"(?:{_CALLS_BEGIN})?\s*{_BEGIN}(?:function)?{_SEP}(?P<name>[^\s`]+)\s*```json\s*"),
    ("```", _END, _CALLS_END),
    (_CALLS_BEGIN, _CALLS_END, _BEGIN, _END, _SEP),
    f"{_BEGIN}function{_SEP}BARE\n```json\n",
    f"\n```{_END}",
    (_CALLS_BEGIN, _CALLS_END),
)
DEEPSEEK_V31 = ToolFormat(
    "deepseek-v3.1",
    (_CALLS_BEGIN, _BEGIN),
    re.compile(rf"(?:{_CALLS_BEGIN})?\s*{_BEGIN}(?P<name>[^<{{\s]+){_SEP}\s*"),
    (_END, _CALLS_END),
    (_CALLS_BEGIN, _CALLS_END, _BEGIN, _END, _SEP),
    f"{_BEGIN}BARE{_SEP}",
    _END,
    (_CALLS_BEGIN, _CALLS_END),
)
LLAMA = ToolFormat(
    "llama",
    ("<|python_tag|>", "{"),
    re.compile(r"(?:<\|python_tag\|>)?\s*" + _CALL),
    ("}", ";"),
    ("<|python_tag|>",),
    '{"name": NAME, "parameters": ',
    "}",
    only_first=True,
)
MISTRAL = ToolFormat(
    "mistral",
    ("[TOOL_CALLS]",),
    re.compile(
        r"(?:\[TOOL_CALLS\]\s*(?:\[\s*)?|\s*,\s*)"
        rf"(?:{_CALL}|(?P<bare>[\w.-]+)(?:\[ARGS\])?(?=\{{))"
    ),
    ("}", "]"),
    ("[TOOL_CALLS]", "[ARGS]"),
    '[TOOL_CALLS][{"name": NAME, "arguments": ',
    "}]",
)


def format_of(source: str) -> ToolFormat | None:
    """The format that a chat template teaches; None if it knows no tools.

    >>> format_of("{% if tools %}<tool_call>{% endif %}").name
    'hermes'
    """
    if "tools" not in source:
        return None
    if _CALLS_BEGIN in source:
        is_fenced = "```json" in source
        return DEEPSEEK_V3 if is_fenced else DEEPSEEK_V31
    if "<function=" in source and "<tool_call>" in source:
        return QWEN3
    if "[TOOL_CALLS]" in source:
        return MISTRAL
    if "<tool_call>" not in source and ("python_tag" in source or '"parameters"' in source):
        return LLAMA
    return HERMES


def tools_form(
    format: ToolFormat, tools: Sequence[Mapping[str, Any]], *, must: bool, parallel: bool
) -> Form:
    """The form of an answer with calls of these functions: `must` call, or may among free text."""
    tags = [_tag(format, tool) for tool in tools]
    before, after = format.around
    calls: dict[str, Any] = {
        "type": "tags_with_separator",
        "tags": tags,
        "separator": "\n",
        "at_least_one": True,
        "stop_after_first": not parallel,
    }
    wrapped = {"type": "tag", "begin": before, "content": calls, "end": after}
    if must:
        whole: dict[str, Any] = wrapped if before else calls
    else:
        whole = {
            "type": "triggered_tags",
            "triggers": [before or _common(tags)],
            "tags": [wrapped] if before else tags,
            "at_least_one": False,
            "stop_after_first": not parallel,
        }
    return Form("tags", json.dumps({"type": "structural_tag", "format": whole}))


def _tag(format: ToolFormat, tool: Mapping[str, Any]) -> dict[str, Any]:
    name = tool["name"]
    schema = bind_lengths(tool.get("parameters") or {"type": "object", "properties": {}})
    content: dict[str, Any] = {"type": "json_schema", "json_schema": schema}
    content["max_whitespace_cnt"] = _MAX_BLANKS
    if format.is_xml:
        content["style"] = "qwen_xml"
    begin = format.begin.replace("NAME", json.dumps(name)).replace("BARE", name)
    return {"type": "tag", "begin": begin, "content": content, "end": format.end}


def _common(tags: Sequence[Mapping[str, Any]]) -> str:
    """What all beginnings share, up to a quote or the end of a mark."""
    first = tags[0]["begin"]
    for mark in ("<tool_call>", "[TOOL_CALLS]", '{"name": "'):
        if first.startswith(mark):
            return mark
    return str(first)


def explain_tools(tools: Sequence[Mapping[str, Any]]) -> str:
    """What the system's turn says about tools where the template says nothing."""
    lines = "\n".join(json.dumps({"type": "function", "function": tool}) for tool in tools)
    return (
        "You can call functions to help with the user's request. They are described here, one JSON "
        f"object a line:\n<tools>\n{lines}\n</tools>\n"
        "To call one, answer with its name and arguments as JSON between these marks:\n"
        '<tool_call>\n{"name": "...", "arguments": {...}}\n</tool_call>\n'
        "What it gave comes back between <tool_response> and </tool_response>."
    )
