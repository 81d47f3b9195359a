"""What a worker does to its own process: the garbage collector, chatty libraries' logs, the
producers' thread, the wall clock."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# --- the wall clock ------------------------------------------------------------------------------


def now_ms() -> int:
    """The wall clock, epoch milliseconds."""
    return int(time.time() * 1000)


# --- the garbage collector ----------------------------------------------------------------------
# By default it walks the whole heap again and again as cached states and buffers grow; nothing of
# the hot path is cyclic, so it finds nothing (measured: 44 µs an event with it, 23 without). So:
# what the program consists of is frozen out of sight once, young objects are looked at rarely, old
# ones when the worker is idle, or once an hour.

# Net allocations between two looks at the young; a look then takes a few milliseconds.
_YOUNG = 50_000
_MIDDLE = 20
_OLD_NEVER = 1_000_000
_IDLE_EVERY_S = 600.0
_ALWAYS_AFTER_S = 3_600.0


def calm_collector() -> None:
    """Freezes what is loaded and built so far; call once everything is."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD_NEVER)


class Sweeper:
    """`tick` every few seconds: the full collection that `calm_collector` switched off, when nobody
    waits for it.

    `work` is a number that changes whenever something was done; `clock` gives monotonic seconds.
    """

    def __init__(self, work: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._work = work
        self._clock = clock
        self._last_work = work()
        self._last_sweep = clock()

    def tick(self) -> bool:
        """Whether a collection was done: none of `work` since the last tick and some minutes
        passed, or an hour."""
        work, now = self._work(), self._clock()
        idle, self._last_work = work == self._last_work, work
        since = now - self._last_sweep
        if not (since > _ALWAYS_AFTER_S or (idle and since > _IDLE_EVERY_S)):
            return False
        gc.collect()
        self._last_sweep = self._clock()
        return True


# --- chatty libraries ---------------------------------------------------------------------------
# While a broker is away aiokafka logs the same few lines a hundred times a second. The watchdog
# says it once; this keeps the rest few.

REPEAT_S = 300.0
_CHATTY = ("aiokafka", "faust", "mode")


class OncePerWhile(logging.Filter):
    """Lets a client library's message through once in `REPEAT_S`, whatever its details are."""

    def __init__(self, prefixes: tuple[str, ...] = _CHATTY, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._prefixes = prefixes
        self._clock = clock
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written: always for our own and for debugging."""
        if not record.name.startswith(self._prefixes) or record.levelno <= logging.DEBUG:
            return True
        key = (record.name, str(record.msg))
        now = self._clock()
        if now - self._said.get(key, -REPEAT_S) < REPEAT_S:
            return False
        if len(self._said) > 1_000:  # texts that were put together before they were logged
            self._said.clear()
        self._said[key] = now
        return True


def quiet_libraries() -> None:
    """Puts `OncePerWhile` on every handler of the root logger."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(OncePerWhile())


# --- the producers' thread ----------------------------------------------------------------------
# A commit takes about 35 turns of the event loop it runs on (five requests, each through several of
# aiokafka's tasks). On the loop that computes slices, each of those turns would wait for a slice;
# on a loop of their own they wait for the interpreter lock at most, `SWITCH_S` at a time.

SWITCH_S = 0.001  # Python's default of 5 ms would be a tenth of a second in every commit
_JOIN_S_MAX = 5.0


class IoThread:
    """A thread with an event loop of its own. `start` it, `run` coroutines on it, `stop` it when
    nothing runs any more."""

    def __init__(self, name: str = "producers") -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread, and makes threads of this process give way more often."""
        sys.setswitchinterval(SWITCH_S)
        self._thread.start()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work` there; cancelling the caller cancels it."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def stop(self) -> None:
        """Ends the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=_JOIN_S_MAX)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
