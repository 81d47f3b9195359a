"""The console's pages: rendered here, kept fresh by the script, readable without it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI, Query, Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from app.domain import limits as domain_limits
from app.domain.members import value_of
from app.web import limits
from app.web.api import bind_note
from app.web.deps import WebDeps
from app.web.fanout import Fanout, decode_cursor, encode_cursor
from app.web.feed import FeedEntry
from app.web.guard import path_text
from app.web.problems import Problem, as_problem
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

    async def overview(self, q: str = Query("", max_length=200), start: int = Query(0, ge=0, le=domain_limits.DEFINITIONS_MAX)) -> Response:
        """All segments, the live feed, the cluster in five numbers."""
        page = await self._segments.page(start, limits.SEGMENTS_PAGE_DEFAULT, q, limits.SPARK_POINTS_MAX // 2)
        workers, _ = await self._fanout.statuses()
        numbers = _numbers(workers, page)
        return self._pages.page("overview.html", **self._common(), page=page, q=q, start=start, numbers=numbers, changes=self._recent())

    async def segment(self, name: str, cursor: str | None = Query(None, max_length=limits.CURSOR_CHARS_MAX)) -> Response:
        """One segment: definition, size over time, members, its changes."""
        return await self._shown(lambda: self._segment(path_text(name), cursor))

    async def _segment(self, name: str, cursor: str | None) -> Response:
        detail = await self._segments.detail(name)
        after = decode_cursor(cursor) if cursor else None
        count = limits.MEMBERS_PAGE_DEFAULT
        rows, _ = await self._fanout.members(f"/api/segments/{name}/members", name, after, count, local=False)
        members = [{"user_id": row.user, "value": value_of(row.member_key), "since": row.since} for row in rows]
        following = encode_cursor(rows[-1][:2]) if len(rows) == count else None
        recent = self._recent(segment=name)
        return self._pages.page("segment.html", **self._common(), segment=detail, members=members, following=following, changes=recent)

    async def find_user(self, id: str = Query("", max_length=domain_limits.USER_ID_CHARS_MAX)) -> Response:  # noqa: A002  (the form's field)
        """The search form's target."""
        user = id.strip()
        return RedirectResponse(f"/users/{path(user)}" if user else "/", 303)

    async def user(self, request: Request, user_id: str, segment: str | None = Query(None, max_length=512)) -> Response:
        """One user, rendered by the worker that has the user; with `segment` also why the user is in it or not."""
        return await self._shown(lambda: self._user(request, path_text(user_id), segment))

    async def _user(self, request: Request, user: str, segment: str | None) -> Response:
        owner = self._users.owner(user)
        if owner is not None:
            return await self._users.forward(request, owner)
        described = await self._users.local(user, lambda: self._deps.state.describe(user))
        upcoming = sorted([item for item in described.get("next") or () if item.get("flips_at")], key=lambda item: int(item["flips_at"]))
        values: dict[str, Any] = {"user": described, "upcoming": upcoming, "changes": self._recent(user=user), "asked": segment}
        values["names"] = [item["name"] for item in self._deps.state.definitions()]
        values["explained"] = await self._explained(user, segment) if segment else None
        return self._pages.page("user.html", **self._common(), **values)

    async def _explained(self, user: str, segment: str) -> dict[str, Any]:
        name = self._segments.find(segment)["name"]
        explained = await self._users.local(user, lambda: self._deps.state.explain(user, name, None))
        answers = [{**answer, "parts": readable(answer["parts"])} for answer in explained.get("answers") or ()]
        return {**explained, "answers": answers}

    async def workers(self) -> Response:
        """Every worker and its partitions."""
        workers, missing = await self._fanout.statuses()
        note = bind_note(self._deps)
        return self._pages.page(
            "workers.html", **self._common(), workers=workers, missing=missing, note=note, unready=self._deps.state.unready()
        )

    async def _shown(self, make: Callable[[], Awaitable[Response]]) -> Response:
        """The page, or its problem as a page."""
        try:
            return await make()
        except Problem as problem:
            return self._pages.page(
                "problem.html", problem.status, **self._common(), problem=as_problem(problem), title=problem.document("")["title"]
            )

    def _common(self) -> dict[str, Any]:
        return {"now": self._deps.clock(), "position": encode_position(self._deps.feed.heads)}

    def _recent(self, segment: str | None = None, user: str | None = None) -> list[dict[str, Any]]:
        return [_shown_change(entry) for entry in self._deps.feed.recent(limits.RECENT_CHANGES_MAX, segment, user)]


def _shown_change(entry: FeedEntry) -> dict[str, Any]:
    change = orjson.loads(entry.raw)
    member = None if change["change"] == "moved" else member_name(change["segment"], change.get("value"))
    return {**change, "words": change_words(change), "member": member}


def _numbers(workers: list[Any], page: dict[str, Any]) -> dict[str, Any]:
    """The strip at the top: sums and worst cases over the workers."""
    commits = [worker["commit_ms_p99"] for worker in workers if worker.get("commit_ms_p99") is not None]
    return {
        "events_per_second": sum([worker.get("events_per_second") or 0 for worker in workers]),
        "changes_per_minute": sum([item["entered_per_minute"] + item["exited_per_minute"] for item in page["segments"]]),
        "members": sum([item["size"] for item in page["segments"]]),
        "lag": sum([worker.get("lag") or 0 for worker in workers]),
        "commit_ms_p99": max(commits, default=None),
        "workers": len(workers),
    }
