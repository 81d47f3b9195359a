"""A worker without Kafka: the web's ports filled with plain data, and changes as the engine would write them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from app.domain.changes import Cause, Fact, encode_change, make_change
from app.domain.changes import DefinitionRef as Ref
from app.domain.errors import InputError, Unreachable
from app.domain.members import name_of, value_of
from app.web.deps import WebDeps
from app.web.feed import ChangeFeed

NOW = 1_764_547_200_000
REF = Ref("engaged", 3, "9f2c0d1e2f3a4b5c")
SEGMENTS: list[dict[str, Any]] = [
    {
        "name": "engaged",
        "title": "Engaged",
        "description": "Busy in the last week; leaves only when clearly quiet.",
        "when": "3 * count(cart, last 7d) + count(click, last 7d) >= 20",
        "exit_when": "3 * count(cart, last 7d) + count(click, last 7d) < 10",
        "min_dwell": "1h",
        "tags": ["core"],
        "signals": [{"expr": "count(cart, last 7d)", "bytes": 320}, {"expr": "count(click, last 7d)", "bytes": 320}],
    },
    {
        "name": "cart_abandoner",
        "title": "Cart abandoner",
        "description": "Left a cart for a day.",
        "when": 'any(cart[action == "add"] without purchase within 24h, last 7d) and not any(purchase, last 7d)',
    },
    {
        "name": "interested_in",
        "title": "Interested in",
        "for_each": "click.category",
        "max_per_user": 20,
        "when": "count(click[category == each], last 7d) > 3 and not any(purchase[category == each], last 7d)",
    },
    {"name": "active", "group": "lifecycle", "when": "since(click) < 7d"},
    {"name": "lapsed", "group": "lifecycle", "when": "since(click) >= 7d"},
]


def definition(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A definition with every member the port promises."""
    base = {"title": "", "description": "", "exit_when": None, "group": None, "version": 3, "digest": REF.digest, "tags": [], "signals": []}
    return {**base, **raw}


