"""What a partition's store knows about itself: one row.

    key    "!meta"
    value  JSON of `Meta`; of layouts below 3 without `layout`

JSON, because it is one small row a commit, and an operator with a RocksDB tool must be able to read
it.
"""

from __future__ import annotations

import msgspec

KEY = b"!meta"
LAYOUT = 3


class Meta(msgspec.Struct, frozen=True, gc=False):
    """How far this store is.

    `reached`: the changelog offset up to which (exclusive) everything is in this store.
    `watermark`: of the partition, epoch ms. `log`: the name a changelog partition was given when it
    began; another name means another cluster or a recreated topic. `plan`: the digest of the
    definitions all users were last brought under, "" while that is under way. `users`: rows in the
    users table. `offsets`: by topic, up to where (exclusive) the inputs are in the states.
    `layout`: of all tables; another one is rebuilt from the changelog.
    """

    reached: int = 0
    watermark: int = 0
    log: str = ""
    plan: str = ""
    users: int = 0
    offsets: dict[str, int] = {}
    layout: int = LAYOUT


class _Layout(msgspec.Struct):
    """What is read of a row of any layout."""

    layout: int = 0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Meta)
_layout_decoder = msgspec.json.Decoder(_Layout)


def encode(meta: Meta) -> bytes:
    """The row's value."""
    return _encoder.encode(meta)


def decode(value: bytes) -> Meta:
    """The row's value back, of another layout nothing but that; raises msgspec.DecodeError or
    ValidationError when it is not one."""
    layout = _layout_decoder.decode(value).layout
    return _decoder.decode(value) if layout == LAYOUT else Meta(layout=layout)
