"""What a worker does to its own process."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
from collections.abc import Iterator

import pytest

from app.streaming.process import REPEAT_S, IoThread, OncePerWhile, Sweeper, calm_collector


def said(name: str, level: int, text: str, *details: object) -> logging.LogRecord:
    return logging.LogRecord(name, level, "file.py", 1, text, details, None)


def test_a_library_says_the_same_once_in_a_while_whatever_its_details() -> None:
    now = 0.0
    quiet = OncePerWhile(clock=lambda: now)
    assert quiet.filter(said("aiokafka.conn", logging.ERROR, "lost %s", "a"))
    assert not quiet.filter(said("aiokafka.conn", logging.ERROR, "lost %s", "b"))
    assert quiet.filter(said("aiokafka.conn", logging.ERROR, "found %s", "a"))
    assert quiet.filter(said("faust.app", logging.WARNING, "lost %s", "a"))
    now = REPEAT_S
    assert quiet.filter(said("aiokafka.conn", logging.ERROR, "lost %s", "a"))


def test_our_own_words_and_debugging_are_never_held_back() -> None:
    quiet = OncePerWhile(clock=lambda: 0.0)
    assert all(quiet.filter(said("app.streaming.partition", logging.WARNING, "stalled")) for _ in range(3))
    assert all(quiet.filter(said("aiokafka.conn", logging.DEBUG, "bytes")) for _ in range(3))


def test_texts_put_together_before_they_are_logged_do_not_pile_up() -> None:
    quiet = OncePerWhile(clock=lambda: 0.0)
    for number in range(5_000):
        assert quiet.filter(said("mode", logging.INFO, f"number {number}"))
    assert len(quiet._said) <= 1_001


@pytest.fixture
def collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("collector")
def test_the_collector_looks_at_what_is_old_only_when_nothing_is_done() -> None:
    now, done = 0.0, 0
    calm_collector()
    assert gc.get_freeze_count() > 0
    sweeper = Sweeper(lambda: done, clock=lambda: now)
    now = 601.0
    done = 1
    assert not sweeper.tick()  # busy
    assert sweeper.tick()  # idle since the last tick
    assert not sweeper.tick()  # just done
    for _ in range(58):
        now, done = now + 60.0, done + 1
        assert not sweeper.tick()
    now += 300.0
    done += 1
    assert sweeper.tick()  # an hour without one


async def test_work_runs_on_the_thread_and_gives_its_result_or_its_error() -> None:
    before = sys.getswitchinterval()
    io = IoThread("test-io")
    io.start()
    try:

        async def where() -> str:
            await asyncio.sleep(0)
            return threading.current_thread().name

        async def fails() -> None:
            raise ConnectionError("gone")

        assert await io.run(where()) == "test-io"
        with pytest.raises(ConnectionError, match="gone"):
            await io.run(fails())
    finally:
        io.stop()
        sys.setswitchinterval(before)
    assert "test-io" not in [thread.name for thread in threading.enumerate()]
