"""Live changes over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from app.web import limits
from app.web.deps import WebDeps
from tests.web.conftest import served
from tests.web.fakes import FakeHistory, change
from tests.web.test_web_api import KIND, problem


async def blocks(answer: httpx.Response) -> AsyncIterator[dict[str, str]]:
    """The events of a stream as their fields."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line:
            yield fields
            fields = {}


async def named(events: AsyncIterator[dict[str, str]], kind: str) -> dict[str, str]:
    async with asyncio.timeout(5):
        async for fields in events:
            if fields.get("event") == kind:
                return fields
    raise AssertionError(f"the stream ended without {kind}")


async def test_a_client_that_reconnects_misses_nothing(worker: WebDeps) -> None:
    history = FakeHistory()
    worker.feed.history = history
    worker.feed.begin({0: 0})

    def happen(*numbers: int) -> None:
        for number in numbers:
            raw = change(f"u{number}", number, segment="engaged" if number % 2 else "other")
            worker.feed.append(0, history.add(0, raw), raw)
        worker.feed.notify()

    async with served(worker) as base, httpx.AsyncClient(base_url=base, timeout=5) as client:
        async with client.stream("GET", "/api/changes?segment=engaged&words=1") as answer:
            assert (answer.headers["content-type"], answer.headers["cache-control"]) == (
                "text/event-stream; charset=utf-8",
                "no-store",
            )
            events = blocks(answer)
            await anext(events)
            happen(0, 1, 2)
            seen = await named(events, "change")
            assert ('"user_id":"u1"' in seen["data"], '"headline":"entered engaged"' in seen["data"]) == (True, True)
        happen(3, 4, 5)
        async with client.stream(
            "GET", "/api/changes?segment=engaged", headers={"last-event-id": seen["id"]}
        ) as answer:
            events = blocks(answer)
            assert [
                '"u3"' in (await named(events, "change"))["data"],
                '"u5"' in (await named(events, "change"))["data"],
            ] == [True, True]
        async with client.stream("GET", f"/api/changes?after={seen['id']}&user=u5") as answer:
            assert '"u5"' in (await named(blocks(answer), "change"))["data"]


async def test_a_stopping_worker_says_so_and_stops_at_once(worker: WebDeps) -> None:
    async with (
        served(worker) as base,
        httpx.AsyncClient(base_url=base, timeout=5) as client,
        client.stream("GET", "/api/changes") as answer,
    ):
        events = blocks(answer)
        await anext(events)
        worker.feed.close()
        assert (await named(events, "closing"))["data"].startswith("{")


async def test_the_number_of_streams_is_limited_and_a_gone_client_makes_room(
    worker: WebDeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STREAM_CLIENTS_MAX", 1)
    async with served(worker) as base, httpx.AsyncClient(base_url=base, timeout=5) as client:
        async with client.stream("GET", "/api/changes") as answer:
            await anext(answer.aiter_bytes())
            refused = await client.get("/api/changes")
            assert (refused.status_code, problem(refused)["type"]) == (503, KIND + "too-many-streams")
        await asyncio.sleep(0.1)
        async with client.stream("GET", "/api/changes") as answer:
            assert answer.status_code == 200


async def test_a_client_that_reads_nothing_is_dropped_without_holding_memory(
    worker: WebDeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STREAM_SEND_SECONDS_MAX", 0.3)
    worker.feed.begin({0: 0})
    async with served(worker) as base:
        port = int(base.rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /api/changes HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"beat\n\n")
        raw = change("u" * 200)
        for offset in range(60_000):
            worker.feed.append(0, offset, raw)
            if offset % 500 == 0:
                worker.feed.notify()
                await asyncio.sleep(0)
        worker.feed.notify()
        async with asyncio.timeout(5), httpx.AsyncClient(base_url=base) as client:
            while "hyperseg_streams_open 0.0" not in (await client.get("/metrics")).text:
                await asyncio.sleep(0.05)
            text = (await client.get("/metrics")).text
        assert 'hyperseg_streams_dropped_total{reason="stuck"} 1.0' in text or 'reason="behind"} 1.0' in text
        writer.close()
