"""One change of membership, as it is written to `segment-changes` and to replay's output."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from app.domain.ids import change_id
from app.domain.members import Value

CauseKind = Literal["event", "profile", "timer", "bound", "definition"]
ChangeKind = Literal["entered", "exited", "moved"]


class DefinitionRef(msgspec.Struct, gc=False, frozen=True):
    """Which definition decided: its name, its version (1 for a definition from a file) and a digest
    of its meaning."""

    name: str
    version: int
    digest: str


class Cause(msgspec.Struct, gc=False, omit_defaults=True):
    """What made the change happen.

    An `event` or `profile` names its `event_id`, `stream` and `ts`; a `timer` the instant `due`;
    `bound`, a value that left because another came (`by`), both; `definition` nothing: the
    definitions changed.
    """

    kind: CauseKind
    event_id: str | None = None
    stream: str | None = None
    ts: int | None = None
    due: int | None = None
    by: str | float | bool | None = None


class Fact(msgspec.Struct, gc=False, omit_defaults=True):
    """One condition that decided: the expression, its value at the instant and what the rule needs
    it to be.

    `needs` is `true`, `false`, `null`, `not null`, or an operator with its operand (`>= 20`, `in
    ["a", "b"]`, `between 25 and 34`, `< since(click)`), optionally behind `not `. Where the operand
    is not a constant `against` is its value. `or_more`: the value is a lower bound, kept only as
    far as the rule needs. `approximate`: computed from merged entries. `rule` says which of the
    definition's rules it belongs to when that is not `when`.
    """

    expr: str
    value: Any
    needs: str
    against: Any = msgspec.UNSET
    or_more: bool = False
    approximate: bool = False
    rule: str = "when"


# `value` may be null and must still be written, so null is not `Fact`'s default.


class Change(msgspec.Struct, gc=False):
    """One change. Field order is the order in the JSON; `at` and `emitted_at` are epoch
    milliseconds, `seq` grows by one a user.

    `holdout` is false in this version, which keeps nobody out of campaigns; it is part of the
    format so that readers may rely on it.
    """

    change_id: str
    user_id: str
    segment: str | None
    value: Value | None
    group: str | None
    change: ChangeKind
    from_: str | None = msgspec.field(name="from")
    to: str | None
    at: int
    emitted_at: int
    seq: int
    late: bool
    definition: DefinitionRef
    cause: Cause
    facts: list[Fact]
    holdout: bool


def make_change(
    user: str,
    seq: int,
    at: int,
    late: bool,
    ref: DefinitionRef,
    cause: Cause,
    facts: list[Fact],
    *,
    change: ChangeKind,
    segment: str | None = None,
    value: Value | None = None,
    group: str | None = None,
    from_: str | None = None,
    to: str | None = None,
) -> Change:
    """A change with its deterministic id: of a `segment` and, with `for_each`, its `value`; or of a
    `group`, `from_` and `to`."""
    return Change(
        change_id(user, seq, ref.digest),
        user,
        segment,
        value,
        group,
        change,
        from_,
        to,
        at,
        0,
        seq,
        late,
        ref,
        cause,
        facts,
        False,
    )


_encoder = msgspec.json.Encoder()


def encode_change(change: Change, emitted_at: int) -> bytes:
    """The change as JSON, stamped with the wall-clock instant of its emission."""
    change.emitted_at = emitted_at
    return _encoder.encode(change)
