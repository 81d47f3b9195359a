"""The records of the changelog topic: what a partition's state is rebuilt from.

    a user     key    "u" │ user, UTF-8
               value  version, 1 byte │ n, 1 byte │ n offsets,
               8 bytes each │ the engine's state      (null: the user was forgotten)
    the mark   key    "m"
               value  JSON of `Mark`; one at the end of each commit, behind the users it is about

The value is also what the users table keeps. The n offsets are the *cut*: by input topic, in the
order of the mark's `topics`, up to where (exclusive) the partition was merged when the state was
written. With transactions a commit is all or nothing and n is 0. Without them a crash may leave
users behind that no mark follows; their cut tells which events are in their state already, so that
none counts twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

VERSION = 1
MARK_KEY = b"m"
_USER = b"u"
_OFFSET_BYTES = 8


class Mark(msgspec.Struct, frozen=True, gc=False):
    """Where the partition was at a commit; the members are those of `tables.meta.Meta`."""

    log: str
    watermark: int
    plan: str
    topics: list[str]
    offsets: list[int]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Mark)
NO_CUT = bytes((VERSION, 0))


def user_key(user: str) -> bytes:
    """The record's key."""
    return _USER + user.encode()


def encode_cut(offsets: Sequence[int]) -> bytes:
    """What stands before the state; `NO_CUT` where commits are transactions."""
    return bytes((VERSION, len(offsets))) + b"".join(offset.to_bytes(_OFFSET_BYTES, "big") for offset in offsets)


def encode_mark(mark: Mark) -> bytes:
    """The mark's value."""
    return _encoder.encode(mark)


def decode_mark(value: bytes) -> Mark:
    """The mark back."""
    return _decoder.decode(value)


def decode_value(value: bytes) -> tuple[tuple[int, ...], bytes]:
    """(cut, state) of a user's value; raises ValueError when it is of a version this program does
    not read."""
    if value[0] != VERSION:
        raise ValueError(
            f"changelog record of version {value[0]}, this program reads {VERSION}: run the version that wrote it"
        )
    if not value[1]:
        return (), value[2:]
    end = 2 + value[1] * _OFFSET_BYTES
    cut = tuple(int.from_bytes(value[at : at + _OFFSET_BYTES], "big") for at in range(2, end, _OFFSET_BYTES))
    return cut, value[end:]


def user_of(key: bytes) -> str:
    """The user of a record's key; raises ValueError for a key this program does not know."""
    if key[:1] != _USER:
        raise ValueError(f"changelog record with key {key[:20]!r}: written by a newer version; run that one")
    return key[1:].decode()
