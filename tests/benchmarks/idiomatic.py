"""The same five segments as a Faust user would write them: one agent, one RocksDB table, a dict for
each user.

    python -m tests.benchmarks.idiomatic    (BENCH_BOOTSTRAP, BENCH_PREFIX, BENCH_APP,
    BENCH_DATA and BENCH_EVENTS in the environment)

It prints `n seconds cpu_seconds` now and then and ends itself after BENCH_EVENTS events. At least
once; a segment is left only when another event comes.
"""

from __future__ import annotations

import os
import time
from typing import Any

import faust

DAY = 86_400_000
MINUTE = 60_000


def new_user() -> dict[str, Any]:
    return {
        "clicks": [],
        "carts": [],
        "categories": {},
        "spend": [],
        "purchases": 0,
        "cart_at": 0,
        "purchase_at": 0,
        "intent_at": 0,
        "in": [],
    }


def evaluate(user: dict[str, Any], event: dict[str, Any]) -> list[tuple[str, bool]]:
    """Updates the user's windows with the event; gives (segment, entered) for what changed."""
    ts = event["ts"]
    _remember(user, event, ts)
    _prune(user, ts)
    now = _segments(user, ts)
    before, user["in"] = user["in"], now
    return [(name, True) for name in now if name not in before] + [(name, False) for name in before if name not in now]


def _remember(user: dict[str, Any], event: dict[str, Any], ts: int) -> None:
    if event["type"] == "click":
        user["clicks"].append(ts)
        user["categories"].setdefault(event["category"], []).append(ts)
        if event["page"] == "checkout" and 0 < user["cart_at"] <= ts <= user["cart_at"] + 10 * MINUTE:
            user["intent_at"] = ts
    elif event["type"] == "cart":
        user["carts"].append(ts)
        user["cart_at"] = ts
    else:
        user["purchases"] += 1
        user["purchase_at"] = ts
        user["spend"].append([ts, event["amount"]])


def _prune(user: dict[str, Any], ts: int) -> None:
    week, quarter = ts - 7 * DAY, ts - 90 * DAY
    for stamps in (user["clicks"], user["carts"], *user["categories"].values()):
        while stamps and stamps[0] <= week:
            stamps.pop(0)
    user["categories"] = {name: stamps for name, stamps in user["categories"].items() if stamps}
    while user["spend"] and user["spend"][0][0] <= quarter:
        user["spend"].pop(0)


def _segments(user: dict[str, Any], ts: int) -> list[str]:
    found = []
    if user["intent_at"] and ts - user["intent_at"] < 30 * MINUTE:
        found.append("high_intent")
    if not user["purchases"]:
        found += [f"interested:{name}" for name, stamps in user["categories"].items() if len(stamps) > 3]
    if 3 * len(user["carts"]) + len(user["clicks"]) >= 20:
        found.append("engaged")
    if sum(amount for _, amount in user["spend"]) >= 500:
        found.append("loyal")
    if user["cart_at"] > user["purchase_at"] and ts - user["cart_at"] >= DAY:
        found.append("abandoner")
    return found


def build() -> faust.App:
    env = os.environ
    app = faust.App(
        env["BENCH_APP"],
        broker=f"kafka://{env['BENCH_BOOTSTRAP']}",
        store="rocksdb://",
        datadir=env["BENCH_DATA"],
        value_serializer="json",
        topic_partitions=4,
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
        worker_redirect_stdouts=False,
    )
    prefix, wanted = env["BENCH_PREFIX"], int(env["BENCH_EVENTS"])
    source = app.topic(
        *(prefix + name for name in ("clicks", "carts", "purchases")), value_serializer="json", key_serializer="raw"
    )
    changes = app.topic(f"{env['BENCH_APP']}-changes", value_serializer="json")
    users = app.Table("users", default=new_user)

    @app.agent(source)
    async def segment(stream: Any) -> None:
        count = 0
        async for event in stream:
            user = users[event["user_id"]]
            for name, entered in evaluate(user, event):
                change = "entered" if entered else "exited"
                await changes.send(
                    key=event["user_id"],
                    value={"user_id": event["user_id"], "segment": name, "change": change, "at": event["ts"]},
                )
            users[event["user_id"]] = user
            count += 1
            if count % 1_000 == 0 or count == wanted:
                print(count, time.time(), time.process_time(), flush=True)
            if count == wanted:
                os._exit(0)

    return app


if __name__ == "__main__":
    app = build()
    faust.Worker(app, loglevel="warn").execute_from_commandline()
