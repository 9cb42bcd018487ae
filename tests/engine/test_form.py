"""What a request says of a form, before any package reads it."""

from typing import Any

import pytest

from codling.core.errors import RequestError
from codling.engine.form import Form, bind_lengths, join_surrogates
from codling.engine.schema_words import refuse_unkept


@pytest.mark.parametrize("choices", [5, {"a": 1}, "abc", [], ["a", 5], ["a", ""]])
def test_choices_that_are_no_list_of_texts_are_one_line(choices: Any) -> None:
    with pytest.raises(RequestError, match="must be a list of texts"):
        Form.of_choices(choices, "guided_choice")


def test_a_choice_beyond_the_basic_plane_is_written_as_it_is() -> None:
    # Escaped it would be two halves of a pair, which a grammar reads as two characters.
    assert Form.of_choices(["\U0001f600", 'a"'], "c").source == 'root ::= "\U0001f600" | "a\\""'


@pytest.mark.parametrize("count", [None, "3", 2.5, -1, [1]])
@pytest.mark.parametrize("name", ["minLength", "maxLength", "minItems"])
def test_a_count_that_is_none_is_named(name: str, count: object) -> None:
    with pytest.raises(RequestError, match=f"{name} must be a whole number"):
        Form.of_schema({"type": "object", "properties": {"x": {name: count}}}, "s")


def test_values_in_a_schema_stay_as_they_are_and_names_are_no_keywords() -> None:
    short = {"type": "string", "maxLength": 2}
    bound = {"type": "string", "pattern": r'^[^"\\\x00-\x1f]{0,2}$'}
    assert bind_lengths({"const": short, "enum": [short]}) == {"const": short, "enum": [short]}
    named = {"properties": {"enum": short, "maxLength": short, "properties": short}}
    assert bind_lengths(named) == {
        "properties": {"enum": bound, "maxLength": bound, "properties": bound}
    }
    Form.of_schema(named, "s")


def test_what_is_required_is_described_even_if_no_property_is() -> None:
    assert bind_lengths({"required": ["a"]})["properties"] == {"a": True}
    typed = bind_lengths({"required": ["a"], "additionalProperties": {"type": "integer"}})
    assert typed["properties"] == {"a": {"type": "integer"}}


def test_an_escaped_pair_of_surrogates_is_one_character() -> None:
    assert join_surrogates(r'root ::= "\ud83d\ude00" [\uD83D\uDE00-\uD83D\uDE02]', "g") == (
        'root ::= "\U0001f600" [\U0001f600-\U0001f602]'
    )
    # What is escaped itself is text, and other escapes stay.
    assert join_surrogates(r"\\ud83d \u00fc \n", "g") == r"\\ud83d \u00fc \n"
    assert (
        Form.of_schema({"pattern": r"\ud83d\ude00"}, "s").source == r'{"pattern": "\ud83d\ude00"}'
    )


@pytest.mark.parametrize(
    "escape", [r"\ud83d", r"\ude00", r"\ude00\ud83d", r"\U00110000", r"\U0000d800"]
)
def test_an_escape_that_is_no_character_is_named(escape: str) -> None:
    with pytest.raises(RequestError, match="which is no character"):
        join_surrogates(f'root ::= "{escape}"', "grammar")
    with pytest.raises(RequestError, match="which is no character"):
        Form.of_schema({"type": "string", "pattern": escape}, "s")


@pytest.mark.parametrize("name", ["anyOf", "oneOf", "allOf", "type"])
def test_an_empty_list_of_schemas_fits_nothing(name: str) -> None:
    with pytest.raises(RequestError, match=f"s: {name} is empty"):
        Form.of_schema({"type": "object", "properties": {"a": {name: []}}}, "s")
    Form.of_schema({"enum": [{name: []}], "properties": {name: {"type": "string"}}}, "s")


def test_what_is_required_beyond_the_properties_is_described_too() -> None:
    made = bind_lengths({"properties": {"a": {}}, "required": ["a", "b"]})
    assert made["properties"] == {"a": {}, "b": True}


def test_a_length_binds_a_text_that_may_be_null() -> None:
    made = bind_lengths({"type": ["string", "null"], "maxLength": 2})
    assert made == {"type": ["string", "null"], "pattern": r'^[^"\\\x00-\x1f]{0,2}$'}


NAME = {"type": "string"}
UNKEPT: list[tuple[Any, str]] = [
    ({"type": "integer", "not": {"const": 5}}, "not is not supported"),
    ({"not": {}}, "not is not supported"),
    ({"allOf": [{"type": "integer"}, {"minimum": 5}]}, "allOf has several schemas"),
    ({"$ref": "#/$defs/x", "minimum": 5}, r"\$ref and minimum stand in one schema"),
    ({"anyOf": [NAME], "properties": {"a": NAME}}, "anyOf and properties stand"),
    ({"type": "object", "anyOf": [{"required": ["b"]}]}, "anyOf and type stand"),
    ({"type": "array", "items": {"type": "array", "uniqueItems": True}}, "uniqueItems is not"),
    ({"properties": {"a": {"if": NAME, "then": False}}}, "if is not supported"),
    ({"minimum": 5}, "minimum stands in a schema without a type"),
    ({"type": "string", "pattern": "a", "maxLength": 3}, "maxLength and pattern stand"),
    ({"type": "integer", "enum": [1, "a"]}, "enum and type disagree"),
    ({"type": "integer", "const": True}, "const and type disagree"),
    ({"type": "object", "unevaluatedProperties": False}, "unevaluatedProperties is not"),
]


@pytest.mark.parametrize(("schema", "words"), UNKEPT)
def test_a_schema_that_cannot_be_kept_to_names_the_word(schema: Any, words: str) -> None:
    with pytest.raises(RequestError, match=words) as refused:
        refuse_unkept(schema)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"properties": {"not": NAME, "if": {}, "then": {}, "minimum": NAME}},
        {"enum": [{"not": 1}], "default": {"not": 1}},
        {"allOf": [{"$ref": "#/$defs/a"}], "description": "x", "$defs": {"a": NAME}},
        {"oneOf": [{"$ref": "#/a"}], "discriminator": {"propertyName": "kind"}},
        {"type": "string", "oneOf": [{"const": "a", "title": "A"}]},
        {"type": ["string", "null"], "enum": ["a", None]},
        {"type": "array", "uniqueItems": False},
        {"type": "string", "format": "uri", "minLength": 1, "maxLength": 2083},
        {"type": "number", "enum": [1, 2.5]},
    ],
)
def test_what_clients_write_every_day_passes(schema: Any) -> None:
    refuse_unkept(schema)
