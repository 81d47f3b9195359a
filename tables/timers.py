"""The timers table: which user wakes when, in the order of time.

    key    "t" │ due, 8 bytes, big-endian │ user, UTF-8
    value  nothing

Big-endian, because unsigned numbers of equal length then sort as bytes exactly as they do as
numbers: a scan from the front is the order in which timers fire. Due times are epoch milliseconds,
0 ≤ due < NEVER; a user without a timer has no row.
"""

from __future__ import annotations

from app.domain.limits import NEVER

PREFIX = b"t"
UPPER = b"u"
_DUE_BYTES = 8


def key(due: int, user: str) -> bytes:
    """The row's key."""
    assert 0 <= due < NEVER, due
    return PREFIX + due.to_bytes(_DUE_BYTES, "big") + user.encode()


def bound(due: int) -> bytes:
    """Below every row due at `due` or later, above every row due before."""
    return PREFIX + due.to_bytes(_DUE_BYTES, "big")


def behind(due: int, user: str) -> bytes:
    """The lower bound of the rows behind this one."""
    return key(due, user) + b"\x00"


def parse(row_key: bytes) -> tuple[int, str]:
    """(due, user) of a row's key."""
    assert row_key[:1] == PREFIX, row_key
    assert len(row_key) > _DUE_BYTES, row_key
    return int.from_bytes(row_key[1 : 1 + _DUE_BYTES], "big"), row_key[1 + _DUE_BYTES :].decode()
