"""Which partition a user is in: the choice of Java's and aiokafka's producers for a key."""

from __future__ import annotations

from aiokafka.partitioner import murmur2


def partition_for(key: bytes, count: int) -> int:
    """The partition of `key` in a topic of `count` partitions, 0 ≤ partition < count."""
    hashed: int = murmur2(key)
    return (hashed & 0x7FFFFFFF) % count
