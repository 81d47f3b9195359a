"""Typed answers to what a person asks about one user or one definition; their JSON is that of the
API and of `explain --json`.

All instants are epoch milliseconds in event time, all durations milliseconds. A field that is UNSET
is absent from the JSON. A *value* is that of `for_each`, null for a segment with one membership a
user.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.domain.changes import Fact
from app.domain.members import Value

Instant = Annotated[int, Meta(description="Epoch milliseconds.")]


class SegmentView(msgspec.Struct, kw_only=True):
    """One definition in force.

    Expressions and durations are spelled as the language spells them, null where not given.
    """

    name: str
    title: str
    description: str
    when: str
    exit_when: str | None
    min_dwell: Annotated[str | None, Meta(description="The shortest stay, `1h`.")]
    cooldown: Annotated[str | None, Meta(description="How long nobody comes back after leaving, `3d`.")]
    for_each: Annotated[
        str | None, Meta(description="The stream and field whose values are judged apart, `click.category`.")
    ]
    max_per_user: Annotated[
        int | None, Meta(description="How many values a user may have at once; null without `for_each`.")
    ]
    group: str | None
    tags: list[str]
    owner: str
    version: int
    digest: Annotated[
        str, Meta(description="Of the definition's meaning, hexadecimal: equal for definitions that decide alike.")
    ]
    signals: Annotated[list[str], Meta(description="The expressions that are kept for each user, sorted.")]


class Membership(msgspec.Struct, kw_only=True):
    """One membership of a user."""

    segment: str
    value: Annotated[Value | None, Meta(description="The `for_each` value, else null.")]
    group: str | None
    since: Instant
    facts: Annotated[list[Fact], Meta(description="Why, as it is now.")]
    flips_at: Annotated[Instant | None, Meta(description="When it ends with no further event; null when not foreseen.")]


class SignalRow(msgspec.Struct, kw_only=True):
    """One signal (aggregate) of a user, for one value where it is kept for each."""

    expr: str
    value: Annotated[Any, Meta(description="As it is now; an age in milliseconds; null for nothing.")]
    each: Annotated[Value | None, Meta(description="The `for_each` value it is kept for, else null.")]
    until: Annotated[Instant | None, Meta(description="Until when it stays so with no further event; null for ever.")]
    approximate: Annotated[bool, Meta(description="Computed from merged entries.")]
    or_more: Annotated[bool, Meta(description="A lower bound: it is kept only as far as the rules need.")]


class Transition(msgspec.Struct, kw_only=True):
    """A membership that begins or ends with no further event."""

    segment: str
    value: Value | None
    in_: Annotated[bool, Meta(description="Whether the user is in it now.")] = msgspec.field(name="in")
    flips_at: Instant


class UserView(msgspec.Struct, kw_only=True):
    """One user: memberships with since-when and why, profile, consent, signals, what flips next."""

    user_id: str
    clock: Annotated[Instant, Meta(description="The largest event or due time that was applied.")]
    seq: Annotated[int, Meta(description="The sequence number of the user's latest change; 0 before the first.")]
    memberships: Annotated[list[Membership], Meta(description="By segment, then value.")]
    profile: dict[str, Any]
    consent: dict[str, Any]
    signals: list[SignalRow]
    next_timer: Annotated[Instant | None, Meta(description="When the user is looked at next with no further event.")]
    next: Annotated[
        list[Transition], Meta(description="What flips by itself, soonest first; bounded in number and in time.")
    ]


class Part(msgspec.Struct, kw_only=True):
    """One part of a condition: a junction or negation with `op` and `parts`, or a leaf with its
    `fact`.

    `fits`, `words` and `distance` are added for people (`hyperseg explain`): whether the part is as
    the whole needs it, the fact in words, and how far it is where it does not fit.
    """

    expr: str
    holds: bool
    op: Literal["and", "or", "not"] | UnsetType = UNSET
    parts: list[Part] | UnsetType = UNSET
    fact: Fact | UnsetType = UNSET
    fits: bool | UnsetType = UNSET
    words: str | UnsetType = UNSET
    distance: str | UnsetType = UNSET


class Verdict(msgspec.Struct, kw_only=True):
    """Whether a user is in a segment, for one value of it, and why.

    `words` are the facts for people (`hyperseg explain`).
    """

    value: Value | None
    in_: bool = msgspec.field(name="in")
    since: Instant | None
    flips_at: Annotated[
        Instant | None, Meta(description="When that changes with no further event; null when not foreseen.")
    ]
    min_dwell_until: Annotated[
        Instant | None, Meta(description="Until when the user stays whatever happens; null when free to leave.")
    ]
    cooldown_until: Annotated[
        Instant | None, Meta(description="Until when the user cannot come back; null when free to.")
    ]
    rule: Annotated[Literal["when", "exit_when"], Meta(description="The rule that `parts` are of.")]
    why: list[Fact]
    parts: Part
    words: list[str] | UnsetType = UNSET


class Explanation(msgspec.Struct, kw_only=True):
    """Why a user is in one segment or not, and when that would change with no further event."""

    user_id: str
    segment: str
    at: Annotated[Instant, Meta(description="The instant it is true of.")]
    group: str | None
    definition: SegmentView
    answers: Annotated[
        list[Verdict], Meta(description="One for each value that is known of the user; one without `for_each`.")
    ]


class Explanations(msgspec.Struct, kw_only=True):
    """Why a user is in each of several segments or not.

    `at` is there when one instant was asked for all.
    """

    user_id: str
    at: Instant | UnsetType = UNSET
    segments: list[Explanation]


class LocalSizes(msgspec.Struct, kw_only=True):
    """Who is in what, counted over some partitions; the counts of different partitions add up,
    since each user has one.
    """

    sizes: Annotated[
        dict[str, int], Meta(description="Memberships by member key: the name, or name, U+001F and the value's key.")
    ]
    people: Annotated[
        dict[str, int], Meta(description="People by segment name, each once whatever values they are in.")
    ]
    in_segments: Annotated[int, Meta(description="People in at least one segment.")]
    known: Annotated[int, Meta(description="People of whom anything is known.")]
    partitions: Annotated[list[int], Meta(description="The partitions that are counted.")]
    partitions_total: Annotated[int, Meta(description="How many partitions the cluster has.")]


class DefinitionProblem(msgspec.Struct, kw_only=True, frozen=True):
    """What is wrong with a definition of this worker: `refused` ones do not run, one with a
    `warning` does.
    """

    kind: Literal["refused", "warning"]
    message: Annotated[str, Meta(description="The whole sentence: where, what, found, expected, did you mean.")]
    file: Annotated[str, Meta(description="Empty when the sentence alone says where.")] = ""
    line: Annotated[int, Meta(description="From 1; 0 when not known.")] = 0
    column: Annotated[int, Meta(description="From 1; 0 when not known.")] = 0
    segment: Annotated[str, Meta(description="The definition's name, as far as it could be read.")] = ""
