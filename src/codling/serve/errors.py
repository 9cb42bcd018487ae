"""OpenAI's error shape: {"error": {"message", "type", "param", "code"}} for every failure.

Input: our own errors, FastAPI's validation errors, wrong addresses. Output: a status and a JSON
body.

Not here: the wording of users' mistakes (each is raised where it is noticed).
"""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from codling.core.errors import CodlingError, RequestError

log = logging.getLogger("codling.serve")

INVALID = "invalid_request_error"


class ApiError(Exception):
    """A request that fails, as the client will see it."""

    def __init__(  # noqa: PLR0913 - the fields of OpenAI's shape
        self,
        status: int,
        message: str,
        *,
        type: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.type = status, message, type
        self.param, self.code, self.headers = param, code, headers

    def body(self) -> dict[str, Any]:
        """The JSON object that OpenAI's clients parse."""
        inner = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": inner}

    def response(self) -> JSONResponse:
        """The whole HTTP answer."""
        return JSONResponse(self.body(), status_code=self.status, headers=self.headers)


def too_long_error(
    n_prompt: int, max_length: int, param: str, *, at_least: bool = False
) -> ApiError:
    """400 for a prompt that leaves no room for an answer; `at_least`: its end was not read."""
    return ApiError(
        400,
        f"the prompt has {'at least ' if at_least else ''}{n_prompt} tokens and the context holds "
        f"{max_length}, "
        "with at least one kept for the answer; shorten the prompt",
        param=param,
        code="context_length_exceeded",
    )


def overload_error(message: str) -> ApiError:
    """503: sound, but too much at once; clients try again by themselves."""
    return ApiError(
        503, message, type="overloaded_error", code="busy", headers={"Retry-After": "1"}
    )


def as_api_error(error: BaseException) -> ApiError:
    """How `error` looks to the client; what is our own mistake is logged and shown as 500."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RequestError):
        return ApiError(400, str(error), param=error.param)
    if isinstance(error, CodlingError):
        return ApiError(400, str(error))
    log.error("a request failed", exc_info=error)
    return ApiError(
        500,
        "the server failed on this request; its log says why",
        type="server_error",
        headers={"Connection": "close"},  # as the server does after an error that it did not expect
    )


def install_error_handlers(app: FastAPI) -> None:
    """Make every failure of `app` answer in OpenAI's shape."""

    async def on_error(_: Request, error: Exception) -> JSONResponse:
        return as_api_error(error).response()

    async def on_invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return _from_validation(error).response()

    async def on_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return _from_status(request, error).response()

    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    for kind in (ApiError, CodlingError, Exception):
        app.add_exception_handler(kind, on_error)


def _from_validation(error: RequestValidationError) -> ApiError:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"][1:]]  # after body or query
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", "")
        return ApiError(400, f"the body is not valid JSON: {reason}".rstrip(": "))
    if not where:
        return ApiError(
            400, "the body must be a JSON object, sent as Content-Type: application/json"
        )
    param = where[0]
    if first["type"] == "missing":
        return ApiError(400, f"{param} is missing", param=param)
    branches = {e["loc"][2] for e in error.errors() if e["loc"][1:2] == (param,) and e["loc"][2:]}
    is_union = len(branches) > 1 or param == "prompt"
    if is_union and any(isinstance(branch, str) for branch in branches):
        return ApiError(400, f"{param} has none of the forms that it may have", param=param)
    names = ".".join([param, *(part for part in where[1:2] if not part.isdigit())])
    return ApiError(400, f"{names}: {first['msg'][:1].lower()}{first['msg'][1:]}", param=param)


def _from_status(request: Request, error: HTTPException) -> ApiError:
    path = request.url.path
    if error.status_code == 404:
        return ApiError(404, f"there is nothing at {request.method} {path}", code="not_found")
    if error.status_code == 405:
        allow = dict(error.headers or {}).get("Allow", "another method")
        return ApiError(
            405,
            f"{path} does not take {request.method}; use {allow}",
            code="method_not_allowed",
            headers=dict(error.headers or {}),
        )
    return ApiError(error.status_code, str(error.detail))
