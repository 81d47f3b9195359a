"""One event as the engine sees it."""

from __future__ import annotations

from typing import Any

import msgspec


class Event(msgspec.Struct, gc=False, array_like=True):
    """What one user did (or a profile update), decoded and checked.

    `user` is the user id (or the anonymous id where there is none); `ts` epoch milliseconds;
    `stream` the stream's name and `rank` its order among ties; `id` the event id (what names the
    record where the producer gave none; then `has_id` is false and the id takes no part in
    deduplication). `fields` are all other members of the JSON object, reserved keys excluded. A
    profile's `fields` are `{"attributes": {...}, "consent": {...}}`.
    """

    user: str
    ts: int
    stream: str
    rank: int
    id: str
    has_id: bool
    fields: dict[str, Any]
