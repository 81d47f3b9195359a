"""What the web layer needs from a worker, as protocols the worker implements. Nothing here knows
Faust, Kafka or RocksDB.

The signatures use plain tuples, mappings and built-in errors, so that an implementation in a lower
layer imports nothing from here; the named tuples and typed dictionaries say what is inside, and
answers are those of `app.domain.views`.

All instants are integer epoch milliseconds. A *member key* is that of `app.domain.members`. A
*user* is always the user id as it is in the events.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple, NotRequired, Protocol, TypedDict

from app.domain.views import DefinitionProblem, Explanation, Explanations, LocalSizes, SegmentView, UserView


class MemberRow(NamedTuple):
    """One row of the member index.

    Rows sort by (`member_key`, `user`), both compared as UTF-8 bytes.
    """

    member_key: str
    user: str
    since: int


class MemberPosition(NamedTuple):
    """Where a page of members ended: the next page begins after this pair, exclusive."""

    member_key: str
    user: str


class PartitionStatus(TypedDict):
    """One partition this worker has: `lag` is records not yet read over all its input topics, null
    while the partition is not at work, `watermark` null before the first event.
    """

    partition: int
    state: str
    watermark: int | None
    lag: int | None
    users: NotRequired[int | None]


class WorkerStatus(TypedDict):
    """This worker now.

    A partition's `state`: `recovering` · `running` · `stalled`. `lag`: null while that of a
    partition is, or the group assigns partitions. Rates and quantiles: of the last minute, or null.
    """

    worker: str
    partitions: list[PartitionStatus]
    watermark: int | None
    lag: int | None
    events_per_second: float
    changes_per_second: float
    commit_ms_p50: float | None
    commit_ms_p99: float | None
    plan_digest: str
    definitions_refused: int
    guarantee: NotRequired[str]
    broker: NotRequired[str]


class LocalState(Protocol):
    """The users of the partitions this worker has now.

    The plain methods answer at once from memory and never touch a disk: they are called on the
    event loop for every page. The async ones may read RocksDB and then do so in a thread. None of
    them changes anything. Each gives a consistent picture of one user; between two calls a
    partition may have moved to another worker.
    """

    def owns(self, user: str) -> bool:
        """Whether the user's partition is assigned to this worker and recovered (so that `describe`
        would be right).
        """

    async def describe(self, user: str) -> UserView | None:
        """The user at this worker's present instant (its `clock` rule for the partition); None: no
        such user.

        Called only for users that `owns` says are here; if the partition has left meanwhile it
        raises `LookupError`.
        """

    async def explain(self, user: str, segment: str | None, at: int | None) -> Explanation | Explanations | None:
        """Why the user is in one segment or not, or in each when `segment` is None.

        `at` None is now; an `at` before the user's clock cannot be answered from the state and
        raises `InputError` (HTTP 422). None when there is no such user; `LookupError` as in
        `describe`. An unknown segment never gets here.
        """

    def sizes(self) -> LocalSizes:
        """Who is in what now, over this worker's partitions whose users are here.

        Empty segments may be absent or 0. Kept incrementally.
        """

    async def members(self, segment: str, after: tuple[str, str] | None, limit: int) -> Sequence[tuple[str, str, int]]:
        """At most `limit` rows (`MemberRow`) of the segment named `segment`, all its `for_each`
        values.

        Over all partitions of this worker, merged in the order of `MemberRow`, beginning after
        `after` (a `MemberPosition`, exclusive; it need not exist). Fewer than `limit` means that
        there are no more here.
        """

    def definitions(self) -> Sequence[SegmentView]:
        """The definitions in force, in file order, groups' members carrying `group`."""

    def problems(self) -> Sequence[DefinitionProblem]:
        """What is wrong with this worker's definitions: those refused, then the warnings of those
        in force.
        """

    def unready(self) -> list[str]:
        """Why this worker should get no traffic yet, a plain sentence each ("partition 3 is
        recovering: 4 records left"); empty = ready.
        """

    def status(self) -> Mapping[str, Any]:
        """The numbers of the status page (`WorkerStatus`)."""


class Cluster(Protocol):
    """Which worker has whom.

    Addresses are base URLs without a trailing slash, `http://127.0.0.1:6066`. Both answer at once
    from memory.
    """

    def owner(self, user: str) -> str | None:
        """The base URL of the worker that has the user's partition; None = this worker.

        `LookupError`: nobody has it now (rebalance).
        """

    def peers(self) -> Sequence[str]:
        """The base URLs of all other live workers, without this one."""


class History(Protocol):
    """The changes topic, read again from an older position (implemented by the tail, over
    Kafka)."""

    def read(self, start: Mapping[int, int], end: Mapping[int, int]) -> AsyncIterator[tuple[int, int, bytes]]:
        """(partition, offset, value) with start[p] ≤ offset < end[p] for each p in `start`, in
        order within a partition; then ends.

        What is no longer retained is skipped. Raises `Unreachable` when the broker cannot be asked.
        """

    async def ends(self) -> Mapping[int, int]:
        """For each partition the offset its next record gets.

        Raises `Unreachable` when the broker cannot be asked.
        """
