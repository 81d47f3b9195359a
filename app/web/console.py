"""The console's pages: rendered here, kept fresh by the script, readable without it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import orjson
from fastapi import APIRouter, FastAPI, Query, Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from app.domain import limits as domain_limits
from app.domain.members import value_of
from app.domain.views import Explanation, Verdict
from app.web import limits
from app.web.api import bind_note
from app.web.deps import WebDeps
from app.web.fanout import Fanout, decode_cursor, encode_cursor
from app.web.feed import FeedEntry
from app.web.guard import path_text
from app.web.models import Member
from app.web.problems import Problem
from app.web.render import STATIC, Pages, path
from app.web.segments import Segments
from app.web.stream import encode_position
from app.web.users import Users
from app.wording.words import change_words, member_name, readable


def mount(app: FastAPI, deps: WebDeps, users: Users, segments: Segments, fanout: Fanout) -> None:
    """Add the console and its static files to `app`."""
    console = Console(deps, users, segments, fanout)
    routes = APIRouter(include_in_schema=False)
    routes.add_api_route("/", console.overview)
    routes.add_api_route("/segments/{name}", console.segment)
    routes.add_api_route("/users", console.find_user)
    routes.add_api_route("/users/{user_id}", console.user)
    routes.add_api_route("/workers", console.workers)
    app.include_router(routes)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")


class Console:
    """One method a page."""

    def __init__(self, deps: WebDeps, users: Users, segments: Segments, fanout: Fanout) -> None:
        self._deps = deps
        self._users = users
        self._segments = segments
        self._fanout = fanout
        self._pages = Pages(deps.title, deps.version)

    async def overview(
        self,
        q: str = Query("", max_length=200),
        start: int = Query(0, ge=0, le=domain_limits.DEFINITIONS_MAX),
    ) -> Response:
        """All segments, the live feed, the cluster in six numbers."""
        page = await self._segments.page(start, limits.SEGMENTS_PAGE_DEFAULT, q, limits.SPARK_POINTS_MAX // 2)
        numbers = _numbers((await self._fanout.statuses()).workers)
        refused = [problem for problem in self._deps.state.problems() if problem.kind == "refused"]
        values: dict[str, Any] = {
            "page": page,
            "q": q,
            "start": start,
            "numbers": numbers,
            "refused": refused,
            "changes": self._recent(),
        }
        return self._pages.page("overview.html", **await self._common(), **values)

    async def segment(
        self, name: str, cursor: str | None = Query(None, max_length=limits.CURSOR_CHARS_MAX)
    ) -> Response:
        """One segment: definition, size over time, members, its changes."""
        return await self._shown(lambda: self._segment(path_text(name), cursor))

    async def _segment(self, name: str, cursor: str | None) -> Response:
        detail = await self._segments.detail(name)
        after = decode_cursor(cursor) if cursor else None
        count = limits.MEMBERS_PAGE_DEFAULT
        rows, _ = await self._fanout.members(f"/api/segments/{name}/members", name, after, count, local=False)
        members = [Member(row.user, value_of(row.member_key), row.since) for row in rows]
        following = encode_cursor(rows[-1][:2]) if len(rows) == count else None
        values: dict[str, Any] = {
            "segment": detail,
            "members": members,
            "following": following,
            "changes": self._recent(segment=name),
        }
        return self._pages.page("segment.html", **await self._common(), **values)

    async def find_user(self, id: str = Query("", max_length=domain_limits.USER_ID_CHARS_MAX)) -> Response:  # noqa: A002  (the form's field)
        """The search form's target."""
        user = id.strip()
        return RedirectResponse(f"/users/{path(user)}" if user else "/", 303)

    async def user(self, request: Request, user_id: str, segment: str | None = Query(None, max_length=512)) -> Response:
        """One user, rendered by the worker that has the user; with `segment` also why the user is
        in it or not.
        """
        return await self._shown(lambda: self._user(request, path_text(user_id), segment))

    async def _user(self, request: Request, user: str, segment: str | None) -> Response:
        owner = self._users.owner(user)
        if owner is not None:
            return await self._users.forward(request, owner)
        described = await self._users.local(user, lambda: self._deps.state.describe(user))
        values: dict[str, Any] = {"user": described, "changes": self._recent(user=user), "asked": segment}
        values["names"] = [item.name for item in self._deps.state.definitions()]
        values["answers"] = await self._explained(user, segment) if segment else None
        return self._pages.page("user.html", **await self._common(), **values)

    async def _explained(self, user: str, segment: str) -> list[Verdict]:
        name = self._segments.find(segment).name
        explained = await self._users.local(user, lambda: self._deps.state.explain(user, name, None))
        assert isinstance(explained, Explanation), explained
        return [msgspec.structs.replace(answer, parts=readable(answer.parts)) for answer in explained.answers]

    async def workers(self) -> Response:
        """Every worker and its partitions."""
        workers = (await self._fanout.statuses()).workers
        values: dict[str, Any] = {
            "workers": workers,
            "note": bind_note(self._deps.bind),
            "unready": self._deps.state.unready(),
        }
        return self._pages.page("workers.html", **await self._common(), **values)

    async def _shown(self, make: Callable[[], Awaitable[Response]]) -> Response:
        """The page, or its problem as a page."""
        try:
            return await make()
        except Problem as problem:
            title = problem.document("")["title"]
            return self._pages.page(
                "problem.html", problem.status, **await self._common(), problem=problem, title=title
            )

    async def _common(self) -> dict[str, Any]:
        """What every page shows: up to when events are in, and whether everybody was counted."""
        sizes, statuses, now = await self._fanout.sizes(), await self._fanout.statuses(), self._deps.clock()
        watermark = statuses.watermark
        late = watermark is not None and now - watermark > limits.WATERMARK_LATE_MS
        position = encode_position(self._deps.feed.heads)
        return {"now": now, "position": position, "cluster": sizes, "watermark": watermark, "late": late}

    def _recent(self, segment: str | None = None, user: str | None = None) -> list[dict[str, Any]]:
        return [_shown_change(entry) for entry in self._deps.feed.recent(limits.RECENT_CHANGES_MAX, segment, user)]


def _shown_change(entry: FeedEntry) -> dict[str, Any]:
    change = orjson.loads(entry.raw)
    member = None if change["change"] == "moved" else member_name(change["segment"], change.get("value"))
    return {**change, "words": change_words(change), "member": member}


def _numbers(workers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sums and worst cases over the workers; what waits is None while one does not know it."""
    lags = [worker.get("lag") for worker in workers]
    commits = [worker["commit_ms_p99"] for worker in workers if worker.get("commit_ms_p99") is not None]
    return {
        "events_per_second": sum([worker.get("events_per_second") or 0 for worker in workers]),
        "lag": None if None in lags else sum(lags),
        "commit_ms_p99": max(commits, default=None),
    }
