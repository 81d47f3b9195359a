"""The JSON of the answers that only the web gives, beside those of `app.domain.views`. Instants are
epoch milliseconds.

More members may come with later versions; a member that is UNSET is absent.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.domain.members import Value
from app.domain.views import DefinitionProblem, LocalSizes
from app.web.ports import WorkerStatus

Complete = Annotated[bool, Meta(description="Whether every partition was counted, and once.")]
Missing = Annotated[list[str], Meta(description="The workers that gave no answer.")]
Uncounted = Annotated[
    list[int], Meta(description="The partitions that nobody counted, being between two workers, recovering or stalled.")
]
Doubled = Annotated[list[int], Meta(description="The partitions that two workers counted, one of them before it went.")]


class SignalName(msgspec.Struct):
    """One signal that a definition needs."""

    expr: str


class Flow(msgspec.Struct):
    """One bucket of five seconds, beginning at `at`; null is what was not measured."""

    at: int
    size: Annotated[int | None, Meta(description="People at the bucket's end.")]
    entered: int | None
    exited: int | None


class ValueSize(msgspec.Struct):
    """One value of a `for_each` segment, and how many are in it."""

    value: Value | None
    size: int


class Segment(msgspec.Struct, kw_only=True):
    """One definition in force with its size and its traffic, over all workers."""

    name: str
    title: str
    description: str
    when: str
    exit_when: str | None
    group: str | None
    version: int
    digest: str
    tags: list[str]
    signals: list[SignalName]
    size: Annotated[int, Meta(description="People in it now, each once.")]
    memberships: Annotated[
        int, Meta(description="People times values now: more than `size` where `for_each` gives several a user.")
    ]
    entered_per_minute: Annotated[int, Meta(description="In the last minute.")]
    exited_per_minute: int
    flap_rate: Annotated[
        float | None,
        Meta(
            description=(
                "Of the last hour's changes the share that undid one less than ten minutes old; null without any."
            )
        ),
    ]
    min_dwell: str | UnsetType = UNSET
    cooldown: str | UnsetType = UNSET
    for_each: str | UnsetType = UNSET
    max_per_user: int | UnsetType = UNSET
    owner: str | UnsetType = UNSET
    sizes: Annotated[
        list[int | None] | UnsetType,
        Meta(
            description=(
                "Sizes at the ends of the newest `points` buckets of five seconds, oldest first; "
                "null where not measured."
            )
        ),
    ] = UNSET


class SegmentDetail(Segment, kw_only=True):
    """As in the list, with its values and its traffic over the last hour."""

    values: Annotated[list[ValueSize], Meta(description="A `for_each` segment's largest values; else empty.")]
    flow: list[Flow]
    measured_since: Annotated[
        int | None, Meta(description="Since when the worker asked has measured sizes; null before the first.")
    ]
    complete: Complete
    missing: Missing
    partitions_missing: Uncounted
    partitions_doubled: Doubled


class Totals(msgspec.Struct, kw_only=True):
    """Over the whole cluster and all segments, whatever part of them is asked for."""

    people_known: Annotated[int, Meta(description="People of whom anything is known.")]
    people_in_segments: Annotated[int, Meta(description="People in at least one segment.")]
    memberships: Annotated[int, Meta(description="People times segments times values.")]
    changes_per_minute: Annotated[int, Meta(description="Entries and exits of the last minute; a move is one of each.")]


class SegmentPage(msgspec.Struct, kw_only=True):
    """A page of segments."""

    segments: list[Segment]
    next: Annotated[str | None, Meta(description="The `cursor` of the next page; null on the last.")]
    total: Annotated[int, Meta(description="How many segments match.")]
    totals: Totals
    complete: Complete
    missing: Missing
    partitions_missing: Uncounted
    partitions_doubled: Doubled


class SizesAnswer(LocalSizes, kw_only=True):
    """Sizes alone: all there is to sum over workers."""

    complete: Complete
    missing: Missing
    partitions_missing: Uncounted
    partitions_doubled: Doubled


class Member(msgspec.Struct):
    """One member."""

    user_id: str
    value: Value | None
    since: int


class MemberPage(msgspec.Struct, kw_only=True):
    """A page of members, ordered by value, then user id."""

    segment: str
    complete: Complete
    missing: Missing
    members: list[Member]
    next: Annotated[str | None, Meta(description="The `cursor` of the next page; null on the last.")]
    rows: Annotated[
        list[tuple[str, str, int]] | UnsetType, Meta(description="With `local=1`: member key, user, since.")
    ] = UNSET


class Status(msgspec.Struct, kw_only=True):
    """Every worker; `definitions` is what is wrong with those of the worker asked."""

    version: str
    now: int
    bind: str
    note: str
    workers: list[WorkerStatus]
    definitions: list[DefinitionProblem]
    complete: Annotated[bool, Meta(description="Whether every worker answered.")]
    missing: Missing


class Ready(msgspec.Struct):
    """Whether this worker can answer."""

    ready: bool


class ProblemDocument(msgspec.Struct):
    """RFC 9457; some kinds have members of their own (`reasons`, `errors`)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str


def as_json(content: Any) -> Any:
    """The answer as plain JSON types, members that are UNSET left out."""
    return msgspec.to_builtins(content)
