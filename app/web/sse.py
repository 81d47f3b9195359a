"""Server-sent events as an ASGI answer: pieces are sent as they come, a gone or stuck client ends
it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.web import limits
from app.web.metrics import WebMetrics

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class EventStreamResponse(Response):
    """Sends `pieces` until they end, the client leaves, or its socket takes nothing for
    `STREAM_SEND_SECONDS_MAX`.

    It is in `open_streams` as long as it runs, which is how their number is limited.
    """

    media_type = "text/event-stream"

    def __init__(self, pieces: AsyncIterator[bytes], metrics: WebMetrics, open_streams: set[object]) -> None:
        super().__init__()
        self._pieces = pieces
        self._metrics = metrics
        self._open = open_streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        tasks = {asyncio.create_task(self._pump(send)), asyncio.create_task(_gone(receive))}
        self._open.add(self)
        self._metrics.streams.set(len(self._open))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open.discard(self)
            self._metrics.streams.set(len(self._open))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _pump(self, send: Send) -> None:
        try:
            async for piece in self._pieces:
                async with asyncio.timeout(limits.STREAM_SEND_SECONDS_MAX):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            self._metrics.dropped("stuck")


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
