"""The form that an answer must have: JSON, a JSON schema, a grammar, or calls of tools.

Input: what a request says. Output: a Form, checked for size alone. Torch-free, so that the server's
schema may import it.

Not here: what holds an answer to its form (structured.py).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from codling.core.errors import RequestError
from codling.engine.schema_words import MAPS, VALUES

Kind = Literal["json", "schema", "grammar", "regex", "tags"]
"""Any JSON object; a JSON schema; GBNF, as llama.cpp writes it; a regular expression; tool calls
within free text (xgrammar's structural tags)."""
MAX_SOURCE = 65_536
"""Characters of a grammar or a schema."""
_MAX_DEPTH = 32
_MAX_COUNT = 10_000
_LISTS = ("anyOf", "oneOf", "allOf", "type")
"""Where a schema may list what fits: nothing fits an empty list."""
_PAIR = r"u([Dd][89ABab][0-9A-Fa-f]{2})\\u([Dd][C-Fc-f][0-9A-Fa-f]{2})"
_ESCAPE = re.compile(rf"\\(?:{_PAIR}|u([0-9A-Fa-f]{{4}})|U([0-9A-Fa-f]{{8}})|.)", re.S)
_LAST_CHARACTER = 0x10FFFF
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")


@dataclass(frozen=True)
class Form:
    """What an answer must look like."""

    kind: Kind
    source: str = ""
    """The schema or the tags as JSON, the grammar, the expression."""

    @classmethod
    def of_schema(cls, schema: object, param: str) -> "Form":
        """The form of a JSON schema; RequestError, which names `param`, if it is none or too much.

        >>> Form.of_schema({"type": "integer"}, "json_schema").source
        '{"type": "integer"}'
        """
        if not isinstance(schema, Mapping | bool):
            raise RequestError(f"{param} must hold a JSON schema, an object", param=param)
        _bound(schema, param, 0)
        return cls("schema", bound_size(json.dumps(bind_lengths(schema, param)), param))

    @classmethod
    def of_choices(cls, choices: Sequence[str], param: str) -> "Form":
        """One of several texts, word for word."""
        is_list = isinstance(choices, list | tuple) and len(choices) > 0
        if not is_list or not all(isinstance(choice, str) and choice for choice in choices):
            raise RequestError(f"{param} must be a list of texts", param=param)
        # Characters as they are: an escaped pair of surrogates would be read as two halves.
        quoted = " | ".join(json.dumps(choice, ensure_ascii=False) for choice in choices)
        return cls("grammar", bound_size(f"root ::= {quoted}", param))


def bind_lengths(schema: Any, param: str = "tools") -> Any:  # noqa: ANN401 -- JSON
    r"""The schema with bounds on a string's length as patterns, and patterns whose escapes are
    characters; RequestError, which names `param`, for a schema that nothing fits.

    xgrammar's own rule for such strings lets control characters pass, which no JSON may hold.

    >>> bind_lengths({"type": "string", "minLength": 2})["pattern"]
    '^[^"\\\\\\x00-\\x1f]{2,}$'
    """
    return _bind(schema, param, is_schema=True)


def join_surrogates(source: str, param: str) -> str:
    r"""A grammar or an expression with each escaped pair of surrogates, JSON's two halves of one
    character, as that character: xgrammar would write the halves, which no text may hold.

    RequestError for an escaped half alone, or what lies beyond the last character.

    >>> join_surrogates(r"\ud83d\ude00 \\ud83d", "grammar").encode("unicode_escape")
    b'\\U0001f600 \\\\\\\\ud83d'
    """

    def join(found: re.Match[str]) -> str:
        if found[1]:
            return bytes.fromhex(found[1] + found[2]).decode("utf-16-be")
        code = int(found[3] or found[4] or "0", 16)
        if 0xD800 <= code < 0xE000 or code > _LAST_CHARACTER:
            raise RequestError(f"{param} holds {found[0]}, which is no character", param=param)
        return found[0]

    return _ESCAPE.sub(join, source)


def bound_size(source: str, param: str) -> str:
    """The source; RequestError if it is longer than anybody writes one."""
    if len(source) > MAX_SOURCE:
        raise RequestError(
            f"{param} has {len(source):,} characters; at most {MAX_SOURCE:,} are read", param=param
        )
    return source


def _bound(schema: Any, param: str, depth: int) -> None:  # noqa: ANN401 -- JSON
    """Refuse nesting and counts that would cost the server more than an answer."""
    if depth > _MAX_DEPTH:
        raise RequestError(f"{param} is nested more than {_MAX_DEPTH} deep", param=param)
    if isinstance(schema, Mapping):
        for name in _COUNTS:
            # A schema, if a property has the name.
            count = schema.get(name, 0)
            is_count = isinstance(count, int | float) and 0 <= count <= _MAX_COUNT
            if not isinstance(count, Mapping) and not (is_count and count == int(count)):
                raise RequestError(
                    f"{param}: {name} must be a whole number from 0 to {_MAX_COUNT:,}", param=param
                )
    if isinstance(schema, Mapping | list):
        for part in schema.values() if isinstance(schema, Mapping) else schema:
            _bound(part, param, depth + 1)


def _bind(value: Any, param: str, *, is_schema: bool) -> Any:  # noqa: ANN401 -- JSON
    """A schema, or a map from names to schemas, with bounds on lengths as patterns."""
    if isinstance(value, list):
        return [_bind(part, param, is_schema=is_schema) for part in value]
    if not isinstance(value, Mapping):
        return value
    bound = {
        name: part
        if is_schema and name in VALUES
        else _bind(part, param, is_schema=not (is_schema and name in MAPS))
        for name, part in value.items()
    }
    if not is_schema:
        return bound
    if empty := [name for name in _LISTS if bound.get(name) == []]:
        raise RequestError(f"{param}: {empty[0]} is empty, so nothing fits it", param=param)
    if isinstance(pattern := bound.get("pattern"), str):
        bound["pattern"] = join_surrogates(pattern, param)
    return _bind_length(_with_required(bound))


def _bind_length(schema: dict[str, Any]) -> dict[str, Any]:
    kinds = schema.get("type")
    takes_strings = "string" in (kinds if isinstance(kinds, list) else [kinds])
    is_string = takes_strings and not {"pattern", "format", "enum"} & set(schema)
    given = {name: schema[name] for name in ("minLength", "maxLength") if name in schema}
    if not is_string or not given:
        return schema
    least, most = int(given.get("minLength", 0)), given.get("maxLength")
    rest = {name: part for name, part in schema.items() if name not in given}
    upper = "" if most is None else int(most)
    return rest | {"pattern": rf'^[^"\\\x00-\x1f]{{{least},{upper}}}$'}


def _with_required(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with its required properties described: xgrammar passes over what `required` names
    beyond `properties`."""
    names, known = schema.get("required"), schema.get("properties", {})
    further = schema.get("additionalProperties", True)
    if not isinstance(names, list) or not isinstance(known, Mapping) or further is False:
        return schema
    missing = {str(name): further for name in names if str(name) not in known}
    return schema | {"properties": {**known, **missing}} if missing else schema
