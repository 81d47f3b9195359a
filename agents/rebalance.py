"""Group membership → partition tasks: revoked ones commit and let go before the group goes on,
assigned ones begin."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, NamedTuple

import faust
from faust.types import TP


class RebalanceDeps(NamedTuple):
    """`topic` is any of the inputs, which are dealt together. `assign` gets all partitions this
    worker has now; `revoke` is awaited before they go to others."""

    topic: str
    assign: Callable[[Iterable[int]], Awaitable[None]]
    revoke: Callable[[], Awaitable[None]]


def register(app: faust.App, deps: RebalanceDeps) -> None:
    """Connects the two signals, which Faust sends with the app and a set of topic partitions, and
    waits for."""

    async def revoked(*_: Any, **__: Any) -> None:
        await deps.revoke()

    async def assigned(_app: Any, /, *sent: Any, **_: Any) -> None:
        partitions: Collection[TP] = sent[0]
        await deps.assign({tp.partition for tp in partitions if tp.topic == deps.topic})

    app.on_partitions_revoked.connect(revoked)
    app.on_partitions_assigned.connect(assigned)
