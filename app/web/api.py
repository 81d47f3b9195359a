"""The routes under /api."""

from __future__ import annotations

import asyncio
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, Path, Query, Request
from msgspec import UNSET
from starlette.responses import Response

from app.domain import limits as domain_limits
from app.domain.members import value_of
from app.domain.views import Explanation, Explanations, UserView
from app.web import limits
from app.web.deps import WebDeps
from app.web.fanout import Fanout, Statuses, decode_cursor, encode_cursor, sum_sizes
from app.web.guard import is_loopback, path_text
from app.web.metrics import WebMetrics
from app.web.models import Member, MemberPage, SegmentDetail, SegmentPage, SizesAnswer, Status
from app.web.openapi import Responses, answers
from app.web.ports import MemberRow
from app.web.problems import Problem
from app.web.segments import Segments, completeness
from app.web.sse import EventStreamResponse
from app.web.stream import ChangeStream, StreamRequest, decode_position
from app.web.users import Users, json_response
from app.wording.words import change_words

_USER_CHARS = domain_limits.USER_ID_CHARS_MAX * 3  # %2F and %25 are still encoded here
UserId = Annotated[
    str, Path(min_length=1, max_length=_USER_CHARS, description="The user id, percent-encoded.", examples=["u42"])
]
SegmentName = Annotated[str, Path(min_length=1, max_length=512, examples=["engaged"])]
Local = Annotated[bool, Query(description="Only this worker's partitions (workers ask each other so).")]
Instant = Annotated[int | None, Query(ge=0, le=domain_limits.TS_MAX_MS, description="Epoch milliseconds; default now.")]
Cursor = Annotated[str | None, Query(max_length=limits.CURSOR_CHARS_MAX, description="`next` of the page before.")]
_USER_PROBLEMS = (404, 502, 503, 504, 422, 429)


def router(deps: WebDeps, users: Users, segments: Segments, fanout: Fanout, metrics: WebMetrics) -> APIRouter:
    """All routes of the API on this worker."""
    api = APIRouter(prefix="/api")
    _users(api, deps, users, segments)
    _segments(api, deps, segments, fanout)
    _changes(api, deps, metrics)
    _status(api, deps, fanout)
    return api


def _users(api: APIRouter, deps: WebDeps, users: Users, segments: Segments) -> None:
    @api.get(
        "/users/{user_id}", summary="One user", responses=answers(UserView, problems=_USER_PROBLEMS), tags=["users"]
    )
    async def user(request: Request, user_id: UserId) -> Response:
        """Memberships with since-when and why, profile, every signal's current value, next timer,
        consent.
        """
        name = _user_id(user_id)
        return await users.answer(request, name, lambda: deps.state.describe(name))

    explained = answers(Explanation, Explanations, problems=_USER_PROBLEMS)

    @api.get("/users/{user_id}/explain", summary="Why in, why not", responses=explained, tags=["users"])
    async def explain(
        request: Request, user_id: UserId, segment: str | None = Query(None, max_length=512), at: Instant = None
    ) -> Response:
        """Which condition holds, which fails, and when it would flip by itself; of one segment or
        of all.
        """
        name = _user_id(user_id)
        if segment is not None:
            segments.find(segment)
        return await users.answer(request, name, lambda: deps.state.explain(name, segment, at))


def _user_id(text: str) -> str:
    user = path_text(text)
    if len(user) > domain_limits.USER_ID_CHARS_MAX:
        raise Problem(422, "invalid-request", f"user_id: at most {domain_limits.USER_ID_CHARS_MAX} characters")
    return user


