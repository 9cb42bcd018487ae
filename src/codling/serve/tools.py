"""The tools of a chat request: which the model may call, and turns that speak of them.

Input: OpenAI's `tools`, `tool_choice`, `parallel_tool_calls` and the messages. Output: a ToolPlan
(format, form, what the template gets), and turns as the template wants them.

`tool_choice` "required", or a function by name, holds the answer to calls; "auto" lets the model
choose, and its calls keep to the functions' schemas where the package for forms is installed.

Not here: formats (tool_formats.py), the reading of answers (tool_parser.py).
"""

import functools
import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from codling.core.errors import RequestError
from codling.core.foreign_json import parse_row
from codling.engine.form import Form
from codling.serve.tool_formats import HERMES, ToolFormat, explain_tools, format_of, tools_form
from codling.serve.tool_parser import ToolParser

MAX_TOOLS = 128
_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
_WANTS_OBJECT = re.compile(r"(?:arguments|tool_call|function|tool_calls)['\"\]]*\s*\|\s*tojson")


@dataclass(frozen=True)
class ToolPlan:
    """What a request's tools mean for its prompt and its answer."""

    format: ToolFormat
    functions: tuple[Mapping[str, Any], ...]
    """Name, description and parameters of those that may be called."""
    must: bool
    parallel: bool
    in_template: bool
    """Whether the chat template tells the model of them."""

    @property
    def for_template(self) -> list[Mapping[str, Any]] | None:
        """What the template gets as `tools`."""
        if not self.in_template:
            return None
        return [{"type": "function", "function": dict(each)} for each in self.functions]

    def form(self) -> Form | None:
        """What the answer is held to: where calls are free to come, only if that can be had."""
        if not self.must and not _has_package():
            return None
        return tools_form(self.format, self.functions, must=self.must, parallel=self.parallel)

    def parser(self) -> ToolParser:
        """Reads one answer."""
        return ToolParser(self.format, self.functions)


def plan_tools(
    tools: Sequence[Any] | None, choice: object, parallel: bool | None, source: str
) -> ToolPlan | None:
    """The plan of a request; None if it has no tools or may use none.

    `source` is the chat template. RequestError for what is no tool or no choice.
    """
    functions = [_read_function(tool, i) for i, tool in enumerate(tools or ())]
    if len(functions) > MAX_TOOLS:
        raise RequestError(f"tools holds {len(functions)}; send at most {MAX_TOOLS}", param="tools")
    mode, name = _choice(choice)
    if mode == "none" or not functions:
        if mode == "must":
            raise RequestError("tool_choice asks for a call, but tools is empty", param="tools")
        return None
    chosen = [each for each in functions if name is None or each["name"] == name]
    if not chosen:
        raise RequestError(f"tool_choice names {name}, which is not in tools", param="tool_choice")
    known = format_of(source)
    return ToolPlan(
        format=known or HERMES,
        functions=tuple(chosen),
        must=mode == "must",
        parallel=parallel is not False and name is None,
        in_template=known is not None,
    )


def tool_turns(
    turns: Sequence[dict[str, Any]], plan: ToolPlan | None, source: str
) -> list[dict[str, Any]]:
    """The turns as the template takes them: arguments as objects where it writes them as JSON; for
    a template that knows no tools, calls and what they gave as text."""
    if format_of(source) is not None:
        return [_native_turn(turn, source) for turn in turns]
    plain = [_plain_turn(turn) for turn in turns]
    if plan is None:
        return plain
    text = explain_tools(plan.functions)
    if plain and plain[0]["role"] == "system":
        return [{"role": "system", "content": f"{plain[0]['content']}\n\n{text}"}, *plain[1:]]
    return [{"role": "system", "content": text}, *plain]


def _native_turn(turn: dict[str, Any], source: str) -> dict[str, Any]:
    if not turn.get("tool_calls"):
        return turn
    as_object = _WANTS_OBJECT.search(source) is not None
    calls = [_call(each, as_object=as_object) for each in turn["tool_calls"]]
    return turn | {"tool_calls": calls}


def _plain_turn(turn: dict[str, Any]) -> dict[str, Any]:
    if turn["role"] == "tool":
        content = f"<tool_response>\n{turn['content'] or ''}\n</tool_response>"
        return {"role": "user", "content": content}
    if not turn.get("tool_calls"):
        return turn
    parts = [turn["content"] or ""]
    for each in turn["tool_calls"]:
        inner = _call(each, as_object=True)["function"]
        parts.append(f"<tool_call>\n{json.dumps(inner, ensure_ascii=False)}\n</tool_call>")
    return {"role": turn["role"], "content": "\n".join(filter(None, parts))}


def _call(call: object, *, as_object: bool) -> dict[str, Any]:
    inner = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(call, Mapping) or not isinstance(inner, Mapping):
        raise RequestError("tool_calls must hold functions with their arguments", param="messages")
    name, arguments = inner.get("name"), inner.get("arguments", "{}")
    if not isinstance(name, str):
        raise RequestError("a call in tool_calls has no name", param="messages")
    if as_object and isinstance(arguments, str):
        with suppress(RequestError):
            arguments = parse_row(arguments or "{}", "the arguments", RequestError)
    elif not as_object and not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    function = {"name": name, "arguments": arguments}
    return {"type": "function", "id": str(call.get("id") or ""), "function": function}


def _read_function(tool: object, i: int) -> dict[str, Any]:
    """Name, description and parameters, from OpenAI's two spellings (nested in chat, flat in
    /v1/responses)."""
    if not isinstance(tool, Mapping) or tool.get("type", "function") != "function":
        kind = str(tool.get("type"))[:40] if isinstance(tool, Mapping) else type(tool).__name__
        raise RequestError(
            f"tools[{i}] is of type {kind}; only functions can be called here", param="tools"
        )
    inner = tool.get("function", tool)
    name = inner.get("name") if isinstance(inner, Mapping) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RequestError(
            f"tools[{i}] needs a name of 1 to 64 letters, digits, _, . and -", param="tools"
        )
    parameters = inner.get("parameters") or {"type": "object", "properties": {}}
    Form.of_schema(parameters, "tools")  # bounds
    described = {"name": name, "description": str(inner.get("description") or "")}
    return described | {"parameters": parameters}


def _choice(choice: object) -> tuple[Literal["auto", "none", "must"], str | None]:
    """What tool_choice says, and the function that it names."""
    if choice is None or choice == "auto":
        return "auto", None
    if choice == "none":
        return "none", None
    if choice in ("required", "any"):
        return "must", None
    if isinstance(choice, Mapping) and choice.get("type") == "function":
        inner = choice.get("function", choice)
        name = inner.get("name") if isinstance(inner, Mapping) else None
        if isinstance(name, str):
            return "must", name
    raise RequestError(
        'tool_choice must be "auto", "none", "required" or a function by its name',
        param="tool_choice",
    )


@functools.cache
def _has_package() -> bool:
    return importlib.util.find_spec("xgrammar") is not None
