"""Which users are due: the store's ordered index, and over it the timers that no commit has brought
there yet.

The index is lazy. A user whose due time moved later keeps its row and is looked at once too early;
only a move to an earlier time is written. That is right because waking a user early does nothing,
and cheap because windows mostly move later.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from app.domain.limits import NEVER
from app.streaming.cache import Cached, UserCache
from tables import timers
from tables.store import PartitionStore, UserWrite


class Wakeups:
    """The timers of one partition."""

    def __init__(self, store: PartitionStore, cache: UserCache) -> None:
        self._store = store
        self._cache = cache
        self._overlay: list[tuple[int, str]] = []
        self._lower = timers.bound(0)
        self._stored = store.first_due(self._lower)

    @property
    def next(self) -> int:
        """No user is due before this instant; NEVER when none will be."""
        return min(self._stored, self._overlay[0][0]) if self._overlay else self._stored

    def arm(self, cached: Cached, due: int) -> None:
        """Wakes the user at `due`; call when that is earlier than `cached.armed`, or after the user
        was woken."""
        cached.armed = due
        if due < NEVER:
            heappush(self._overlay, (due, cached.user))

    def due(self, upto: int, limit: int) -> list[Cached]:
        """At most about `limit` users whose timer is due at or before `upto`; each must be armed
        again before the next call."""
        found: list[Cached] = []
        users = self._cache.users
        overlay = self._overlay
        while overlay and overlay[0][0] <= upto and len(found) < limit:
            due, user = heappop(overlay)
            cached = users.get(user)
            if cached is not None and cached.armed == due:
                found.append(cached)
                cached.armed = -1  # not twice, should the index have the same row
        if self._stored <= upto and len(found) < limit:
            self._from_store(upto, limit - len(found), found)
        return found

    def _from_store(self, upto: int, limit: int, found: list[Cached]) -> None:
        rows = self._store.due(self._lower, upto, limit)
        users = self._cache.users
        self._cache.load_many([user for _, user in rows])
        for due, user in rows:
            cached = users[user]
            if cached.armed == due:
                found.append(cached)
                cached.armed = -1
        if rows:
            self._lower = timers.behind(*rows[-1])
        self._stored = self._store.first_due(self._lower)

    def written(self, writes: list[UserWrite], durable: int) -> None:
        """These rows are in the store now: the overlay lets go of them."""
        earliest = min((w.armed for w in writes if w.armed != w.armed_before), default=NEVER)
        if earliest < NEVER:
            self._lower = min(self._lower, timers.bound(earliest))
        self._stored = self._store.first_due(self._lower)
        users = self._cache.users
        kept = []
        for row in self._overlay:
            cached = users.get(row[1])
            if (
                cached is not None
                and cached.armed == row[0]
                and (cached.batch > durable or cached.armed != cached.stored)
            ):
                kept.append(row)
        heapify(kept)
        self._overlay = kept
