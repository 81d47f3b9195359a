"""The JSON of the answers, as OpenAPI shows it. Instants are epoch milliseconds."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """Base of all answers: more members may come with later versions."""

    model_config = ConfigDict(extra="allow")


class Fact(Answer):
    """One condition: the expression, its value and what the rule needs."""

    expr: str
    value: Any
    needs: str
    rule: str | None = Field(None, description="`when`, `exit_when` …")


class Membership(Answer):
    """One membership of a user."""

    segment: str
    value: Any = Field(None, description="The `for_each` value, else null.")
    group: str | None = None
    since: int
    facts: list[Fact] = Field(description="Why, as it is now.")


class User(Answer):
    """One user: memberships with since-when and why, profile, signals, what flips next."""

    user_id: str
    clock: int | None = Field(description="The largest event or due time that was applied.")
    memberships: list[Membership]
    profile: dict[str, Any]
    consent: dict[str, Any]
    signals: list[dict[str, Any]]
    next_timer: int | None


class Explanation(Answer):
    """Why a user is in a segment or not, and when that would change with no further event."""


class Flow(Answer):
    """Counts of one bucket of time."""

    at: int
    entered: int
    exited: int


class ValueSize(Answer):
    """One membership value of a `for_each` segment."""

    value: Any
    size: int


class Segment(Answer):
    """One live definition with its size and its traffic."""

    name: str
    title: str
    description: str
    when: str
    exit_when: str | None
    group: str | None
    version: int
    digest: str
    tags: list[str]
    signals: list[dict[str, Any]]
    size: int = Field(description="Memberships now, over all workers; of a `for_each` segment over all values.")
    entered_per_minute: float = Field(description="In the last minute.")
    exited_per_minute: float
    flap_rate: float | None = Field(
        description="Of the last hour's changes the share that undid one less than ten minutes old; null without any."
    )
    sizes: list[int] | None = Field(None, description="Sizes at the ends of the newest `points` buckets of five seconds, oldest first.")


class SegmentDetail(Segment):
    """As in the list, with its values and its traffic over the last hour."""

    values: list[ValueSize] = Field(description="A `for_each` segment's largest values; else empty.")
    flow: list[Flow]
    complete: bool
    missing: list[str]


class Segments(Answer):
    """A page of segments. `complete` is false while the workers in `missing` do not answer: sizes are then too small."""

    segments: list[Segment]
    next: str | None = Field(description="The `cursor` of the next page; null on the last.")
    total: int
    complete: bool
    missing: list[str]


class SizesAnswer(Answer):
    """Members by member key (the name, or name, U+001F and the value's JSON)."""

    sizes: dict[str, int]
    complete: bool
    missing: list[str]


class Member(Answer):
    """One member."""

    user_id: str
    value: Any
    since: int


class Members(Answer):
    """A page of members, ordered by value, then user id."""

    segment: str
    members: list[Member]
    next: str | None
    complete: bool
    missing: list[str]
    rows: list[tuple[str, str, int]] | None = Field(None, description="With `local=1`: member key, user, since.")


class Status(Answer):
    """Every worker."""

    version: str
    now: int
    bind: str
    note: str
    workers: list[dict[str, Any]]
    complete: bool
    missing: list[str]


class Ready(Answer):
    """This worker can answer."""

    ready: bool


class ProblemDocument(Answer):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
