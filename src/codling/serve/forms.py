"""The fields that bind an answer to a form, and those that push its tokens.

Input: JSON fields of OpenAI's, vLLM's and llama.cpp's requests. Output: a Form, penalties, biases.

    response_format                                 OpenAI's
    grammar, json_schema                            llama.cpp's
    structured_outputs, guided_json, _regex ...     vLLM's

Not here: what holds an answer to it (engine/structured.py).
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, Field, model_validator

from codling.core.errors import RequestError
from codling.core.foreign_json import parse_row
from codling.engine.form import Form, bound_size, join_surrogates

MAX_BIASES = 1024
_FORMS = (
    "grammar", "json_schema", "guided_json", "guided_regex", "guided_choice", "guided_grammar",
)  # fmt: skip


class Constrained(BaseModel):
    """Fields that bind the answer to a form or push its tokens."""

    grammar: Any = None
    json_schema: Any = None
    structured_outputs: Any = None
    guided_json: Any = None
    guided_regex: Any = None
    guided_choice: Any = None
    guided_grammar: Any = None
    functions: Any = None
    response_format: dict[str, Any] | None = None
    logit_bias: Any = None
    presence_penalty: float = Field(default=0.0, ge=-2, le=2, allow_inf_nan=False)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2, allow_inf_nan=False)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10, allow_inf_nan=False)
    repeat_penalty: float | None = Field(default=None, gt=0, le=10, allow_inf_nan=False)
    """llama.cpp's name of the same."""
    min_logprob: float | None = Field(default=None, le=0, allow_inf_nan=False)
    """Ours: an insertion whose first line has a lower mean log-probability stays away."""
    stop_at_loop: bool | None = None
    """Ours: end an answer that repeats itself without end; default: the server's."""

    @model_validator(mode="before")
    @classmethod
    def _absent_is_default(cls, values: object) -> object:
        """A null means the default, as OpenAI has it."""
        if isinstance(values, dict):
            return {k: v for k, v in values.items() if v is not None}
        return values

    def refuse_unsupported(self) -> None:
        """Raise RequestError for a setting that would change the answer and is not implemented."""
        if self.functions:
            raise RequestError(
                "functions are not supported any more; send them as tools", param="functions"
            )

    @property
    def form(self) -> Form | None:
        """What the answer must look like; RequestError if that is unsound or said twice."""
        given = [(n, getattr(self, n)) for n in _FORMS if getattr(self, n)]
        if self.structured_outputs:
            given += _structured_outputs(self.structured_outputs)
        forms = [(name, _read_form(name, value)) for name, value in given]
        if (form := response_form(self.response_format)) is not None:
            forms.append(("response_format", form))
        if len(forms) > 1:
            names = " and ".join(name for name, _ in forms)
            raise RequestError(f"{names} say two forms of one answer; send one", param=forms[1][0])
        return forms[0][1] if forms else None

    @property
    def biases(self) -> tuple[tuple[int, float], ...]:
        """(token, bias), from OpenAI's map or llama.cpp's list of pairs."""
        raw = self.logit_bias or ()
        pairs = list(raw.items()) if isinstance(raw, dict) else raw
        if not isinstance(pairs, list | tuple) or len(pairs) > MAX_BIASES:
            raise RequestError(
                f"logit_bias must map at most {MAX_BIASES} token ids to numbers", param="logit_bias"
            )
        return tuple(_bias(pair) for pair in pairs)

    @property
    def repetition(self) -> float:
        """The repetition penalty under either name."""
        given = self.repetition_penalty or self.repeat_penalty
        return 1.0 if given is None else given


def response_form(value: Mapping[str, Any] | None, param: str = "response_format") -> Form | None:
    """The form that OpenAI's response_format says; None for text.

    >>> response_form({"type": "json_object"})
    Form(kind='json', source='')
    """
    kind = (value or {}).get("type", "text")
    if value is None or kind == "text":
        return None
    if kind == "json_object":
        schema = value.get("schema")  # llama.cpp's
        return Form("json") if schema is None else Form.of_schema(schema, param)
    if kind == "json_schema":
        inner = value.get("json_schema", value)  # flat in /v1/responses
        if not isinstance(inner, Mapping) or "schema" not in inner:
            raise RequestError(f"{param} json_schema needs a schema", param=param)
        return Form.of_schema(inner["schema"], param)
    raise RequestError(
        f"{param} type must be text, json_object or json_schema, not {str(kind)[:40]}", param=param
    )


def _read_form(name: str, value: object) -> Form:
    return _READERS[name.removeprefix("guided_")](value, name)


def _schema(value: object, name: str) -> Form:
    if isinstance(value, str):
        try:
            value = parse_row(bound_size(value, name), name, RequestError)
        except RequestError as error:
            raise RequestError(str(error), param=name) from None
    return Form.of_schema(value, name)


def _grammar(value: object, name: str) -> Form:
    return Form("grammar", join_surrogates(bound_size(_text(value, name), name), name))


def _regex(value: object, name: str) -> Form:
    return Form("regex", join_surrogates(bound_size(_text(value, name), name), name))


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise RequestError(f"{name} must be a text", param=name)
    return value


def _structured_outputs(value: object) -> list[tuple[str, object]]:
    """vLLM's newer field as the older ones."""
    if not isinstance(value, Mapping):
        raise RequestError("structured_outputs must be an object", param="structured_outputs")
    known = [(f"guided_{k}", v) for k, v in value.items() if k in _READERS and v]
    if value.get("json_object"):
        known.append(("guided_json", {"type": "object"}))
    if not known:
        raise RequestError(
            "structured_outputs must hold json, regex, choice, grammar or json_object",
            param="structured_outputs",
        )
    return known


_READERS: Mapping[str, Callable[[Any, str], Form]] = {
    "grammar": _grammar,
    "json_schema": _schema,
    "json": _schema,
    "regex": _regex,
    "choice": Form.of_choices,
}


def _bias(pair: object) -> tuple[int, float]:
    match pair:
        case [token, value] if isinstance(token, str | int) and isinstance(value, int | float):
            text = str(token)
            if text.isascii() and text.isdigit() and len(text) < 10 and -100 <= value <= 100:
                return int(text), -100.0 if value is False else float(value)
    raise RequestError(
        f"logit_bias maps token ids to numbers from -100 to 100, not {json.dumps(pair)[:60]}",
        param="logit_bias",
    )
