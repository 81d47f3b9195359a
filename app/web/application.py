"""The web application of one worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.observability.logs import get_logger
from app.web import api, console, limits, ops, problems
from app.web.deps import WebDeps
from app.web.fanout import Fanout
from app.web.forward import Forwarder
from app.web.guard import Guard
from app.web.metrics import WebMetrics
from app.web.openapi import Application
from app.web.segments import Segments
from app.web.users import Users

_log = get_logger(__name__)

# What the server that runs the application is told. Open streams end by themselves when the feed is
# closed; the time-out is for stuck ones.
UVICORN_OPTIONS = {
    "http": "h11",
    "ws": "none",
    "access_log": False,
    "server_header": False,
    "date_header": True,
    "proxy_headers": False,
    "timeout_keep_alive": 15,
    "timeout_graceful_shutdown": 3,
    "limit_concurrency": limits.CONNECTIONS_MAX,
    "h11_max_incomplete_event_size": limits.HEADER_BYTES_MAX,
}


def build_app(deps: WebDeps, transport: httpx.AsyncBaseTransport | None = None, hosts: tuple[str, ...] = ()) -> FastAPI:
    """The application: API, console, operation. `hosts` are names it may be addressed by besides
    localhost and plain addresses.

    Serve it with `UVICORN_OPTIONS`; close `deps.feed` before the server is stopped, so that open
    streams end at once. `transport` replaces the network between workers in tests.
    """
    metrics = WebMetrics(deps.registry)
    forwarder = Forwarder(metrics, transport)
    fanout = Fanout(deps, forwarder)
    users = Users(deps, forwarder)
    segments = Segments(deps, fanout)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        measuring = asyncio.create_task(_measure(fanout), name="measure-sizes")
        yield
        measuring.cancel()
        deps.feed.close()
        await forwarder.close()

    app = Application(
        title=deps.title, version=deps.version, lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.include_router(api.router(deps, users, segments, fanout, metrics))
    app.include_router(ops.router(deps))
    console.mount(app, deps, users, segments, fanout)
    problems.install(app)
    app.add_middleware(_Measured, metrics=metrics)
    app.add_middleware(Guard, hosts=hosts)
    return app


async def _measure(fanout: Fanout) -> None:
    """Measures the sizes again and again, whether or not anybody looks, so that there is a past to
    show. Runs until it is cancelled.
    """
    failing = False
    while True:
        try:
            await fanout.sizes()
            failing = False
        except Exception as error:
            if not failing:
                _log.warning("the sizes of the segments cannot be measured; trying again", cause=repr(error))
            failing = True
        await asyncio.sleep(limits.RATE_BUCKET_MS / 1_000 / 2)


class _Measured:
    """Counts answers by the route's template, and the time to their head."""

    def __init__(self, app: ASGIApp, metrics: WebMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        async def measured(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                self._metrics.answered(route, message["status"], time.perf_counter() - started)
            await send(message)

        await self._app(scope, receive, measured)
