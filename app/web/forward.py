"""Asking another worker: the only place that makes outgoing requests for the web."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import msgspec
import orjson
from fastapi import Request
from starlette.responses import Response

from app.web import limits
from app.web.guard import HOPS_HEADER
from app.web.metrics import WebMetrics
from app.web.problems import Problem

# What of a request and of an answer means something on the other side; the rest belongs to one
# connection.
_REQUEST_HEADERS = (
    "accept",
    "accept-language",
    "content-type",
    "authorization",
    "last-event-id",
    "if-none-match",
    "if-match",
)
_ANSWER_HEADERS = ("content-type", "retry-after", "cache-control", "etag", "location", "www-authenticate", "allow")


class TooLong(Exception):
    """A peer's answer is larger than any of ours would be."""


class Forwarder:
    """The connections to the other workers. `transport` replaces the network in tests."""

    def __init__(self, metrics: WebMetrics, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._metrics = metrics
        self._client = httpx.AsyncClient(
            transport=transport,
            timeout=httpx.Timeout(limits.FORWARD_SECONDS_MAX, connect=limits.FORWARD_CONNECT_SECONDS_MAX),
            limits=httpx.Limits(max_connections=limits.PEER_CONNECTIONS_MAX),
            trust_env=False,
            follow_redirects=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def forward(self, request: Request, owner: str) -> Response:
        """The owner's answer to this very request: method, path, query and body kept, one hop more.

        Raises `Problem`: 508 when it has been passed on too often, 502 when the owner does not
        answer, 504 when it takes too long.
        """
        hops = hops_of(request)
        if hops >= limits.HOPS_MAX:
            self._metrics.forwarded("loop")
            raise Problem(
                508,
                "loop",
                f"Passed on {hops} times and still not at its owner; the workers disagree, ask again.",
                {"Retry-After": "1"},
            )
        headers = {name: value for name in _REQUEST_HEADERS if (value := request.headers.get(name)) is not None}
        headers[HOPS_HEADER] = str(hops + 1)
        outgoing = self._client.build_request(
            request.method, owner + _target(request), headers=headers, content=await request.body()
        )
        answer, body = await self._send(outgoing, owner, limits.FORWARD_SECONDS_MAX)
        kept = {name: value for name in _ANSWER_HEADERS if (value := answer.headers.get(name)) is not None}
        return Response(body, answer.status_code, kept)

    async def ask_all(
        self, peers: Sequence[str], path: str, params: Mapping[str, str], shape: type[Any] = dict
    ) -> tuple[list[Any], list[str]]:
        """The answers of all peers to `GET path` with `local=1`, as `shape`, and the addresses of
        those that gave none in time.

        An answer of another shape is none: a worker of another version does not say what is asked
        for.
        """
        answers = await asyncio.gather(*[self._ask(peer, path, params, shape) for peer in peers])
        missing = [peer for peer, answer in zip(peers, answers, strict=True) if answer is None]
        return [answer for answer in answers if answer is not None], missing

    async def _ask(self, peer: str, path: str, params: Mapping[str, str], shape: type[Any]) -> Any:
        outgoing = self._client.build_request(
            "GET", peer + path, params={**params, "local": "1"}, headers={HOPS_HEADER: "1"}
        )
        try:
            answer, body = await self._send(outgoing, peer, limits.FANOUT_SECONDS_MAX)
            return msgspec.convert(orjson.loads(body), shape) if answer.status_code == 200 else None
        except (Problem, orjson.JSONDecodeError, msgspec.ValidationError):
            return None

    async def _send(self, outgoing: httpx.Request, owner: str, seconds: float) -> tuple[httpx.Response, bytes]:
        try:
            async with asyncio.timeout(seconds):
                answer = await self._client.send(outgoing, stream=True)
                try:
                    body = await _read(answer)
                finally:
                    await answer.aclose()
        except (TimeoutError, httpx.TimeoutException):
            self._metrics.forwarded("timeout")
            raise Problem(
                504, "worker-unreachable", f"The worker at {owner} took longer than {seconds:.0f} s."
            ) from None
        except (httpx.HTTPError, TooLong) as error:
            self._metrics.forwarded("failed")
            detail = f"The worker at {owner} does not answer ({type(error).__name__})."
            raise Problem(502, "worker-unreachable", detail, {"Retry-After": "2"}) from None
        self._metrics.forwarded("ok")
        return answer, body


def hops_of(request: Request) -> int:
    """How often the request was passed on already; a header that is no number counts as too
    often."""
    text = request.headers.get(HOPS_HEADER, "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else limits.HOPS_MAX


def _target(request: Request) -> str:
    """Path and query exactly as they came, percent-encoding included."""
    path = request.scope["raw_path"].split(b"?", 1)[0].decode("ascii")
    query = request.scope["query_string"].decode("ascii")
    return f"{path}?{query}" if query else str(path)


async def _read(answer: httpx.Response) -> bytes:
    pieces = []
    size = 0
    async for piece in answer.aiter_bytes():
        size += len(piece)
        if size > limits.PEER_ANSWER_BYTES_MAX:
            raise TooLong
        pieces.append(piece)
    return b"".join(pieces)
