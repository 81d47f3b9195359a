"""Errors as RFC 9457 problem documents, for everything that can go wrong in an HTTP answer."""

from __future__ import annotations

from typing import Any, Literal

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.domain.errors import HypersegError, InputError, Unreachable, UsageError

MEDIA_TYPE = "application/problem+json"

ProblemKind = Literal[
    "not-found",
    "unknown-user",
    "unknown-segment",
    "invalid-request",
    "method-not-allowed",
    "too-large",
    "too-many-requests",
    "too-many-streams",
    "wrong-host",
    "not-ready",
    "no-owner",
    "worker-unreachable",
    "loop",
    "internal",
    "http",
]

# What each kind means; the part after the last colon is the machine-readable name.
TITLES: dict[ProblemKind, str] = {
    "not-found": "There is nothing here",
    "unknown-user": "No such user",
    "unknown-segment": "No such segment",
    "invalid-request": "The request is not valid",
    "method-not-allowed": "Not this method",
    "too-large": "The body is too large",
    "too-many-requests": "Too many requests",
    "too-many-streams": "Too many open streams",
    "wrong-host": "Not a host of this server",
    "not-ready": "Not ready",
    "no-owner": "No worker has this user now",
    "worker-unreachable": "The worker that has this user does not answer",
    "loop": "The workers send this request in a circle",
    "internal": "Something went wrong here",
    "http": "The request failed",
}


class Problem(Exception):
    """Raised anywhere in a route: answered as a problem document.

    `more` are members of their own (`reasons`, `retry_after` …).
    """

    def __init__(
        self, status: int, kind: ProblemKind, detail: str, headers: dict[str, str] | None = None, **more: Any
    ) -> None:
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = headers or {}
        self.more = more
        super().__init__(f"{status} {kind}: {detail}")

    def document(self, instance: str) -> dict[str, Any]:
        """The members of the document; `instance` is the path that was asked for."""
        head = {
            "type": f"urn:hyperseg:problem:{self.kind}",
            "title": TITLES[self.kind],
            "status": self.status,
            "detail": self.detail,
        }
        return {**head, "instance": instance, **self.more}

    def response(self, instance: str) -> Response:
        """The answer."""
        return Response(orjson.dumps(self.document(instance)), self.status, self.headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document."""

    async def problem(request: Request, error: Exception) -> Response:
        return as_problem(error).response(request.url.path)

    for kind in (Problem, HypersegError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, problem)


def as_problem(error: Exception) -> Problem:
    """The problem that an exception means. What a bug raised is not shown to the client."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        return _http(error)
    if isinstance(error, RequestValidationError):
        return _validation(error)
    if isinstance(error, InputError | UsageError):
        return Problem(422, "invalid-request", str(error))
    if isinstance(error, Unreachable):
        return Problem(503, "not-ready", str(error), {"Retry-After": "2"})
    return Problem(500, "internal", "The answer could not be made; the worker's log says why.")


def _http(error: HTTPException) -> Problem:
    kinds: dict[int, ProblemKind] = {404: "not-found", 405: "method-not-allowed", 413: "too-large"}
    kind = kinds.get(error.status_code, "http")
    detail = {404: "No route has this path.", 405: "The path is there, but not for this method."}.get(
        error.status_code, str(error.detail)
    )
    return Problem(error.status_code, kind, detail, dict(error.headers or {}))


def _validation(error: RequestValidationError) -> Problem:
    errors = [{"where": ".".join(map(str, item["loc"])), "message": item["msg"]} for item in error.errors()]
    detail = "; ".join([f"{item['where']}: {item['message']}" for item in errors])
    return Problem(422, "invalid-request", detail, errors=errors)
