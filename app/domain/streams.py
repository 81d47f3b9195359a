"""The input streams: what each is called in definitions, which topic it comes from, and how ties in
time are ordered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stream:
    """One input stream.

    `name` is what definitions and event files call it (`click`), `topic` where a broker keeps it
    (`clicks`). `rank` orders events of one user with equal timestamps: lower first. `behaviour` is
    false for profiles.
    """

    name: str
    topic: str
    rank: int
    behaviour: bool = True


DEFAULT_STREAMS: tuple[Stream, ...] = (
    Stream("profile", "profiles", 0, behaviour=False),
    Stream("click", "clicks", 1),
    Stream("cart", "carts", 2),
    Stream("purchase", "purchases", 3),
)


def with_declared(declared: Mapping[str, str], base: Iterable[Stream] = DEFAULT_STREAMS) -> tuple[Stream, ...]:
    """`base` followed by the streams the settings declare (name → topic), ranked in the order
    given."""
    streams = list(base)
    for name, topic in declared.items():
        streams.append(Stream(name, topic, len(streams)))
    return tuple(streams)
