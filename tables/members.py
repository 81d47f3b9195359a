"""The members table: who is in what, in the order of segment, then user; and beside it how many.

    key    "m" │ member key, UTF-8 │ 00 │ user, UTF-8      value  since, 8 bytes
    key    "s" │ member key, UTF-8                         value  memberships, 8 bytes
    key    "p" │ segment's name, UTF-8                     value  people, 8 bytes

A member key is that of `app.domain.members`: a segment's name, or name │ 1f │ the value's key;
neither part holds 00, which is below every other byte, so rows sort by (member key, user) with both
compared as bytes, and all values of one segment lie together right behind the segment's own name.

A person is counted once in a "p" row, however many values of the segment they are in; the row of
the empty name counts the people who are in any segment. A partition has all of its users, so the
counts of several partitions add up.
"""

from __future__ import annotations

from app.domain.members import SEPARATOR

PREFIX = b"m"
SIZE_PREFIX = b"s"
SIZE_UPPER = b"t"
PEOPLE_PREFIX = b"p"
PEOPLE_UPPER = b"q"
ANY = ""
_END = b"\x00"
_AFTER_END = b"\x01"
_VALUE_SEPARATOR = SEPARATOR.encode()
_AFTER_SEPARATOR = b"\x20"
_NUMBER_BYTES = 8


def key(member_key: str, user: str) -> bytes:
    """The row's key."""
    raw = member_key.encode()
    assert _END not in raw, member_key
    return PREFIX + raw + _END + user.encode()


def parse(row_key: bytes) -> tuple[str, str]:
    """(member key, user) of a row's key."""
    assert row_key[:1] == PREFIX, row_key
    member_key, end, user = row_key[1:].partition(_END)
    assert end, row_key
    return member_key.decode(), user.decode()


def ranges(segment: str) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
    """The two key ranges (lower inclusive, upper exclusive), in order, that hold all members of a
    segment: itself, then its values."""
    raw = PREFIX + segment.encode()
    return (raw + _END, raw + _AFTER_END), (raw + _VALUE_SEPARATOR, raw + _AFTER_SEPARATOR)


def after(member_key: str, user: str) -> bytes:
    """The lower bound of the rows that sort behind this pair."""
    return key(member_key, user) + _END


def size_key(member_key: str) -> bytes:
    """The key of a member key's count."""
    return SIZE_PREFIX + member_key.encode()


def size_key_of(row_key: bytes) -> str:
    """The member key of a count's key."""
    assert row_key[:1] == SIZE_PREFIX, row_key
    return row_key[1:].decode()


def people_key(segment: str) -> bytes:
    """The key of a segment's count of people; of `ANY` that of the people in any."""
    return PEOPLE_PREFIX + segment.encode()


def people_key_of(row_key: bytes) -> str:
    """The segment's name of a count of people's key."""
    assert row_key[:1] == PEOPLE_PREFIX, row_key
    return row_key[1:].decode()


def encode_number(number: int) -> bytes:
    """A since or a count."""
    return number.to_bytes(_NUMBER_BYTES, "big")


def decode_number(value: bytes) -> int:
    """A since or a count."""
    assert len(value) == _NUMBER_BYTES, value
    return int.from_bytes(value, "big")
