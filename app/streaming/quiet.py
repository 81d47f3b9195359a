"""While a broker is away aiokafka logs the same few lines a hundred times a second. The watchdog says it once; this keeps the rest few."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

REPEAT_S = 300.0


class OncePerWhile(logging.Filter):
    """Lets a client library's message through once in `REPEAT_S`, whatever its details are."""

    def __init__(self, prefixes: tuple[str, ...] = ("aiokafka", "faust", "mode"), clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._prefixes = prefixes
        self._clock = clock
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
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


def install() -> None:
    """On every handler of the root logger."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(OncePerWhile())
