"""Definitions joined with sizes and traffic: what the API and the console show of segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.errors import nearest
from app.domain.members import member_key, value_of
from app.web import limits
from app.web.deps import WebDeps
from app.web.fanout import Fanout, Sizes
from app.web.problems import Problem

_OPTIONAL = ("min_dwell", "cooldown", "for_each", "max_per_user", "owner")


class Segments:
    """The segments in force, looked at from this worker."""

    def __init__(self, deps: WebDeps, fanout: Fanout) -> None:
        self._deps = deps
        self._fanout = fanout

    def find(self, name: str) -> Mapping[str, Any]:
        """The definition of that name; 404 with a suggestion when there is none."""
        definitions = self._deps.state.definitions()
        for definition in definitions:
            if definition["name"] == name:
                return definition
        hint = nearest(name, [definition["name"] for definition in definitions])
        raise Problem(404, "unknown-segment", f"There is no segment {name!r}" + (f"; did you mean {hint}?" if hint else "."))

    async def page(self, start: int, count: int, search: str = "", points: int = 0) -> dict[str, Any]:
        """`count` segments from number `start` on whose name, title, group or tags contain `search`."""
        found = [item for item in self._deps.state.definitions() if _contains(item, search.casefold())]
        sizes = await self._fanout.sizes()
        shown = [self._segment(item, sizes, points) for item in found[start : start + count]]
        following = str(start + count) if start + count < len(found) else None
        return {"segments": shown, "next": following, "total": len(found), **completeness(sizes.missing)}

    async def detail(self, name: str) -> dict[str, Any]:
        """One segment with its values and its last hour."""
        definition = self.find(name)
        sizes = await self._fanout.sizes()
        series = self._deps.feed.rates.series(name, self._deps.clock(), limits.RATE_BUCKETS_MAX)
        flow = [{"at": at, "entered": entered, "exited": exited} for at, entered, exited in series]
        values = _largest(name, sizes)
        return {**self._segment(definition, sizes, limits.SPARK_POINTS_MAX), "values": values, "flow": flow, **completeness(sizes.missing)}

    def _segment(self, definition: Mapping[str, Any], sizes: Sizes, points: int) -> dict[str, Any]:
        name, rates, now = definition["name"], self._deps.feed.rates, self._deps.clock()
        entered, exited = rates.per_minute(name, now)
        size = sizes.by_segment.get(name, 0)
        shown = {
            "name": name,
            "title": definition.get("title") or "",
            "description": definition.get("description") or "",
            "when": definition["when"],
            "exit_when": definition.get("exit_when"),
            "group": definition.get("group"),
            "version": definition["version"],
            "digest": definition["digest"],
            "tags": list(definition.get("tags") or ()),
            "signals": [{"expr": item} if isinstance(item, str) else item for item in definition.get("signals") or ()],
            "size": size,
            "entered_per_minute": entered,
            "exited_per_minute": exited,
            "flap_rate": rates.flap_rate(name),
        }
        shown |= {key: definition[key] for key in _OPTIONAL if definition.get(key)}
        return shown | ({"sizes": _past_sizes(size, rates.series(name, now, points))} if points else {})


def completeness(missing: Sequence[str]) -> dict[str, Any]:
    """The members that say whether every worker answered."""
    return {"complete": not missing, "missing": list(missing)}


def _past_sizes(size: int, series: Sequence[tuple[int, int, int]]) -> list[int]:
    """The sizes at the ends of the buckets, worked out backwards from the size now and what came and went since."""
    sizes = []
    for _, entered, exited in reversed(series):
        sizes.append(max(0, size))
        size -= entered - exited
    return sizes[::-1]


def _largest(name: str, sizes: Sizes) -> list[dict[str, Any]]:
    mine = [(key, count) for key, count in sizes.by_key.items() if count and key.startswith(member_key(name, ""))]
    mine.sort(key=lambda pair: (-pair[1], pair[0]))
    return [{"value": value_of(key), "size": count} for key, count in mine[: limits.VALUES_SHOWN_MAX]]


def _contains(definition: Mapping[str, Any], search: str) -> bool:
    if not search:
        return True
    texts = [definition["name"], definition.get("title") or "", definition.get("group") or "", *(definition.get("tags") or ())]
    return any(search in text.casefold() for text in texts)
