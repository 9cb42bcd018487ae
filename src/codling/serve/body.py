"""A request's body as JSON, read so fast and so strictly that the event loop need not care.

Input: the bytes that the guard let in. Output: plain values for the request's model (schema.py).
pydantic's own parser reads them: ten times as fast as Python's on long lists, with a bound on
nesting, and it refuses what is not a Unicode, so that no half of a surrogate pair comes any
further.

Not here: what the fields may hold (schema.py), files of JSON (core/foreign_json.py).
"""

import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.exceptions import HTTPException

from codling.core.errors import RequestError
from codling.core.foreign_json import parse_row

_BOM = b"\xef\xbb\xbf"
_MAX_EXPLAINED = 65536
"""A longer body is not read a second time to say which field is at fault."""


def parse_body(body: bytes) -> Any:  # noqa: ANN401 -- JSON
    """The value in a body; RequestError says what is wrong, and names a field that is not a
    Unicode.

    >>> parse_body(b'{"prompt": "x", "n": 2}')
    {'prompt': 'x', 'n': 2}
    """
    try:
        return from_json(body.removeprefix(_BOM), allow_inf_nan=False)
    except ValueError as error:
        if "surrogate" in str(error) or "hex escape" in str(error):
            field = _field_of_half_pair(body)
            raise RequestError(
                f"{field or 'the body'} holds half a surrogate pair; send valid Unicode",
                param=field,
            ) from None
        raise RequestError(f"the body is not valid JSON: {error}") from None


class JsonRoute(APIRoute):
    """A route whose request bodies are read by `parse_body`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See APIRoute."""
        handle = super().get_route_handler()

        async def read_and_handle(request: Request) -> Response:
            reading = _JsonRequest(request.scope, request.receive)
            try:
                return await handle(reading)
            except (HTTPException, RequestValidationError):
                if reading.refusal is not None:  # FastAPI's own words would hide it
                    raise reading.refusal from None
                raise

        return read_and_handle


class _JsonRequest(Request):
    refusal: RequestError | None = None
    """What is wrong with the body."""

    async def json(self) -> Any:  # noqa: ANN401 -- JSON
        try:
            return parse_body(await self.body())
        except RequestError as error:
            self.refusal = error
            raise


def _field_of_half_pair(body: bytes) -> str | None:
    """The first field of a request that holds half a surrogate pair; None if it cannot be told."""
    fields: object = None
    if len(body) <= _MAX_EXPLAINED:
        with suppress(RequestError):
            # Read leniently, a half pair becomes U+FFFD.
            fields = parse_row(body, "the body", RequestError)
    for name, value in fields.items() if isinstance(fields, dict) else ():
        if "\ufffd" in json.dumps([name, value], ensure_ascii=False):
            return str(name)[:64]
    return None