def _segments(api: APIRouter, deps: WebDeps, segments: Segments, fanout: Fanout) -> None:
    @api.get("/segments", summary="All segments", responses=answers(SegmentPage), tags=["segments"])
    async def segment_list(
        limit: int = Query(limits.SEGMENTS_PAGE_DEFAULT, ge=1, le=limits.SEGMENTS_PAGE_MAX),
        cursor: int = Query(0, ge=0, le=domain_limits.DEFINITIONS_MAX, description="`next` of the page before."),
        q: str = Query("", max_length=200, description="Part of the name, title, group or a tag."),
        points: int = Query(
            0, ge=0, le=limits.SPARK_POINTS_MAX, description="How many past sizes to give, five seconds apart."
        ),
    ) -> Response:
        """Definitions in force with live sizes and how many entered and left in the last minute."""
        return json_response(await segments.page(cursor, limit, q, points))

    @api.get("/sizes", summary="Sizes alone", responses=answers(SizesAnswer), tags=["segments"])
    async def sizes(local: Local = False) -> Response:
        """Memberships and people now: all there is to sum over workers."""
        found = sum_sizes([deps.state.sizes()], [], 1) if local else await fanout.sizes()
        counted = sorted(set(range(found.partitions)) - set(found.uncounted))
        return json_response(
            SizesAnswer(
                sizes=dict(found.by_key),
                people=dict(found.people),
                in_segments=found.in_segments,
                known=found.known,
                partitions=counted,
                partitions_total=found.partitions,
                **completeness(found),
            )
        )

    @api.get(
        "/segments/{name}",
        summary="One segment",
        responses=answers(SegmentDetail, problems=(404, 422, 429)),
        tags=["segments"],
    )
    async def segment(name: SegmentName) -> Response:
        """The definition, its size, its largest values, and who came and went in the last hour."""
        return json_response(await segments.detail(path_text(name)))

    @api.get(
        "/segments/{name}/members",
        summary="Its members",
        responses=answers(MemberPage, problems=(404, 422, 429)),
        tags=["segments"],
    )
    async def members(
        name: SegmentName,
        limit: int = Query(limits.MEMBERS_PAGE_DEFAULT, ge=1, le=limits.MEMBERS_PAGE_MAX),
        cursor: Cursor = None,
        local: Local = False,
    ) -> Response:
        """Members over all workers, page by page, in a fixed order."""
        found = segments.find(path_text(name)).name
        after = decode_cursor(cursor) if cursor else None
        rows, missing = await fanout.members(f"/api/segments/{found}/members", found, after, limit, local)
        return json_response(_member_page(found, rows, missing, limit, local))


def _member_page(segment: str, rows: list[MemberRow], missing: list[str], limit: int, local: bool) -> MemberPage:
    return MemberPage(
        segment=segment,
        complete=not missing,
        missing=missing,
        members=[Member(row.user, value_of(row.member_key), row.since) for row in rows],
        next=encode_cursor(rows[-1][:2]) if len(rows) == limit else None,
        rows=[(row.member_key, row.user, row.since) for row in rows] if local else UNSET,
    )


def _changes(api: APIRouter, deps: WebDeps, metrics: WebMetrics) -> None:
    readers = asyncio.Semaphore(limits.HISTORY_READERS_MAX)
    sse: Responses = {
        200: {"content": {"text/event-stream": {}}, "description": "Events: change, gap, skipped, dropped, closing"}
    }

    @api.get(
        "/changes",
        summary="Live changes",
        responses={**answers(problems=(503, 422, 429)), **sse},
        tags=["changes"],
        response_class=Response,
    )
    async def changes(
        segment: str | None = Query(None, max_length=512, description="A segment's or group's name, or name:value."),
        user: str | None = Query(None, max_length=domain_limits.USER_ID_CHARS_MAX),
        after: str | None = Query(
            None, max_length=limits.HEADER_BYTES_MAX, description="As Last-Event-ID, which wins."
        ),
        words: bool = Query(False, description="Add `words`: headline, cause and reasons in plain English."),
        per_second: int = Query(
            0, ge=0, le=limits.STREAM_PER_SECOND_MAX, description="Send at most so many a second; 0: all."
        ),
        last_event_id: str | None = Header(
            None, description="The id of the last event that was seen: continue after it."
        ),
    ) -> Response:
        """Changes of membership as server-sent events.

        Reconnecting to any worker with the last id misses nothing that is retained.
        """
        if len(open_streams) >= limits.STREAM_CLIENTS_MAX:
            detail = f"{limits.STREAM_CLIENTS_MAX} streams are open on this worker already."
            raise Problem(503, "too-many-streams", detail, {"Retry-After": "5"})
        asked = StreamRequest(segment, user, decode_position(last_event_id or after or ""), words, per_second)
        stream = ChangeStream(deps.feed, asked, _with_words if words else bytes, metrics, readers)
        return EventStreamResponse(stream.pieces(), metrics, open_streams)

    open_streams: set[object] = set()


def _with_words(raw: bytes) -> bytes:
    change = orjson.loads(raw)
    return orjson.dumps({**change, "words": change_words(change)})


def _status(api: APIRouter, deps: WebDeps, fanout: Fanout) -> None:
    @api.get("/status", summary="The workers", responses=answers(Status), tags=["operation"])
    async def status(local: Local = False) -> Response:
        """Partitions, watermarks, lag, commit times and rates of every worker."""
        found = Statuses([deps.state.status()], []) if local else await fanout.statuses()
        return json_response(
            {
                "version": deps.version,
                "now": deps.clock(),
                "bind": deps.bind,
                "note": bind_note(deps.bind),
                "workers": found.workers,
                "definitions": deps.state.problems(),
                "complete": not found.missing,
                "missing": found.missing,
            }
        )


def bind_note(host: str) -> str:
    """Who can reach this server, in a sentence."""
    if is_loopback(host):
        return f"No access tokens are configured, and only this machine is served ({host})."
    return f"No access tokens are configured: everybody who reaches {host} is served."
