"""Decoded users of one partition: a bounded cache over the store, in which users with uncommitted
work stay until it is durable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from app.domain.limits import NEVER
from app.streaming.ports import StepEngine
from tables import changelog
from tables.store import PartitionStore, UserWrite, write_for
from tables.users import StoredUser


class Cached:
    """One user.

    `armed` is the due time under which the user will be woken (index or overlay), `stored` the one
    the store's index will have once everything captured is written. `members` is what the store's
    member rows will say then. `batch` is the number of the last batch the user is in, `changed`
    whether its state changed in it (otherwise only its timer moved). `new`: no row in the store
    yet. `cut`: the offsets that the state was loaded with (see `tables.changelog`), until the
    inputs have passed them.
    """

    __slots__ = ("armed", "batch", "changed", "cut", "gone", "members", "new", "state", "stored", "user")

    def __init__(self, user: str, state: Any, armed: int, cut: tuple[int, ...], new: bool) -> None:
        self.user = user
        self.state = state
        self.armed = armed
        self.stored = armed
        self.members: dict[str, int] = {} if new else dict(state.members)
        self.cut = cut
        self.batch = 0
        self.changed = False
        self.gone = False
        self.new = new


class UserCache:
    """`entries_max` bounds the decoded users that have no uncommitted work; those that have come on
    top, bounded by the batch."""

    def __init__(self, store: PartitionStore, engine: StepEngine, entries_max: int) -> None:
        self._store = store
        self._engine = engine
        self._entries_max = entries_max
        self.users: dict[str, Cached] = {}

    def load(self, user: str) -> Cached:
        """The user from the store, or a new one; call only when `users` lacks it."""
        return self._add(user, self._store.get(user))

    def load_many(self, users: Sequence[str]) -> None:
        """Brings in those of `users` that are lacking, with one read."""
        lacking = [user for user in dict.fromkeys(users) if user not in self.users]
        for user, row in zip(lacking, self._store.get_many(lacking), strict=True):
            self._add(user, row)

    def adopt(self, user: str, row: StoredUser) -> Cached:
        """The user of a row that was read anyway."""
        return self.users.get(user) or self._add(user, row)

    def _add(self, user: str, row: StoredUser | None) -> Cached:
        if row is None:
            cached = Cached(user, self._engine.new_state(user), NEVER, (), new=True)
        else:
            cut, raw = changelog.decode_value(row.raw)
            cached = Cached(user, self._engine.decode(raw), row.armed, cut, new=False)
        self.users[user] = cached
        return cached

    def switch(self, engine: StepEngine) -> None:
        """States are worked on by `engine` from here on."""
        self._engine = engine

    def forget(self, cached: Cached) -> None:
        """Replaces the user's state by that of one never seen; its rows go with the next commit."""
        cached.state = self._engine.new_state(cached.user)
        cached.armed = NEVER
        cached.gone = True

    def capture(self, cached: Cached, cut: bytes) -> UserWrite:
        """The user's rows as of now, `cut` standing before its state; from here on the store is
        taken to have them."""
        state = cached.state
        raw = None if cached.gone else cut + self._engine.encode(state)
        members = {} if cached.gone else state.members
        write = write_for(cached.user, raw, cached.stored, cached.armed, cached.members, members, cached.new)
        if cached.members != members:
            cached.members = dict(members)
        cached.stored = cached.armed
        cached.new = cached.gone
        cached.gone = False
        cached.changed = False
        return write

    def release(self, users: Iterable[str], durable: int) -> None:
        """The batch `durable` with these users is in the store: they may leave again, the least
        recently used first."""
        known = self.users
        for user in users:
            cached = known.pop(user, None)
            if cached is not None:
                known[user] = cached
        excess = len(known) - self._entries_max
        if excess > 0:
            self._evict(excess, durable)

    def _evict(self, excess: int, durable: int) -> None:
        leaving = []
        for user, cached in self.users.items():
            if cached.batch <= durable:
                leaving.append(user)
                if len(leaving) == excess:
                    break
        for user in leaving:
            del self.users[user]
