"""What can be fed to a driver besides events, as values: faults, silence, other definitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from app.domain.events import Event
from app.streaming.ports import StepEngine

Record = bytes | Mapping[str, Any] | Event
"""An event as a test writes it: a line of an event file (bytes, or the dict in it), or an Event."""


class Fault(Enum):
    """What happens to the worker of a partition."""

    CRASH = "crash"
    CRASH_BEFORE_STORE = "crash before store"
    TORN = "torn"
    REBALANCE = "rebalance"
    DISK_LOST = "disk lost"
    COMMIT = "commit"


CRASH: Final = Fault.CRASH
"""The process ends, what was not committed is forgotten; another begins from log and store."""
CRASH_BEFORE_STORE: Final = Fault.CRASH_BEFORE_STORE
"""The process ends between the transaction and the store's write: the store is behind the log."""
TORN: Final = Fault.TORN
"""Without transactions: the process ends when changes and states are in the log, but not the mark
and the offsets."""
REBALANCE: Final = Fault.REBALANCE
"""The partition moves to another worker, whose disk knows nothing of it."""
DISK_LOST: Final = Fault.DISK_LOST
"""The process ends and its disk with it."""
COMMIT: Final = Fault.COMMIT
"""No fault: a commit, whether one is due or not."""


@dataclass(frozen=True)
class Raw:
    """Bytes in an input topic, as some producer sent them."""

    topic: str
    value: bytes | None
    key: bytes | None = None


@dataclass(frozen=True)
class Duplicate:
    """A record delivered once more, as a producer that retries sends it."""

    record: Record | Raw


@dataclass(frozen=True)
class Late:
    """A record that is sent long after it happened. It is fed as any other is: the word is for
    whoever reads the test."""

    record: Record | Raw


@dataclass(frozen=True)
class Advance:
    """Silence: the wall clock moves on, from where it is or from the newest event.

    `by` is milliseconds or a duration (`"24h"`).
    """

    by: int | str


@dataclass(frozen=True)
class Unread:
    """From here on `count` more records of a topic are readable than any fetch brings; 0 ends
    it."""

    topic: str
    count: int


@dataclass(frozen=True)
class Switch:
    """Other definitions: from here on this engine's hold."""

    engine: StepEngine


Input = Record | Raw | Duplicate | Late
"""What arrives in a topic."""
Item = Input | Fault | Advance | Unread | Switch
"""What can be fed."""
