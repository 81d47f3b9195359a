"""A worker without Kafka: the web's ports filled with plain data, and changes as the engine would
write them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from app.domain.changes import Cause, Fact, encode_change, make_change
from app.domain.changes import DefinitionRef as Ref
from app.domain.errors import InputError, Unreachable
from app.domain.members import name_of, value_of
from app.domain.views import (
    DefinitionProblem,
    Explanation,
    Explanations,
    LocalSizes,
    Membership,
    Part,
    SegmentView,
    SignalRow,
    Transition,
    UserView,
    Verdict,
)
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
        "signals": ["count(cart, last 7d)", "count(click, last 7d)"],
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


def definition(raw: Mapping[str, Any]) -> SegmentView:
    """A definition, what is not given being nothing."""
    none = dict.fromkeys(("exit_when", "min_dwell", "cooldown", "for_each", "max_per_user", "group"))
    base = {"title": "", "description": "", "owner": "", "version": 3, "digest": REF.digest, "tags": [], "signals": []}
    return SegmentView(**{**none, **base, **raw})


class FakeState:
    """LocalState over a dictionary: user → {member key: since}."""

    def __init__(self, members: Mapping[str, Mapping[str, int]] | None = None, reasons: Sequence[str] = ()) -> None:
        self.users = {user: dict(keys) for user, keys in (members or {}).items()}
        self.reasons = list(reasons)
        self.definitions_ = [definition(raw) for raw in SEGMENTS]
        self.asked: list[str] = []
        self.foreign: set[str] = set()
        self.problems_: list[DefinitionProblem] = []
        self.watermark = NOW
        self.counted = [0]
        self.partitions = 1
        self.lag: int | None = 3

    def owns(self, user: str) -> bool:
        return user not in self.foreign

    async def describe(self, user: str) -> UserView | None:
        self.asked.append(user)
        keys = self.users.get(user)
        return None if keys is None else describe(user, keys)

    async def explain(self, user: str, segment: str | None, at: int | None) -> Explanation | Explanations | None:
        if user not in self.users:
            return None
        if at is not None and at < NOW:
            raise InputError(f"at={at} is before the user's clock {NOW}; ask replay for the past")
        wanted = [item for item in self.definitions_ if segment in (None, item.name)]
        found = [explain(user, item, at or NOW, item.name in self.users[user]) for item in wanted]
        return found[0] if segment is not None else Explanations(user_id=user, segments=found)

    def sizes(self) -> LocalSizes:
        people = Counter(name for keys in self.users.values() for name in {name_of(key) for key in keys})
        return LocalSizes(
            sizes=dict(Counter(key for keys in self.users.values() for key in keys)),
            people=dict(people),
            in_segments=sum(1 for keys in self.users.values() if keys),
            known=len(self.users),
            partitions=self.counted,
            partitions_total=self.partitions,
        )

    async def members(self, segment: str, after: tuple[str, str] | None, limit: int) -> Sequence[tuple[str, str, int]]:
        rows = [
            (key, user, since)
            for user, keys in self.users.items()
            for key, since in keys.items()
            if name_of(key) == segment and (after is None or (key, user) > tuple(after))
        ]
        return sorted(rows, key=lambda row: (row[0].encode(), row[1].encode()))[:limit]

    def definitions(self) -> Sequence[SegmentView]:
        return self.definitions_

    def problems(self) -> Sequence[DefinitionProblem]:
        return self.problems_

    def unready(self) -> list[str]:
        return self.reasons

    def status(self) -> Mapping[str, Any]:
        partitions = [
            {"partition": 0, "state": "running", "watermark": self.watermark, "lag": self.lag, "users": len(self.users)}
        ]
        refused = sum(problem.kind == "refused" for problem in self.problems_)
        rates = {"events_per_second": 812.5, "changes_per_second": 12.0, "commit_ms_p50": 9.1, "commit_ms_p99": 31.0}
        head = {
            "worker": "worker-1",
            "partitions": partitions,
            "watermark": self.watermark,
            "lag": self.lag,
            "plan_digest": REF.digest,
        }
        return {**head, "definitions_refused": refused, **rates}


class FakeCluster:
    """Cluster with fixed answers: `owners` by user, everybody else is here."""

    def __init__(
        self, owners: Mapping[str, str] | None = None, peers: Sequence[str] = (), nobody: Sequence[str] = ()
    ) -> None:
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


def describe(user: str, keys: Mapping[str, int]) -> UserView:
    """A user with these memberships."""
    facts = [Fact("3 * count(cart, last 7d) + count(click, last 7d)", 21, ">= 20")]
    flips_at = NOW + 3_600_000
    return UserView(
        user_id=user,
        clock=NOW - 5_000,
        seq=4,
        memberships=[
            Membership(
                segment=name_of(key), value=value_of(key), group=None, since=since, facts=facts, flips_at=flips_at
            )
            for key, since in keys.items()
        ],
        profile={"age": 31, "city": "Oslo"},
        consent={"marketing": True},
        signals=[
            signal("count(click, last 7d)", 12),
            signal("since(purchase)", 90_000_000),
            signal("count(click[category == each], last 7d)", 4, "yoga"),
            signal("count(click[category == each], last 7d)", 2, "shoes"),
        ],
        next_timer=flips_at,
        next=[Transition(segment=name_of(key), value=value_of(key), in_=True, flips_at=flips_at) for key in keys],
    )


def signal(expr: str, value: Any, each: str | None = None) -> SignalRow:
    """A signal that stays as it is."""
    return SignalRow(expr=expr, value=value, each=each, until=None, approximate=False, or_more=False)


def explain(user: str, segment: SegmentView, at: int, inside: bool) -> Explanation:
    """Why the user is in the segment or not."""
    facts = [
        Fact('any(cart[action == "add"] without purchase within 24h, last 7d)', inside, "true"),
        Fact("any(purchase, last 7d)", True, "true"),
    ]
    leaves = [
        Part(expr=facts[0].expr, holds=inside, fact=facts[0]),
        Part(expr=facts[1].expr, holds=True, fact=facts[1]),
    ]
    negation = Part(expr="not", op="not", holds=False, parts=leaves[1:])
    answer = Verdict(
        value=None,
        in_=inside,
        since=NOW - 90_000 if inside else None,
        flips_at=NOW + 60_000,
        min_dwell_until=None,
        cooldown_until=NOW + 5_000,
        rule="when",
        why=facts,
        parts=Part(expr="…", op="and", holds=False, parts=[leaves[0], negation]),
    )
    return Explanation(user_id=user, segment=segment.name, at=at, group=None, definition=segment, answers=[answer])


def change(
    user: str = "u1", seq: int = 1, what: str = "entered", segment: str | None = "engaged", at: int = NOW, **more: Any
) -> bytes:
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
