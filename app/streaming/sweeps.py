"""Passing over every user of a partition, a slice at a time: after a change of definitions, and for those nobody needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.domain.limits import NEVER
from tables import changelog

if TYPE_CHECKING:
    from app.streaming.core import PartitionCore

SLICE_USERS = 64


class Sweeps:
    """Where the two passes of a core are, in the store's order of users."""

    def __init__(self, core: PartitionCore) -> None:
        self._core = core
        self._settled_upto: str | None = None
        self._expired_upto: str | None = None

    def settle_slice(self) -> None:
        """Brings the next users under the definitions in force; after the last one the partition is under them."""
        core = self._core
        rows = core.store.page(self._settled_upto, SLICE_USERS)
        for user, row in rows:
            cached = core.cache.adopt(user, row)
            if cached.state.plan_digest != core.engine.plan.digest:
                core.settle(cached)
            self._settled_upto = user
        if len(rows) < SLICE_USERS:
            core.plan = core.engine.plan.digest

    def expire_slice(self, retention_ms: int) -> int:
        """Looks at the next users and forgets those idle for `retention_ms`, members of nothing, with no timer; gives how many went.

        One slice a second visits every user of a partition in hours or days, which is soon enough.
        """
        core = self._core
        rows = core.store.page(self._expired_upto, SLICE_USERS)
        self._expired_upto = rows[-1][0] if len(rows) == SLICE_USERS else None
        limit, gone = core.watermark - retention_ms, 0
        for user, row in rows:
            cached = core.cache.users.get(user)
            if row.armed == NEVER and (cached is None or core.untouched(cached)):
                state = cached.state if cached else core.engine.decode(changelog.decode_value(row.raw)[1])
                if state.clock < limit and not state.members and state.due == NEVER:
                    core.forget(user)
                    gone += 1
        return gone
