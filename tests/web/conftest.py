"""Clients of one worker, of two that know each other, and of a served one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from selenium import webdriver
from starlette.types import ASGIApp

from app.web.application import UVICORN_OPTIONS, build_app
from app.web.deps import WebDeps
from tests.web.chromium import chromium
from tests.web.fakes import deps


@pytest.fixture
def worker() -> WebDeps:
    return deps()


@pytest.fixture
async def client(worker: WebDeps) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build_app(worker), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as asking:
        yield asking


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    yield from chromium(tmp_path_factory.mktemp("chromium"))


class Between(httpx.AsyncBaseTransport):
    """The network between workers: each base URL is an application, `gone` ones refuse, `stuck`
    ones never answer.
    """

    def __init__(self) -> None:
        self.apps: dict[str, ASGIApp] = {}
        self.gone: set[str] = set()
        self.stuck: set[str] = set()
        self.seen: list[tuple[str, str, int]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        base = f"{request.url.scheme}://{request.url.netloc.decode()}"
        self.seen.append((base, request.url.raw_path.decode(), int(request.headers["hyperseg-hops"])))
        if base in self.gone:
            raise httpx.ConnectError("refused", request=request)
        if base in self.stuck:
            await asyncio.sleep(60)
        return await httpx.ASGITransport(self.apps[base]).handle_async_request(request)


@asynccontextmanager
async def served(worker: WebDeps) -> AsyncIterator[str]:
    """The worker's application on a real socket, as production serves it; gives its base URL."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(build_app(worker), loop="none", lifespan="on", log_config=None, **UVICORN_OPTIONS)
    )  # type: ignore[arg-type]
    serving = asyncio.create_task(server.serve([listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        worker.feed.close()
        server.should_exit = True
        await serving
