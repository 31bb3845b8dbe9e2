"""What goes wrong with a request, as one sentence and a status: never a stack trace."""

import sys
import traceback
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from embed.errors import (
    BusyError,
    DecisionsError,
    FingerprintError,
    IdError,
    ImageError,
    WorkbenchError,
)
from retrieval.service.disclosure import folders_of_settings, without_folders
from retrieval.service.wording import sentence_of

STATUSES: tuple[tuple[type[WorkbenchError], int], ...] = (
    (IdError, 404),
    (DecisionsError, 409),
    (FingerprintError, 409),
    (ImageError, 422),
    (BusyError, 503),
    (WorkbenchError, 400),
)
WORDS = {404: "there is nothing at this address", 405: "this address does not take that method"}


class Problem(BaseModel):
    """What was expected, what was found, and what to do: one sentence."""

    detail: str


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": description}
    for status, description in (
        (400, "What is asked for does not fit the store."),
        (401, "A token is needed."),
        (403, "The request comes from another page or for another host."),
        (404, "There is no such item."),
        (405, "Another method."),
        (408, "The request took too long to arrive."),
        (409, "Files do not fit together."),
        (413, "The request is too large."),
        (415, "Another type of content."),
        (422, "A value that can't be read."),
        (500, "A fault of the service, which is in its log."),
        (503, "Too busy: try again."),
    )
}


def add_problems(app: FastAPI) -> None:
    """Answer every fault with a `Problem`."""
    app.add_exception_handler(WorkbenchError, _of_workbench)
    app.add_exception_handler(RequestValidationError, _of_values)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _of_service)


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer to a request that went wrong."""
    return JSONResponse({"detail": _printable(detail)}, status, headers)


def _of_workbench(request: Request, error: Exception) -> JSONResponse:
    status = next(status for kind, status in STATUSES if isinstance(error, kind))
    headers = {"Retry-After": "1"} if status == 503 else None
    folders = folders_of_settings(request.app.state.service.settings)
    return problem(status, without_folders(str(error), folders), headers)


def _of_values(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return problem(422, sentence_of(error.errors()[0], request))


def _of_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    detail = WORDS.get(error.status_code, error.detail)
    return problem(error.status_code, detail, dict(error.headers or {}))


def _of_service(request: Request, error: Exception) -> JSONResponse:
    # Starlette raises it again, and the server would print it once more: see `server`.
    return problem(500, "the service failed at this request: its log says why")


def log_fault(error: BaseException) -> None:
    """Print what went wrong to standard error, for whoever runs the service."""
    traceback.print_exception(error, file=sys.stderr)


def _printable(text: str) -> str:
    """Without what is no text: halves of surrogate pairs can't be sent."""
    return text.encode("utf-8", "replace").decode("utf-8")
