"""The console over the fakes in a process of its own, which a test can stop and kill: `python -m
tests.web.stopped` prints its port.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time

import uvicorn

from app.web.application import UVICORN_OPTIONS, build_app
from tests.web.fakes import FakeState, deps


def main() -> None:
    """Serves until it is killed."""
    worker = deps(FakeState({"u1": {"engaged": 1}}))
    worker.feed.begin({0: 0})
    worker.clock = lambda: time.time_ns() // 1_000_000
    assert isinstance(worker.state, FakeState)
    worker.state.watermark = worker.clock()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(build_app(worker), loop="none", lifespan="on", log_config=None, **UVICORN_OPTIONS)  # type: ignore[arg-type]
    asyncio.run(uvicorn.Server(config).serve([listener]))


if __name__ == "__main__":
    main()
