"""A place in the stream of changes: for each partition of the topic the next offset to send.

Written as `0-120.1-98` (partition, offset; `.` between; ascending). It is the `id` of a server-sent event, so a browser gives
it back as `Last-Event-ID`, and it means the same on every worker whatever order that worker saw the partitions in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

PARTITIONS_MAX = 1_024  # one topic's; more would not fit a request head
_FORM = re.compile(r"\d{1,6}-\d{1,19}(\.\d{1,6}-\d{1,19})*")


def encode_position(position: Mapping[int, int]) -> str:
    """The place as text; of no partitions the empty string."""
    return ".".join([f"{partition}-{offset}" for partition, offset in sorted(position.items())])


def decode_position(text: str) -> dict[int, int] | None:
    """The place a text names; None when it is not one (a client's own id, another product's)."""
    if not text.isascii() or _FORM.fullmatch(text) is None:
        return None
    pairs = [pair.split("-") for pair in text.split(".")]
    if len(pairs) > PARTITIONS_MAX:
        return None
    return {int(partition): int(offset) for partition, offset in pairs}
