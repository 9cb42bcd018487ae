"""The form that an answer must have: JSON, a JSON schema, a grammar, or calls of tools.

Input: what a request says. Output: a Form, checked for size alone. Torch-free, so that the server's
schema may import it.

Not here: what holds an answer to its form (structured.py).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from codling.core.errors import RequestError

Kind = Literal["json", "schema", "grammar", "regex", "tags"]
"""Any JSON object; a JSON schema; GBNF, as llama.cpp writes it; a regular expression; tool calls
within free text (xgrammar's structural tags)."""
MAX_SOURCE = 65_536
"""Characters of a grammar or a schema."""
_MAX_DEPTH = 32
_MAX_COUNT = 10_000
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
        return cls("schema", bound_size(json.dumps(bind_lengths(schema)), param))

    @classmethod
    def of_choices(cls, choices: Sequence[str], param: str) -> "Form":
        """One of several texts, word for word."""
        if not choices or not all(isinstance(choice, str) and choice for choice in choices):
            raise RequestError(f"{param} must be a list of texts", param=param)
        quoted = " | ".join(json.dumps(choice) for choice in choices)
        return cls("grammar", bound_size(f"root ::= {quoted}", param))


def bind_lengths(schema: Any) -> Any:  # noqa: ANN401 -- JSON
    r"""The schema with bounds on a string's length as patterns.

    xgrammar's own rule for such strings lets control characters pass, which no JSON may hold.

    >>> bind_lengths({"type": "string", "minLength": 2})["pattern"]
    '^[^"\\\\\\x00-\\x1f]{2,}$'
    """
    if isinstance(schema, list):
        return [bind_lengths(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    bound = {name: bind_lengths(part) for name, part in schema.items()}
    is_string = bound.get("type") == "string" and not {"pattern", "format", "enum"} & set(bound)
    least, most = bound.get("minLength", 0), bound.get("maxLength", "")
    if is_string and (least or most != "") and isinstance(least, int):
        bound = {n: v for n, v in bound.items() if n not in ("minLength", "maxLength")}
        bound["pattern"] = rf'^[^"\\\x00-\x1f]{{{least},{most}}}$'
    return bound


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
            count = schema.get(name)
            if isinstance(count, int | float) and not 0 <= count <= _MAX_COUNT:
                raise RequestError(f"{param}: {name} must be from 0 to {_MAX_COUNT:,}", param=param)
    if isinstance(schema, Mapping | list):
        for part in schema.values() if isinstance(schema, Mapping) else schema:
            _bound(part, param, depth + 1)
