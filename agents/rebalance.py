"""Group membership → partition tasks: revoked ones commit and let go before the group goes on, assigned ones begin."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple, cast

import faust


class RebalanceDeps(NamedTuple):
    """`assign` gets all partitions this worker has now; `revoke` is awaited before they go to others."""

    topic: str
    assign: Callable[[Iterable[int]], Awaitable[None]]
    revoke: Callable[[], Awaitable[None]]


def register(app: faust.App, deps: RebalanceDeps) -> None:
    """Connects the two signals."""

    async def revoked(*_: Any, **__: Any) -> None:
        await deps.revoke()

    async def assigned(_app: Any, partitions: Any, **_: Any) -> None:
        await deps.assign({tp.partition for tp in partitions if tp.topic == deps.topic})

    app.on_partitions_revoked.connect(revoked)
    app.on_partitions_assigned.connect(cast("Any", assigned))
