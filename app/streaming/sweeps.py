"""Which users a pass over a whole partition comes to next, a slice at a time: after a change of
definitions, and for those nobody needs any more. What is done to them is the core's."""

from __future__ import annotations

from app.domain.limits import NEVER
from app.streaming.cache import Cached, UserCache
from app.streaming.ports import StepEngine
from tables import changelog
from tables.store import PartitionStore

SLICE_USERS = 64


class Sweeps:
    """Where the two passes under one engine are, in the store's order of users.

    `settled`: `unsettled` has come to the last user.
    """

    def __init__(self, store: PartitionStore, cache: UserCache, engine: StepEngine) -> None:
        self.settled = False
        self._store = store
        self._cache = cache
        self._engine = engine
        self._settled_upto: str | None = None
        self._expired_upto: str | None = None

    def unsettled(self) -> list[Cached]:
        """Those of the next users that were last evaluated under other definitions."""
        rows = self._store.page(self._settled_upto, SLICE_USERS)
        if rows:
            self._settled_upto = rows[-1][0]
        self.settled = len(rows) < SLICE_USERS
        passed = [self._cache.adopt(user, row) for user, row in rows]
        return [cached for cached in passed if cached.state.plan_digest != self._engine.plan.digest]

    def idle(self, before: int, batch: int) -> list[str]:
        """Those of the next users whose clock is before `before` (epoch ms) and whom nothing keeps.

        Kept are members of anything, whoever has a timer, and who has a part in the batch of that
        number.
        """
        rows = self._store.page(self._expired_upto, SLICE_USERS)
        self._expired_upto = rows[-1][0] if len(rows) == SLICE_USERS else None
        found = []
        for user, row in rows:
            cached = self._cache.users.get(user)
            if row.armed == NEVER and (cached is None or cached.batch < batch):
                state = cached.state if cached else self._engine.decode(changelog.decode_value(row.raw)[1])
                if state.clock < before and not state.members and state.due == NEVER:
                    found.append(user)
        return found