class FakeState:
    """LocalState over a dictionary: user → {member key: since}."""

    def __init__(self, members: Mapping[str, Mapping[str, int]] | None = None, reasons: Sequence[str] = ()) -> None:
        self.users = {user: dict(keys) for user, keys in (members or {}).items()}
        self.reasons = list(reasons)
        self.definitions_ = [definition(raw) for raw in SEGMENTS]
        self.asked: list[str] = []
        self.foreign: set[str] = set()

    def owns(self, user: str) -> bool:
        return user not in self.foreign

    async def describe(self, user: str) -> dict[str, Any] | None:
        self.asked.append(user)
        keys = self.users.get(user)
        return None if keys is None else describe(user, keys)

    async def explain(self, user: str, segment: str | None, at: int | None) -> dict[str, Any] | None:
        if user not in self.users:
            return None
        if at is not None and at < NOW:
            raise InputError(f"at={at} is before the user's clock {NOW}; ask replay for the past")
        return explain(user, segment, at or NOW, segment in self.users[user])

    def sizes(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for keys in self.users.values():
            for key in keys:
                found[key] = found.get(key, 0) + 1
        return found

    async def members(self, segment: str, after: tuple[str, str] | None, limit: int) -> Sequence[tuple[str, str, int]]:
        rows = [
            (key, user, since)
            for user, keys in self.users.items()
            for key, since in keys.items()
            if name_of(key) == segment and (after is None or (key, user) > tuple(after))
        ]
        return sorted(rows, key=lambda row: (row[0].encode(), row[1].encode()))[:limit]

    def definitions(self) -> Sequence[Mapping[str, Any]]:
        return self.definitions_

    def unready(self) -> list[str]:
        return self.reasons

    def status(self) -> Mapping[str, Any]:
        partitions = [{"partition": 0, "state": "running", "watermark": NOW, "lag": 3, "users": len(self.users)}]
        rates = {"events_per_second": 812.5, "changes_per_second": 12.0, "commit_ms_p50": 9.1, "commit_ms_p99": 31.0}
        return {"worker": "worker-1", "partitions": partitions, "watermark": NOW, "lag": 3, "plan_digest": REF.digest, **rates}


class FakeCluster:
    """Cluster with fixed answers: `owners` by user, everybody else is here."""

    def __init__(self, owners: Mapping[str, str] | None = None, peers: Sequence[str] = (), nobody: Sequence[str] = ()) -> None:
        self.owners = dict(owners or {})
        self.others = list(peers)
        self.nobody = set(nobody)

    def owner(self, user: str) -> str | None:
        if user in self.nobody:
            raise LookupError(user)
        return self.owners.get(user)

    def peers(self) -> Sequence[str]:
        return self.others


class FakeHistory:
    """The topic itself, all of it."""

    def __init__(self) -> None:
        self.records: dict[int, list[bytes]] = {}
        self.gone = False
        self.reads = 0

    def add(self, partition: int, raw: bytes) -> int:
        records = self.records.setdefault(partition, [])
        records.append(raw)
        return len(records) - 1

    async def read(self, start: Mapping[int, int], end: Mapping[int, int]) -> AsyncIterator[tuple[int, int, bytes]]:
        self.reads += 1
        if self.gone:
            raise Unreachable("the broker is gone")
        for partition, first in start.items():
            for offset in range(first, end[partition]):
                yield partition, offset, self.records[partition][offset]

    async def ends(self) -> Mapping[int, int]:
        return {partition: len(records) for partition, records in self.records.items()}


def describe(user: str, keys: Mapping[str, int]) -> dict[str, Any]:
    """describe_user's JSON."""
    facts = [{"expr": "3 * count(cart, last 7d) + count(click, last 7d)", "value": 21, "needs": ">= 20"}]
    memberships = []
    for key, since in keys.items():
        memberships.append({"segment": name_of(key), "value": value_of(key), "group": None, "since": since, "facts": facts})
    signals = [{"expr": "count(click, last 7d)", "value": 12}, {"expr": "since(purchase)", "value": 90_000_000}]
    flips = [{"segment": m["segment"], "value": m["value"], "in": True, "flips_at": NOW + 3_600_000} for m in memberships]
    head = {"user_id": user, "clock": NOW - 5_000, "seq": 4, "memberships": memberships, "profile": {"age": 31, "city": "Oslo"}}
    return {**head, "consent": {"marketing": True}, "signals": signals, "next_timer": NOW + 3_600_000, "next": flips}


def explain(user: str, segment: str | None, at: int, inside: bool) -> dict[str, Any]:
    """explain_segment's JSON."""
    facts = [
        {"expr": 'any(cart[action == "add"] without purchase within 24h, last 7d)', "value": inside, "needs": "true", "rule": "when"},
        {"expr": "any(purchase, last 7d)", "value": True, "needs": "true", "rule": "when"},
    ]
    leaves = [{"expr": facts[0]["expr"], "holds": inside, "fact": facts[0]}, {"expr": facts[1]["expr"], "holds": True, "fact": facts[1]}]
    negation = {"expr": "not", "op": "not", "holds": False, "parts": leaves[1:]}
    parts = {"expr": "…", "op": "and", "holds": False, "parts": [leaves[0], negation]}
    times = {"since": NOW - 90_000 if inside else None, "flips_at": NOW + 60_000, "min_dwell_until": None, "cooldown_until": NOW + 5_000}
    answer = {"value": None, "in": inside, **times, "rule": "when", "why": facts, "parts": parts}
    return {"user_id": user, "segment": segment, "at": at, "group": None, "definition": {}, "answers": [answer]}


def change(user: str = "u1", seq: int = 1, what: str = "entered", segment: str | None = "engaged", at: int = NOW, **more: Any) -> bytes:
    """One change as it is in the topic."""
    facts = [Fact("3 * count(cart, last 7d) + count(click, last 7d)", 21, ">= 20")]
    cause = more.pop("cause", None) or Cause("event", event_id=f"e{seq}", stream="click", ts=at)
    made = make_change(user, seq, at, False, REF, cause, more.pop("facts", facts), change=what, segment=segment, **more)
    return encode_change(made, at + 12)


def deps(state: FakeState | None = None, cluster: FakeCluster | None = None, feed: ChangeFeed | None = None) -> WebDeps:
    """A worker with one member of `engaged`."""
    return WebDeps(
        state=state or FakeState({"u1": {"engaged": NOW - 60_000}}),
        cluster=cluster or FakeCluster(),
        feed=feed or ChangeFeed(),
        clock=lambda: NOW,
        version="0.0-test",
    )
