"""The users table: one row for each user that has a state.

    key    "u" │ user, UTF-8
    value  armed, 8 bytes │ the value of the user's changelog record, opaque here

`armed` is the due time under which the timers table has this user (NEVER: not there). It stands
before the state because it is about this disk, not about the user: it is lazily behind the state's
own due time and never leaves in the changelog.
"""

from __future__ import annotations

from typing import NamedTuple

from app.domain.limits import NEVER

PREFIX = b"u"
UPPER = b"v"
_ARMED_BYTES = 8


class StoredUser(NamedTuple):
    """One row: `armed` as above, `raw` the changelog's value."""

    armed: int
    raw: bytes


def key(user: str) -> bytes:
    """The row's key."""
    return PREFIX + user.encode()


def user_of(row_key: bytes) -> str:
    """The user of a row's key."""
    assert row_key[:1] == PREFIX, row_key
    return row_key[1:].decode()


def encode(armed: int, raw: bytes) -> bytes:
    """The row's value."""
    assert 0 <= armed <= NEVER, armed
    return armed.to_bytes(_ARMED_BYTES, "big") + raw


def decode(value: bytes) -> StoredUser:
    """The row's parts."""
    assert len(value) >= _ARMED_BYTES, value
    return StoredUser(int.from_bytes(value[:_ARMED_BYTES], "big"), value[_ARMED_BYTES:])
