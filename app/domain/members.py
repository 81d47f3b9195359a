"""The member key: one spelling of (segment, value of `for_each`) for memberships, timers, exits,
`held` and the members table.

    engaged                      a segment with one membership a user
    interested_in │ 1f │ syoga   the value "yoga" of a `for_each` segment, as its key

A value's key says the type first, so that "1", 1 and true stay apart while 1 and 1.0 are one: s
and the text, n and the number, b1 or b0. Keys are for state and stores; JSON (changes, the API)
carries the name and the value themselves. Names never hold the separator, and an event never
holds 00, so rows that end a key with 00 sort by it.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

SEPARATOR = "\x1f"
_INTEGERS = 2.0**63  # no integer of an event is beyond

Value = str | int | float | bool
"""A scalar of an event, as `for_each` and `distinct` tell them apart."""


def scalar_key(value: Any) -> str | None:
    """The key of a value: equal for values that are the same; None for null, lists and objects."""
    kind = type(value)
    if kind is str:
        return f"s{value}"
    if kind is bool:
        return "b1" if value else "b0"
    if kind is int:
        return f"n{value}"
    if kind is float:
        return f"n{int(value)}" if value.is_integer() and abs(value) < _INTEGERS else f"n{value!r}"
    return None


def scalar_value(key: str) -> Value:
    """The value that a `scalar_key` stands for."""
    if key[0] == "s":
        return key[1:]
    if key[0] == "b":
        return key == "b1"
    return float(key[1:]) if any(c in key for c in ".e") else int(key[1:])


@lru_cache(maxsize=65_536)
def member_key(name: str, value_key: str | None) -> str:
    """The key of a unit named `name`, for one value where it is judged for each."""
    return name if value_key is None else f"{name}{SEPARATOR}{value_key}"


def split(key: str) -> tuple[str, str | None]:
    """(name, the value's key or None) of a member key."""
    name, found, value_key = key.partition(SEPARATOR)
    return name, value_key if found else None


def name_of(key: str) -> str:
    """The segment's name in a member key."""
    return key.partition(SEPARATOR)[0]


def value_of(key: str) -> Value | None:
    """The value in a member key; None for a segment with one membership a user."""
    value_key = split(key)[1]
    return None if value_key is None else scalar_value(value_key)


@lru_cache(maxsize=65_536)
def order(key: str) -> tuple[str, str]:
    """What changes of one instant, and the memberships of one user, are ordered by: the segment's
    name, then the value as JSON."""
    name, value_key = split(key)
    return name, "" if value_key is None else json.dumps(scalar_value(value_key), ensure_ascii=False)
