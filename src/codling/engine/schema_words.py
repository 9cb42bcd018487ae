"""What of a JSON schema an answer cannot be held to: it is refused, and the word at fault named.

Input: a schema. Output: nothing, or RequestError. xgrammar passes over these words in silence, so
that an answer would look as if it had the form:

    {"type": "integer", "not": {"const": 5}}                `not`
    {"allOf": [A, B]}, {"$ref": A, "minimum": 5}            two schemas of one value
    {"type": "string", "pattern": "a+", "maxLength": 4}     two rules of one text
    {"minimum": 5}                                          a rule for values of no type

Two things pass: `oneOf` is read as `anyOf`, and a text with a `format` may have any length (URLs
are described with both). Schemas of tools are not looked at: calls are read whatever they hold.

Not here: sizes and empty lists (form.py), what xgrammar refuses itself (structured.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from codling.core.errors import RequestError

MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
"""Maps from names to schemas: a property may well be called minLength."""
VALUES = ("const", "enum", "default", "examples")
"""Values, not schemas, whatever they look like."""
_UNKEPT = (
    "not", "if", "dependentRequired", "dependentSchemas", "dependencies", "contains",
    "uniqueItems", "unevaluatedProperties", "$dynamicRef", "$recursiveRef",
)  # fmt: skip
_WHOLE = ("$ref", "allOf", "anyOf", "oneOf")
"""Words beside which xgrammar looks at no other."""
_OF_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_OF_TEXTS = ("minLength", "maxLength", "pattern", "format")
_OF_PARTS = ("items", "prefixItems", "minItems", "maxItems", "unevaluatedItems")
_OF_MEMBERS = (
    "properties", "required", "additionalProperties", "patternProperties", "propertyNames",
    "minProperties", "maxProperties",
)  # fmt: skip
_RULES = ("enum", "const", *_WHOLE, *_OF_NUMBERS, *_OF_TEXTS, *_OF_PARTS, *_OF_MEMBERS)
_NEED_A_TYPE = (*_OF_NUMBERS, *_OF_TEXTS, "minItems", "maxItems", "minProperties", "maxProperties")
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,), "number": (int, float), "null": (type(None),), "object": (dict,),
    "array": (list,),
}  # fmt: skip


def refuse_unkept(schema: Any) -> None:  # noqa: ANN401 -- JSON
    """Raise RequestError, one line that names the word, if an answer could break the schema.

    >>> refuse_unkept({"type": "object", "properties": {"not": {"type": "integer"}}})
    """
    for each in _schemas(schema, is_schema=True):
        if word := _unkept_word(each):
            raise RequestError(
                f"the form of the answer cannot be kept to exactly: {word}; say it in other words, "
                "or leave it out"
            )


def _schemas(value: Any, *, is_schema: bool) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401 -- JSON
    """All schemas within one."""
    if isinstance(value, list):
        for part in value:
            yield from _schemas(part, is_schema=is_schema)
    elif isinstance(value, Mapping):
        if is_schema:
            yield value
        for name, part in value.items():
            if not (is_schema and name in VALUES):
                yield from _schemas(part, is_schema=not (is_schema and name in MAPS))


def _unkept_word(schema: Mapping[str, Any]) -> str:
    """What is passed over of a schema itself; "" for nothing."""
    unkept = next((name for name in _UNKEPT if _says_something(name, schema)), "")
    if unkept:
        return f"{unkept} is not supported"
    rules = [name for name in _RULES if name in schema]
    whole = next((name for name in _WHOLE if name in schema), "")
    if not whole:
        return _unkept_rule(schema, rules)
    if len(rules) > 1:
        return f"{whole} and {next(r for r in rules if r != whole)} stand in one schema"
    branches = schema[whole] if isinstance(schema[whole], list) else []
    if whole == "allOf" and len(branches) > 1:
        return "allOf has several schemas"
    kept = all(_is_of_type(each, schema.get("type")) for each in branches)
    return "" if kept else f"{whole} and type stand in one schema"


def _unkept_rule(schema: Mapping[str, Any], rules: Sequence[str]) -> str:
    if {"enum", "const"} & set(rules):
        return "" if _is_of_type(schema, schema.get("type")) else f"{rules[0]} and type disagree"
    if "type" not in schema:
        lone = next((name for name in _NEED_A_TYPE if name in schema), "")
        return f"{lone} stands in a schema without a type" if lone else ""
    length = next((name for name in ("minLength", "maxLength") if name in schema), "")
    return f"{length} and pattern stand in one schema" if length and "pattern" in schema else ""


def _is_of_type(schema: object, kinds: object) -> bool:
    """Whether what fits a schema has one of these types; one that is named is taken on trust."""
    if kinds is None or not isinstance(schema, Mapping) or "$ref" in schema:
        return True
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if not isinstance(values, list):
        return bool(schema.get("type") == kinds)
    names = kinds if isinstance(kinds, list) else [kinds]
    return all(any(_has_type(value, name) for name in names) for value in values)


def _has_type(value: object, name: object) -> bool:
    if isinstance(value, bool) or name == "boolean":
        return isinstance(value, bool) and name == "boolean"
    if name == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return isinstance(value, _TYPES.get(str(name), ()))


def _says_something(name: str, schema: Mapping[str, Any]) -> bool:
    """Whether a word is there and binds anything."""
    value = schema.get(name)
    match name:
        case "uniqueItems" | "not":
            return value is not None and value is not False
        case "unevaluatedProperties":
            return value is not None and value is not True and value != {}
        case "if":
            return name in schema and bool({"then", "else"} & set(schema))
    return name in schema and value != {}
