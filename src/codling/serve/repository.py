"""GET /v1/repository, /v1/repository/file and POST /v1/repository/context: the repository that is
followed, for the page.

Input: paths of its files. Output: which files there are, the text of one, and what a completion in
it is shown of the others, and why. Only files that the index of the repository lists can be seen:
code that git does not ignore, no link that leads to anything else, no secret (its placeholder
instead).

    {"path": "app/main.py", "files": [{"path": "app/money.py", "rule": "import",
     "via": "app/main.py", "distance": 1, "n_tokens": 31, "is_cut": false}], ...}

Not here: which files those are (corpus/context.py), and any way to write one.
"""

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from codling.corpus.context import MAX_FILE_BYTES, ContextFile, Cursor
from codling.corpus.filters import marks
from codling.corpus.redaction.redact import RedactConfig, redact
from codling.corpus.sources.decode import decode
from codling.serve import schema
from codling.serve.errors import ApiError
from codling.serve.prompts import context_ids
from codling.serve.server import Server
from codling.serve.side_work import Check
from codling.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from codling.engine.memory.live import LiveRepository

MAX_FILES = 20_000
"""Files in one listing."""
_SECRETS = RedactConfig(emails=False, addresses=False)


class ContextRequest(BaseModel):
    """POST /v1/repository/context: a cursor in a file, as in a completion."""

    model_config = ConfigDict(extra="ignore")

    path: schema.Path = Field(min_length=1)
    prompt: str = ""
    suffix: str | None = None
    max_tokens: int | None = Field(default=None, ge=1)


async def list_files(request: Request, server: Server) -> Response:
    """The files of the repository, as its index lists them now."""
    repository = _find_repository(server)
    sizes = await server.read(request, lambda _: repository.files())
    rows = [{"path": path, "n_bytes": n_bytes} for path, n_bytes in sizes.items()]
    return JSONResponse(
        {
            "object": "repository",
            "name": repository.name,
            "n_files": len(rows),
            "files": rows[:MAX_FILES],
        }
    )


async def show_file(request: Request, path: str, server: Server) -> Response:
    """The text of one file; ApiError 404, 413 or 415 for what cannot be shown."""
    repository = _find_repository(server)
    return JSONResponse(await server.read(request, _show, repository, path))


async def explain(request: Request, asked: ContextRequest, server: Server) -> Response:
    """What a completion at this cursor is shown of other files."""
    _find_repository(server)
    return JSONResponse(await server.read(request, _explain, asked, server))


def _find_repository(server: Server) -> "LiveRepository":
    if server.backend.repository is None:
        raise ApiError(
            404, "this server follows no repository; start it with --repo PATH", code="not_found"
        )
    return server.backend.repository


def _show(_: Check, repository: "LiveRepository", path: str) -> dict[str, Any]:
    try:
        data = _read(repository.place(path), path)
    except (KeyError, OSError, ValueError):
        # One answer for what is not there and what may not be seen.
        raise ApiError(
            404,
            "the repository's index lists no such file; GET /v1/repository lists them",
            param="path",
            code="not_found",
        ) from None
    text = None if b"\0" in data else decode(data)
    if text is None:
        raise ApiError(415, f"{path} is no text in UTF-8 or GB 18030", param="path")
    text, edits = redact(text, _SECRETS, marks.ALL)
    return {
        "object": "repository.file",
        "path": path,
        "n_bytes": len(data),
        "text": text,
        "redactions": [{"line": edit.line, "kind": edit.kind} for edit in edits],
    }


def _read(place: Path, path: str) -> bytes:
    """The bytes of a regular file; a link that took its place since is refused by the system."""
    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is no regular file")
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ApiError(
            413, f"{path} is larger than {MAX_FILE_BYTES:,} bytes; open it elsewhere", param="path"
        )
    return data


def _explain(_: Check, asked: ContextRequest, server: Server) -> dict[str, Any]:
    backend = server.backend
    wanted = asked.max_tokens or server.config.default_max_tokens
    cursor = Cursor(asked.path, asked.prompt, asked.suffix or "")
    room = max(1, min(wanted, backend.max_length // 2))
    context = backend.explain_context(cursor, room)
    ids = context_ids(backend, cursor, wanted)
    if context is None or ids is None:
        raise ApiError(404, "the file lies outside the repository", param="path", code="not_found")
    tokenizer = backend.tokenizer
    files = _rows(context.files, tokenizer)
    n_marks, n_suffix = _count_after(ids, tokenizer)
    n_here = len(ids) - n_marks - n_suffix - sum(row["n_tokens"] for row in files)
    order = ["files", "here"]
    if n_marks:
        order.insert(2 if tokenizer.fim_mode == "psm" else 0, "suffix")
    return {
        "object": "repository.context",
        "path": asked.path,
        "n_tokens": len(ids),
        "max_length": backend.max_length,
        "room": backend.reach.count_room(backend.max_length, wanted),
        "order": order,
        "files": files,
        "here": {"n_tokens": max(0, n_here)},
        "suffix": {"n_tokens": n_suffix},
        "left_out": _rows(context.left_out, tokenizer),
    }


def _count_after(ids: Sequence[int], tokenizer: Tokenizer) -> tuple[int, int]:
    """The marks of an insertion's prompt and the tokens after the cursor; 0, 0 of another one."""
    specials = tokenizer.specials
    if specials.fim_hole not in ids or specials.fim_end not in ids:
        return 0, 0
    n_suffix = ids.index(specials.fim_end) - ids.index(specials.fim_hole) - 1
    return 3 + len(tokenizer.start_ids), n_suffix


def _rows(files: Iterable[ContextFile], tokenizer: Tokenizer) -> list[dict[str, Any]]:
    return [
        {
            "path": file.path,
            "rule": "import",
            "via": file.via,
            "distance": file.distance,
            "n_tokens": len(tokenizer.encode(file.text)) if file.text else 0,
            "is_cut": file.is_cut,
        }
        for file in files
    ]
