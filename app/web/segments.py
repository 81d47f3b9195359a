"""Definitions joined with sizes and traffic: what the API and the console show of segments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

from msgspec import UNSET

from app.domain.errors import nearest
from app.domain.members import SEPARATOR, value_of
from app.domain.views import SegmentView
from app.web import limits
from app.web.deps import WebDeps
from app.web.fanout import Fanout, Sizes
from app.web.models import Flow, Segment, SegmentDetail, SegmentPage, SignalName, Totals, ValueSize
from app.web.problems import Problem


class Completeness(TypedDict):
    """The members that say whether everybody was counted, and once."""

    complete: bool
    missing: list[str]
    partitions_missing: list[int]
    partitions_doubled: list[int]


class Segments:
    """The segments in force, looked at from this worker."""

    def __init__(self, deps: WebDeps, fanout: Fanout) -> None:
        self._deps = deps
        self._fanout = fanout

    def find(self, name: str) -> SegmentView:
        """The definition of that name; 404 with a suggestion when there is none."""
        definitions = self._deps.state.definitions()
        for definition in definitions:
            if definition.name == name:
                return definition
        hint = nearest(name, [definition.name for definition in definitions])
        raise Problem(
            404, "unknown-segment", f"There is no segment {name!r}" + (f"; did you mean {hint}?" if hint else ".")
        )

    async def page(self, start: int, count: int, search: str = "", points: int = 0) -> SegmentPage:
        """`count` segments from number `start` on whose name, title, group or tags contain
        `search`.
        """
        found = [item for item in self._deps.state.definitions() if _contains(item, search.casefold())]
        sizes = await self._fanout.sizes()
        return SegmentPage(
            segments=[self._segment(item, sizes, points) for item in found[start : start + count]],
            next=str(start + count) if start + count < len(found) else None,
            total=len(found),
            totals=self._totals(sizes),
            **completeness(sizes),
        )

    async def detail(self, name: str) -> SegmentDetail:
        """One segment with its values and its last hour."""
        definition = self.find(name)
        sizes = await self._fanout.sizes()
        segment = self._segment(definition, sizes, limits.SPARK_POINTS_MAX)
        return SegmentDetail(
            **{field: getattr(segment, field) for field in segment.__struct_fields__},
            values=_largest(name, sizes),
            flow=self._flow(name, sizes),
            measured_since=self._fanout.history.since(self._deps.clock()),
            **completeness(sizes),
        )

    def _segment(self, definition: SegmentView, sizes: Sizes, points: int) -> Segment:
        name, rates = definition.name, self._deps.feed.rates
        entered, exited = rates.per_minute(name, self._deps.clock())
        return Segment(
            name=name,
            title=definition.title,
            description=definition.description,
            when=definition.when,
            exit_when=definition.exit_when,
            group=definition.group,
            version=definition.version,
            digest=definition.digest,
            tags=definition.tags,
            signals=[SignalName(expr) for expr in definition.signals],
            size=sizes.people.get(name, 0),
            memberships=sizes.memberships.get(name, 0),
            entered_per_minute=entered,
            exited_per_minute=exited,
            flap_rate=rates.flap_rate(name),
            min_dwell=definition.min_dwell or UNSET,
            cooldown=definition.cooldown or UNSET,
            for_each=definition.for_each or UNSET,
            max_per_user=definition.max_per_user or UNSET,
            owner=definition.owner or UNSET,
            sizes=self._past(name, sizes, points) if points else UNSET,
        )

    def _past(self, name: str, sizes: Sizes, points: int) -> list[int | None]:
        """What was measured, and now."""
        past = self._fanout.history.series(name, self._deps.clock(), points)
        return [*past[:-1], sizes.people.get(name, 0) if sizes.complete else None]

    def _flow(self, name: str, sizes: Sizes) -> list[Flow]:
        """Bucket by bucket.

        Before this worker measured, it does not know who came and went either.
        """
        now, count = self._deps.clock(), limits.RATE_BUCKETS_MAX
        since = self._fanout.history.since(now)
        begin = now + 1 if since is None else since
        moved = self._deps.feed.rates.series(name, now, count)
        return [
            Flow(at, size, entered, exited) if at >= begin else Flow(at, size, None, None)
            for (at, entered, exited), size in zip(moved, self._past(name, sizes, count), strict=True)
        ]

    def _totals(self, sizes: Sizes) -> Totals:
        return Totals(
            people_known=sizes.known,
            people_in_segments=sizes.in_segments,
            memberships=sum(sizes.memberships.values()),
            changes_per_minute=self._deps.feed.rates.all_per_minute(self._deps.clock()),
        )


def completeness(sizes: Sizes) -> Completeness:
    """Whether everybody was counted, and once."""
    return {
        "complete": sizes.complete,
        "missing": list(sizes.missing),
        "partitions_missing": list(sizes.uncounted),
        "partitions_doubled": list(sizes.doubled),
    }


def _largest(name: str, sizes: Sizes) -> list[ValueSize]:
    mine = [(key, count) for key, count in sizes.by_key.items() if count and key.startswith(name + SEPARATOR)]
    mine.sort(key=lambda pair: (-pair[1], pair[0]))
    return [ValueSize(value_of(key), count) for key, count in mine[: limits.VALUES_SHOWN_MAX]]


def _contains(definition: SegmentView, search: str) -> bool:
    texts: Iterable[str] = (definition.name, definition.title, definition.group or "", *definition.tags)
    return any(search in text.casefold() for text in texts)
