"""One user, wherever the user's partition is: answered here or by the owner."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import orjson
from fastapi import Request
from starlette.responses import Response

from app.web.deps import WebDeps
from app.web.forward import Forwarder
from app.web.models import as_json
from app.web.problems import Problem

T = TypeVar("T")


def json_response(content: Any, status: int = 200) -> Response:
    """An answer of JSON, never cached."""
    return Response(
        orjson.dumps(as_json(content), option=orjson.OPT_NON_STR_KEYS),
        status,
        {"Cache-Control": "no-store"},
        "application/json",
    )


class Users:
    """Answers about users."""

    def __init__(self, deps: WebDeps, forwarder: Forwarder) -> None:
        self._deps = deps
        self._forwarder = forwarder

    async def answer(self, request: Request, user: str, ask: Callable[[], Awaitable[T | None]]) -> Response:
        """What `ask` gives when the user is here, else the owner's answer to the same request."""
        owner = self.owner(user)
        if owner is not None:
            return await self._forwarder.forward(request, owner)
        return json_response(await self.local(user, ask))

    async def forward(self, request: Request, owner: str) -> Response:
        """The owner's answer to this very request."""
        return await self._forwarder.forward(request, owner)

    def owner(self, user: str) -> str | None:
        """The base URL of the worker to ask, None for this one; 503 when nobody has the user just
        now.
        """
        if self._deps.state.owns(user):
            return None
        try:
            owner = self._deps.cluster.owner(user)
        except LookupError:
            owner = None
        if owner is None:
            raise _nobody(user)
        return owner

    async def local(self, user: str, ask: Callable[[], Awaitable[T | None]]) -> T:
        """This worker's own answer; 404 when there is no such user."""
        try:
            found = await ask()
        except LookupError:
            raise _nobody(user) from None
        if found is None:
            raise Problem(
                404,
                "unknown-user",
                f"Nothing is known of the user {user!r}: no event or profile came yet, or all of it expired.",
            )
        return found


def _nobody(user: str) -> Problem:
    detail = f"The partition of {user!r} is between two workers or recovering; ask again in a moment."
    return Problem(503, "no-owner", detail, {"Retry-After": "1"})
