"""The ordered bytes-to-bytes map under a partition's tables, as a protocol, and the one in memory
that tests run on."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Protocol

Put = tuple[bytes, bytes]
Row = tuple[bytes, bytes]
# Where one key in so many is new, sorting anew costs less than putting each in its place.
_SORT_FROM = 8


class Kv(Protocol):
    """Keys are ordered as bytes. A `write` happens whole or not at all, and is seen by every later
    call."""

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
    """A dict and the sorted list of its keys: for tests, with thousands of users, not millions."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        return self._rows.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self._rows.get(key) for key in keys]

    def scan(self, lower: bytes, upper: bytes, limit: int) -> list[Row]:
        first = bisect_left(self._keys, lower)
        end = min(bisect_left(self._keys, upper, first), first + limit)
        return [(key, self._rows[key]) for key in self._keys[first:end]]

    def write(self, puts: Sequence[Put], deletes: Sequence[bytes]) -> None:
        rows, keys = self._rows, self._keys
        for key in deletes:
            if rows.pop(key, None) is not None:
                del keys[bisect_left(keys, key)]
        new = [key for key in dict(puts) if key not in rows]
        rows.update(puts)
        if len(new) > len(keys) // _SORT_FROM:
            keys += new
            keys.sort()
        else:
            for key in new:
                insort(keys, key)

    def clear(self) -> None:
        self._rows.clear()
        self._keys.clear()

    def close(self) -> None:
        pass
