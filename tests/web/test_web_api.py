"""The read API of one worker."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx
import orjson
import pytest

from app.domain.members import member_key
from app.domain.options import EngineOptions
from app.rules.definitions import load_text, problems_of
from app.web import limits
from app.web.api import bind_note
from app.web.application import build_app
from app.web.deps import WebDeps
from app.web.fanout import encode_cursor
from app.web.guard import SECURITY_HEADERS
from tests.web.fakes import NOW, FakeCluster, FakeState, change, deps

KIND = "urn:hyperseg:problem:"


def problem(answer: httpx.Response) -> dict[str, Any]:
    """The document, checked to be one."""
    document: dict[str, Any] = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert document["status"] == answer.status_code
    assert document["type"].startswith(KIND)
    assert all(isinstance(document[name], str) and document[name] for name in ("title", "detail", "instance"))
    return document


def asking(worker: WebDeps, **options: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(build_app(worker, **options), raise_app_exceptions=False),
        base_url="http://localhost",
    )


async def test_a_user(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/users/u1")
    assert answer.status_code == 200
    assert [item["segment"] for item in answer.json()["memberships"]] == ["engaged"]
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "user",
    ["a/b", "a%2Fb", "a%b", "../x", "ü €", "explain", "a/explain", "?q=1", "#", "a\nb", "%252F", "😀", ".", "a+b", ";"],
)
async def test_any_user_id_survives_the_path(user: str) -> None:
    state = FakeState({user: {"engaged": NOW}})
    async with asking(deps(state)) as client:
        encoded = "".join([f"%{byte:02X}" for byte in user.encode()])
        answer = await client.get(f"/api/users/{encoded}")
        explained = await client.get(f"/api/users/{encoded}/explain?segment=engaged")
        page = await client.get(f"/users/{encoded}")
    assert (answer.json()["user_id"], explained.json()["user_id"], page.status_code) == (user, user, 200)


async def test_an_unknown_user_is_a_problem_document(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/users/nobody")
    assert (answer.status_code, problem(answer)["type"]) == (404, KIND + "unknown-user")


async def test_explaining(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/users/u1/explain?segment=engaged")).json()["answers"][0]["in"] is True
    assert (await client.get("/api/users/u1/explain")).status_code == 200
    unknown = await client.get("/api/users/u1/explain?segment=engagd")
    assert (unknown.status_code, problem(unknown)["detail"]) == (
        404,
        "There is no segment 'engagd'; did you mean \"engaged\"?",
    )
    past = await client.get("/api/users/u1/explain?segment=engaged&at=5")
    assert (past.status_code, "before the user's clock" in problem(past)["detail"]) == (422, True)


async def test_segments_with_sizes_and_traffic(worker: WebDeps, client: httpx.AsyncClient) -> None:
    for seq, what in enumerate(["entered", "exited", "entered"]):
        worker.feed.append(0, seq, change("u1", seq, what, at=NOW - 20_000 + seq))
    page = (await client.get("/api/segments?points=10")).json()
    engaged = page["segments"][0]
    assert (page["total"], page["next"], page["complete"], page["missing"]) == (5, None, True, [])
    assert (engaged["size"], engaged["entered_per_minute"], engaged["exited_per_minute"]) == (1, 2, 1)
    assert engaged["sizes"] == [None] * 9 + [1]
    assert engaged["flap_rate"] == pytest.approx(2 / 3)


async def test_what_was_not_measured_is_null_and_never_worked_out() -> None:
    state = FakeState({"u1": {"engaged": NOW}})
    worker = deps(state)
    now = [NOW]
    worker.clock = lambda: now[0]
    for index, seconds in enumerate((-3_000, -60, -11, -1)):
        worker.feed.append(0, index, change(f"u{index}", 1, at=NOW + seconds * 1_000))
    async with asking(worker) as client:

        async def detail() -> dict[str, Any]:
            await asyncio.sleep(limits.CLUSTER_AGE_SECONDS + 0.05)
            found: dict[str, Any] = (await client.get("/api/segments/engaged?points=4")).json()
            return found

        first = await detail()
        state.users["u2"] = {"engaged": NOW}
        now[0] = NOW + 2 * limits.RATE_BUCKET_MS
        second = await detail()
    assert first["measured_since"] == second["measured_since"] == NOW
    known = [point for point in first["flow"] if point["size"] is not None or point["entered"] is not None]
    assert known == [{"at": NOW, "size": 1, "entered": 0, "exited": 0}], (
        "changes before the first measure are a past that is not known"
    )
    assert [point["size"] for point in second["flow"][-4:]] == [None, 1, None, 2]
    assert [point["entered"] for point in second["flow"][-4:]] == [None, 0, 0, 0]
    assert second["sizes"][-4:] == [None, 1, None, 2]


async def test_totals_are_those_of_everything_whatever_is_asked_for() -> None:
    yoga, shoes = member_key("interested_in", "syoga"), member_key("interested_in", "sshoes")
    worker = deps(FakeState({"u1": {"engaged": 1, yoga: 1, shoes: 1}, "u2": {yoga: 1}, "u3": {}}))
    worker.feed.append(0, 0, change("u1", 1, at=NOW - 1_000))
    worker.feed.append(
        0, 1, change("u2", 1, "moved", None, group="lifecycle", from_="active", to="lapsed", at=NOW - 500)
    )
    expected = {"people_known": 3, "people_in_segments": 2, "memberships": 4, "changes_per_minute": 3}
    async with asking(worker) as client:
        for query in ("", "?limit=1", "?q=lifecycle", "?q=nothing"):
            assert (await client.get(f"/api/segments{query}")).json()["totals"] == expected
        for query in ("", "?q=lifecycle", "?q=nothing"):
            shown = " ".join((await client.get(f"/{query}")).text.split())
            for number, what in ((3, "people known"), (2, "people in segments"), (3, "changes a minute")):
                assert f"<b>{number}</b><span>{what}</span>" in shown


async def test_refused_definitions_are_said_in_the_status(client: httpx.AsyncClient, worker: WebDeps) -> None:
    definitions = load_text("segments:\n  - {name: broken, when: cuont(click) > 3}\n", EngineOptions(), "shop.yaml")
    assert isinstance(worker.state, FakeState)
    worker.state.problems_ = problems_of(definitions)
    status = (await client.get("/api/status")).json()
    (refused,) = status["definitions"]
    assert (refused["kind"], refused["file"], refused["line"], refused["segment"]) == (
        "refused",
        "shop.yaml",
        2,
        "broken",
    )
    assert 'did you mean "count"?' in refused["message"]
    assert "shop.yaml" not in refused["message"], "the place stands apart"
    assert [item["definitions_refused"] for item in status["workers"]] == [1]


async def test_segments_are_paged_and_searched(client: httpx.AsyncClient) -> None:
    first = (await client.get("/api/segments?limit=2")).json()
    second = (await client.get(f"/api/segments?limit=2&cursor={first['next']}")).json()
    assert [item["name"] for item in first["segments"] + second["segments"]] == [
        "engaged",
        "cart_abandoner",
        "interested_in",
        "active",
    ]
    assert [item["name"] for item in (await client.get("/api/segments?q=LIFEcycle")).json()["segments"]] == [
        "active",
        "lapsed",
    ]


async def test_one_segment_with_its_values() -> None:
    keys = [member_key("interested_in", key) for key in ("syoga", "sshoes", "n3")]
    state = FakeState({"u1": dict.fromkeys(keys, NOW), "u2": {keys[0]: NOW}})
    async with asking(deps(state)) as client:
        detail = (await client.get("/api/segments/interested_in")).json()
        missing = await client.get("/api/segments/nope")
    assert (detail["size"], detail["memberships"]) == (2, 4), "people are counted once, memberships by value"
    assert (detail["values"][0], len(detail["values"])) == ({"value": "yoga", "size": 2}, 3)
    assert len(detail["flow"]) == limits.RATE_BUCKETS_MAX
    assert problem(missing)["type"] == KIND + "unknown-segment"


async def test_members_page_by_page() -> None:
    state = FakeState({f"u{n}": {"engaged": NOW - n} for n in range(7)})
    async with asking(deps(state)) as client:
        found, cursor = [], ""
        while cursor is not None:
            page = (await client.get(f"/api/segments/engaged/members?limit=3{cursor}")).json()
            found += [row["user_id"] for row in page["members"]]
            cursor = f"&cursor={page['next']}" if page["next"] else None
        assert found == [f"u{n}" for n in range(7)]
        for bad in ("x", encode_cursor(("a", "b"))[:-2], "W10"):
            assert problem(await client.get(f"/api/segments/engaged/members?cursor={bad}"))["status"] == 422


@pytest.mark.parametrize(
    "path",
    [
        "/api/segments?limit=0",
        "/api/segments?limit=1001",
        "/api/segments?limit=x",
        "/api/segments?points=121",
        "/api/segments/engaged/members?limit=1001",
        "/api/users/u1/explain?at=-1",
        "/api/users/" + "u" * 257,
        "/api/changes?per_second=1001",
    ],
)
async def test_what_is_out_of_bounds_is_refused(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, problem(answer)["type"]) == (422, KIND + "invalid-request")


async def test_unknown_paths_and_methods_are_problem_documents(client: httpx.AsyncClient) -> None:
    assert problem(await client.get("/api/nothing"))["type"] == KIND + "not-found"
    assert problem(await client.get("/static/../../settings.py"))["status"] == 404
    assert problem(await client.get("/static/%2e%2e/api.py"))["status"] == 404
    wrong = await client.post("/api/segments")
    assert (problem(wrong)["type"], wrong.headers["allow"]) == (KIND + "method-not-allowed", "GET")


async def test_a_bug_is_a_500_that_tells_nothing(
    worker: WebDeps, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(worker.state, "sizes", broken)
    answer = await client.get("/api/segments")
    assert (answer.status_code, problem(answer)["type"], "secret" in answer.text) == (500, KIND + "internal", False)


async def test_large_bodies_are_refused_whether_their_length_is_told_or_not(client: httpx.AsyncClient) -> None:
    assert (
        problem(await client.post("/api/segments", content=b"x" * (limits.BODY_BYTES_MAX + 1)))["type"]
        == KIND + "too-large"
    )


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8787", 200),
        ("[::1]:1", 200),
        ("localhost", 200),
        ("shop.internal", 200),
        ("evil.example", 421),
        ("", 421),
    ],
)
async def test_only_our_own_names_are_served(worker: WebDeps, host: str, status: int) -> None:
    async with asking(worker, hosts=("shop.internal",)) as client:
        assert (await client.get("/api/segments", headers={"host": host})).status_code == status


async def test_an_address_has_a_rate(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REQUESTS_BURST_MAX", 5)
    monkeypatch.setattr(limits, "REQUESTS_PER_SECOND_MAX", 1.5)
    answers = [await client.get("/healthz") for _ in range(7)]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert (problem(refused)["type"], refused.headers["retry-after"]) == (KIND + "too-many-requests", "1")
    assert (await client.get("/healthz", headers={"hyperseg-hops": "1"})).status_code == 200


async def test_every_answer_has_the_security_headers(client: httpx.AsyncClient) -> None:
    for path in ("/", "/api/segments", "/nothing", "/static/console.js", "/metrics"):
        headers = (await client.get(path)).headers
        assert {name: headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS


async def test_health_and_readiness() -> None:
    state = FakeState(reasons=["partition 3 is recovering: 400 records left"])
    async with asking(deps(state)) as client:
        unready = await client.get("/readyz")
        assert (unready.status_code, problem(unready)["reasons"]) == (503, state.reasons)
        assert (await client.get("/healthz")).json() == {"ready": False}
        state.reasons = []
        assert (await client.get("/readyz")).json() == {"ready": True}


async def test_metrics_and_status(client: httpx.AsyncClient) -> None:
    await client.get("/api/users/u1")
    await client.get("/api/users/u2")
    text = (await client.get("/metrics")).text
    assert 'hyperseg_http_requests_total{route="/api/users/{user_id}",status="200"} 1.0' in text
    assert 'hyperseg_http_requests_total{route="/api/users/{user_id}",status="404"} 1.0' in text
    status = (await client.get("/api/status")).json()
    assert (status["bind"], "only this machine" in status["note"], [w["worker"] for w in status["workers"]]) == (
        "127.0.0.1",
        True,
        ["worker-1"],
    )


def test_who_can_reach_it_is_said_as_it_is() -> None:
    assert "only this machine" in bind_note("127.0.0.1")
    assert "only this machine" in bind_note("localhost")
    for host in ("0.0.0.0", "192.0.2.7", "::"):
        assert "everybody who reaches" in bind_note(host)


async def test_openapi_is_3_1_and_names_every_route(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert {"/api/users/{user_id}", "/api/changes", "/api/segments/{name}/members", "/readyz"} <= set(document["paths"])
    shapes = document["components"]["schemas"]
    assert {"UserView", "Explanation", "Part", "Fact", "SegmentDetail", "ProblemDocument"} <= set(shapes)
    assert "in" in shapes["Verdict"]["required"], "as in the JSON, not as in Python"
    user = document["paths"]["/api/users/{user_id}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert user == {"$ref": "#/components/schemas/UserView"}
    references = set(re.findall(r"#/components/schemas/(\w+)", orjson.dumps(document).decode()))
    assert references <= set(shapes), "every shape that is named is there"


async def test_a_user_between_two_workers_is_a_503() -> None:
    state = FakeState({"u1": {}})
    state.foreign = {"u1"}
    async with asking(deps(state, FakeCluster(nobody=["u1"]))) as client:
        answer = await client.get("/api/users/u1")
        page = await client.get("/users/u1")
    assert (answer.status_code, problem(answer)["type"], answer.headers["retry-after"]) == (503, KIND + "no-owner", "1")
    assert (page.status_code, "between two workers" in page.text) == (503, True)


async def test_the_partition_that_leaves_while_it_is_asked_is_a_503(
    worker: WebDeps, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def left(user: str) -> None:
        raise LookupError(user)

    monkeypatch.setattr(worker.state, "describe", left)
    assert problem(await client.get("/api/users/u1"))["type"] == KIND + "no-owner"


def test_a_cursor_is_opaque_and_safe_in_urls() -> None:
    assert set(encode_cursor((member_key("s", "sé?&"), "u/ +"))) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )
    assert orjson.loads(change())["definition"]["name"] == "engaged"
