"""One user's state and its bytes.

MessagePack: [layout, core, past]. The core is itself bytes, an array whose positions are the
order of the fields of `UserState`:

    [plan digest, user, clock, rank, applied, seq, session start, session last,
     {signal key: cell}, {member: since}, {held: since}, {group's member: since}, {group: current},
     {exited: at}, {armed: due}, {event id: ts}, {attribute: [ts, value]}, {consent: [ts, value]},
     {segment: {value key: in the domain}}, due, null, null]

What is held, exited or armed is named by its member key too (`app.domain.members`).

`past` is null, or [[[clock, rank, events before it, core], …], [event, …]]: earlier states and
the events since the oldest of them, kept as far back as a late event may come. A core is empty
for the state before the first event. Cores are bytes within bytes so that a state just read or
written is a snapshot for free. The layout number changes with any change of this drawing; bytes
of another layout are refused, never misread.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from app.domain.errors import HypersegError
from app.domain.events import Event
from app.domain.limits import NEVER

LAYOUT = 3
SHORT_ID_CHARS = 16

if TYPE_CHECKING:
    Stored = Any
else:
    Stored = msgspec.Raw
"""What is kept of a signal: bytes as they were read until its signal touches them, then its cell
(see `app.engine.signals`)."""


class StateLayoutError(HypersegError):
    """Stored state of another layout, or damaged bytes."""


class Past(msgspec.Struct, gc=False, array_like=True):
    """What lets a late event take its place: `snapshots` as (clock, rank, how many of `events` it
    has applied, bytes), oldest first."""

    snapshots: list[tuple[int, int, int, bytes]]
    events: list[Event]


class UserState(msgspec.Struct, gc=False, array_like=True):
    """All that is kept of one user. Instants are epoch ms.

    `clock` is the largest ts or due time so far, `rank` the stream rank of the event applied last
    at it (-1: a timer). `applied` counts events, `seq` changes. `members` are the published
    memberships (member key → since); `due` is the earliest instant in `dues`, NEVER when there is
    none. `core` is the state's encoded core while it is as it was when that was made, None once it
    was changed.
    """

    plan_digest: str
    user: str
    clock: int
    rank: int
    applied: int
    seq: int
    session_start: int
    session_last: int
    signals: dict[int, Stored]
    members: dict[str, int]
    held: dict[str, int]
    ranked: dict[str, int]
    groups: dict[str, str]
    exits: dict[str, int]
    dues: dict[str, int]
    seen: dict[str, int]
    attributes: dict[str, tuple[int, Any]]
    consent: dict[str, tuple[int, Any]]
    values: dict[str, dict[str, bool]]
    due: int
    past: Past | None = None
    core: bytes | None = None


def new_state(user: str, plan_digest: str) -> UserState:
    """A user nothing is known of: no events, a member of nothing."""
    return UserState(plan_digest, user, 0, -1, 0, 0, -NEVER, -NEVER, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, NEVER)


_encode = msgspec.msgpack.Encoder().encode
_decode_core = msgspec.msgpack.Decoder(UserState).decode
_decode = msgspec.msgpack.Decoder(tuple[int, bytes, Past | None]).decode


def encode(state: UserState) -> bytes:
    """The state's bytes."""
    return _encode((LAYOUT, core_of(state), state.past))


def core_of(state: UserState) -> bytes:
    """The state's bytes without its past, as a snapshot holds them; empty before the first
    event."""
    core = state.core
    if core is None:
        past, state.past = state.past, None
        core = _encode(state)
        state.past, state.core = past, core
    return core


def decode_core(core: bytes) -> UserState:
    """The state of a snapshot. Raises StateLayoutError."""
    try:
        state = _decode_core(core)
    except msgspec.MsgspecError as error:
        raise _damaged(core, error) from None
    state.core = core
    return state


def decode(raw: bytes) -> UserState:
    """The state in `raw`. Raises StateLayoutError."""
    try:
        layout, core, past = _decode(raw)
    except msgspec.MsgspecError as error:
        raise _damaged(raw, error) from None
    if layout != LAYOUT:
        raise StateLayoutError(
            f"stored state has layout {layout}, this version reads {LAYOUT}: run it under a new app_id, which "
            "reads the inputs from their beginning"
        )
    state = decode_core(core)
    state.past = past
    return state


def cell_decoder(cell_type: Any) -> Callable[[Any], Any]:
    """Bytes of a signal's cell → the cell; the function raises StateLayoutError."""
    decode_cell = msgspec.msgpack.Decoder(cell_type).decode

    def decoded(raw: Any) -> Any:
        try:
            return decode_cell(raw)
        except msgspec.MsgspecError as error:
            raise _damaged(bytes(raw), error) from None

    return decoded


def _damaged(raw: bytes, error: Exception) -> StateLayoutError:
    return StateLayoutError(
        f"stored state cannot be read: {error}; found {len(raw)} bytes, expected layout {LAYOUT}: remove "
        "this partition's store, which is then restored from the changelog"
    )


def remembered_id(event_id: str) -> str:
    """What is kept of an event id for deduplication: short ids as they are, long ones as a 96-bit
    hash."""
    if len(event_id) <= SHORT_ID_CHARS:
        return event_id
    return blake2b(event_id.encode(), digest_size=12).hexdigest()
