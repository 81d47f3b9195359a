"""An event loop of its own for the producers of a worker.

A commit takes about 35 turns of the event loop it runs on (five requests, each through several of aiokafka's tasks). On the loop that
computes slices, each of those turns would wait for a slice; here they wait for the interpreter lock at most, `SWITCH_S` at a time.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine
from typing import Any

SWITCH_S = 0.001  # Python's default of 5 ms would be a tenth of a second in every commit


class IoThread:
    """`start` it, `run` coroutines on it, `stop` it when nothing runs any more."""

    def __init__(self, name: str = "producers") -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread, and makes threads of this process give way more often."""
        sys.setswitchinterval(SWITCH_S)
        self._thread.start()

    async def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Runs `work` there; cancelling the caller cancels it."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def stop(self) -> None:
        """Ends the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
