"""The ordered bytes-to-bytes map under a partition's tables, as a protocol, and the one that lives in memory (for simulation)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

Put = tuple[bytes, bytes]
Row = tuple[bytes, bytes]


class Kv(Protocol):
    """Keys are ordered as bytes. A `write` happens whole or not at all, and is seen by every later call."""

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values in the order of `keys`."""

    def scan(self, lower: bytes, upper: bytes, limit: int) -> list[Row]:
        """At most `limit` rows with lower ≤ key < upper, in order."""

    def write(self, puts: Sequence[Put], deletes: Sequence[bytes]) -> None:
        """First the deletes, then the puts."""

    def clear(self) -> None:
        """Removes everything."""

    def close(self) -> None:
        """Releases everything; no call may follow."""


class MemoryKv:
    """A dict and a sorted list. `write` is linear in the number of new keys: for tests, not for millions."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._sorted: list[bytes] | None = []

    def get(self, key: bytes) -> bytes | None:
        return self._rows.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self._rows.get(key) for key in keys]

    def scan(self, lower: bytes, upper: bytes, limit: int) -> list[Row]:
        if self._sorted is None:
            self._sorted = sorted(self._rows)
        first = bisect_left(self._sorted, lower)
        end = min(bisect_left(self._sorted, upper), first + limit)
        return [(key, self._rows[key]) for key in self._sorted[first:end]]

    def write(self, puts: Sequence[Put], deletes: Sequence[bytes]) -> None:
        for key in deletes:
            self._rows.pop(key, None)
        self._rows.update(puts)
        self._sorted = None

    def clear(self) -> None:
        self._rows.clear()
        self._sorted = None

    def close(self) -> None:
        pass
