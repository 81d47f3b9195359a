"""Several workers: any of them answers for every user, sizes and members are summed."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from app.web import limits
from app.web.application import build_app
from tests.web.conftest import Between
from tests.web.fakes import NOW, FakeCluster, FakeState, deps
from tests.web.test_web_api import KIND, problem

A, B, C = "http://10.0.0.1:1", "http://10.0.0.2:2", "http://10.0.0.3:3"


class Cluster:
    """Workers A and B; `owners` says to each whom it thinks the others have."""

    def __init__(self, states: dict[str, FakeState], owners: dict[str, dict[str, str]] | None = None) -> None:
        self.between = Between()
        self.states = states
        for base, state in states.items():
            known = (owners or {}).get(base, {})
            state.foreign |= set(known)
            cluster = FakeCluster(known, [other for other in states if other != base])
            self.between.apps[base] = build_app(deps(state, cluster), transport=self.between)

    def client(self, base: str = A) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.between.apps[base]), base_url=base)


def two() -> Cluster:
    """u1 is on A, u2 on B, and both know it."""
    states = {
        A: FakeState({"u1": {"engaged": 1, "active": 1}}),
        B: FakeState({"u2": {"engaged": 2}, "u/3": {"engaged": 3}}),
    }
    for number, state in enumerate(states.values()):
        state.counted, state.partitions = [number], 2
    return Cluster(states, {A: {"u2": B, "u/3": B, "ghost": B}, B: {"u1": A}})


async def test_any_worker_answers_for_every_user() -> None:
    cluster = two()
    for base in (A, B):
        async with cluster.client(base) as client:
            for user in ("u1", "u2", "u%2F3"):
                assert (await client.get(f"/api/users/{user}")).status_code == 200
            assert (await client.get("/api/users/u2/explain?segment=engaged&at=" + str(NOW))).json()["at"] == NOW
            assert ("u2" in (await client.get("/users/u2")).text) is True
    assert (B, "/api/users/u%2F3", 1) in cluster.between.seen
    assert (B, f"/api/users/u2/explain?segment=engaged&at={NOW}", 1) in cluster.between.seen


async def test_the_owners_problem_is_the_answer() -> None:
    async with two().client() as client:
        answer = await client.get("/api/users/ghost")
    assert (answer.status_code, problem(answer)["type"]) == (404, KIND + "unknown-user")


async def test_workers_that_send_a_user_in_circles_are_found_out() -> None:
    cluster = Cluster({A: FakeState(), B: FakeState()}, {A: {"u": B}, B: {"u": A}})
    async with cluster.client() as client:
        answer = await client.get("/api/users/u")
    assert (answer.status_code, problem(answer)["type"]) == (508, KIND + "loop")
    assert [hops for _, _, hops in cluster.between.seen] == [1, 2]


@pytest.mark.parametrize("hops", ["x", "99", "-1", "1e9", "²"])
async def test_a_forged_hop_count_ends_the_journey(hops: str) -> None:
    cluster = two()
    async with cluster.client() as client:
        answer = await client.get("/api/users/u2", headers={"hyperseg-hops": hops.encode()})  # type: ignore[dict-item]
    assert (answer.status_code, cluster.between.seen) == (508, [])


async def test_a_dead_owner_is_a_502_and_a_stuck_one_a_504(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FORWARD_SECONDS_MAX", 0.05)
    cluster = two()
    async with cluster.client() as client:
        cluster.between.gone = {B}
        dead = await client.get("/api/users/u2")
        cluster.between.gone, cluster.between.stuck = set(), {B}
        stuck = await client.get("/api/users/u2")
        page = await client.get("/users/u2")
    assert (dead.status_code, problem(dead)["type"]) == (502, KIND + "worker-unreachable")
    assert (stuck.status_code, problem(stuck)["type"]) == (504, KIND + "worker-unreachable")
    assert (page.status_code, page.headers["content-type"]) == (504, "text/html; charset=utf-8")


async def test_sizes_are_summed_over_all_workers() -> None:
    cluster = two()
    async with cluster.client() as client:
        page = (await client.get("/api/segments")).json()
        local = (await client.get("/api/sizes?local=1")).json()
    assert [(item["name"], item["size"]) for item in page["segments"] if item["size"]] == [
        ("engaged", 3),
        ("active", 1),
    ]
    assert (local["sizes"], page["complete"]) == ({"engaged": 1, "active": 1}, True)
    assert (local["people"], local["in_segments"], local["known"]) == ({"engaged": 1, "active": 1}, 1, 1)
    assert page["totals"] == {"people_known": 3, "people_in_segments": 3, "memberships": 4, "changes_per_minute": 0}


async def test_a_worker_that_does_not_answer_makes_sizes_incomplete_not_wrong_in_silence() -> None:
    cluster = two()
    cluster.between.gone = {B}
    async with cluster.client() as client:
        page = (await client.get("/api/segments")).json()
        shown = (await client.get("/")).text
        status = (await client.get("/api/status")).json()
    assert (page["segments"][0]["size"], page["complete"], page["missing"]) == (1, False, [B])
    assert "Of 2 workers 1 answers: all numbers are too small for now." in shown
    assert (status["missing"], len(status["workers"])) == ([B], 1)


@pytest.mark.parametrize(
    "path", ["/", "/segments/engaged", "/users/u1", "/users/nobody", "/users/u2", "/segments/nope", "/workers"]
)
async def test_a_worker_that_does_not_answer_is_said_on_every_page(path: str) -> None:
    cluster = two()
    async with cluster.client() as client:
        assert "Of 2 workers" not in (await client.get(path)).text
        cluster.between.gone = {B}
        await asyncio.sleep(limits.CLUSTER_AGE_SECONDS + 0.05)
        shown = (await client.get(path)).text
    assert f"No answer from {B}" in shown
    assert "data-partial" in shown


async def test_a_partition_that_nobody_has_counted_is_said() -> None:
    cluster = two()
    for base, counted in ((A, [0, 2]), (B, [3])):
        cluster.states[base].counted, cluster.states[base].partitions = counted, 4
    async with cluster.client() as client:
        page = (await client.get("/api/segments")).json()
        shown = (await client.get("/segments/engaged")).text
        detail = (await client.get("/api/segments/engaged")).json()
    assert (page["complete"], page["missing"], page["partitions_missing"]) == (False, [], [1])
    assert "Of 4 partitions 3 are counted" in shown
    assert (detail["measured_since"], detail["sizes"][-1]) == (None, None), "what is too small is not drawn"


async def test_a_partition_that_two_workers_have_counted_is_said() -> None:
    cluster = two()
    for base, counted in ((A, [0, 1, 2]), (B, [1, 3])):
        cluster.states[base].counted, cluster.states[base].partitions = counted, 4
    async with cluster.client() as client:
        page = (await client.get("/api/segments")).json()
        shown = (await client.get("/segments/engaged")).text
        detail = (await client.get("/api/segments/engaged")).json()
    assert (page["complete"], page["partitions_missing"], page["partitions_doubled"]) == (False, [], [1])
    assert "Partition 1 moved while the workers were asked and was counted twice" in shown
    assert (detail["measured_since"], detail["sizes"][-1]) == (None, None), "what is too large is not drawn"


async def test_a_worker_of_another_version_counts_as_missing() -> None:
    cluster = two()

    async def old(scope: Scope, receive: Receive, send: Send) -> None:
        await JSONResponse({"sizes": {"engaged": 2}, "complete": True, "missing": []})(scope, receive, send)

    cluster.between.apps[B] = old
    async with cluster.client() as client:
        assert (await client.get("/api/segments")).json()["missing"] == [B]


async def test_a_stuck_worker_holds_up_no_page() -> None:
    cluster = two()
    async with cluster.client() as client:
        await client.get("/segments/engaged")
        cluster.between.stuck = {B}
        await asyncio.sleep(limits.CLUSTER_AGE_SECONDS + 0.05)
        began = asyncio.get_running_loop().time()
        await client.get("/workers")
        assert asyncio.get_running_loop().time() - began < 1.5, "what was known a moment ago is shown while it is asked"
        await asyncio.sleep(limits.FANOUT_SECONDS_MAX)
        assert f"No answer from {B}" in (await client.get("/workers")).text


async def test_events_are_in_up_to_the_worker_that_is_farthest_behind() -> None:
    cluster = two()
    cluster.states[B].watermark = NOW - 90_000
    async with cluster.client() as client:
        shown = (await client.get("/users/u1")).text
        assert f'data-late data-watermark="{NOW - 90_000}"' in shown
        cluster.states[B].watermark = NOW - 1_000
        await asyncio.sleep(limits.CLUSTER_AGE_SECONDS + 0.05)
        shown = (await client.get("/users/u1")).text
    assert (f'data-watermark="{NOW - 1_000}"' in shown, "data-late" in shown) == (True, False)


async def test_members_are_merged_in_one_order() -> None:
    states = {
        base: FakeState({f"u{n:02}": {"engaged": n} for n in range(20) if n % 3 == index})
        for index, base in enumerate((A, B, C))
    }
    cluster = Cluster(states)
    async with cluster.client(B) as client:
        found, cursor = [], ""
        while cursor is not None:
            page = (await client.get(f"/api/segments/engaged/members?limit=6{cursor}")).json()
            found += [(row["user_id"], row["since"]) for row in page["members"]]
            cursor = f"&cursor={page['next']}" if page["next"] else None
    assert found == [(f"u{n:02}", n) for n in range(20)]


async def test_many_consoles_ask_the_peers_once() -> None:
    cluster = two()
    async with cluster.client() as client:
        for _ in range(5):
            await client.get("/api/segments")
    assert [path.split("?")[0] for _, path, _ in cluster.between.seen] == ["/api/sizes"]
