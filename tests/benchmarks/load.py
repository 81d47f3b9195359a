"""The reference load: shop events of about 250 bytes over three topics, made by a seed, users as
busy as a power law makes them.

Of 100,000 users and a million events the busiest has some hundreds of events, the middle one seven.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from confluent_kafka import Producer

TOPICS = {"click": "clicks", "cart": "carts", "purchase": "purchases"}
_PAGES = ("product", "home", "search", "category", "checkout")
_DEVICES = ("mobile", "desktop", "tablet")
_COUNTRIES = ("NO", "SE", "DK", "DE", "FR")


@dataclass(frozen=True, slots=True)
class Load:
    """How much of it. `step_ms` of event time lies between two events; the first is at
    `start_ms`."""

    events: int
    users: int = 100_000
    seed: int = 11
    start_ms: int = 1_760_000_000_000
    step_ms: int = 40


def events(load: Load) -> Iterator[dict[str, Any]]:
    """The events in the order of time, each with its `type`."""
    rnd = random.Random(load.seed)
    for number in range(load.events):
        user = int(load.users * rnd.random() ** 1.5)
        price = round(rnd.uniform(5, 200), 2)
        event: dict[str, Any] = {
            "event_id": f"e{number:09d}",
            "user_id": f"u{user:07d}",
            "ts": load.start_ms + number * load.step_ms,
            "session_id": f"s{user}-{number // 50_000}",
            "product_id": f"p{rnd.randrange(20_000):05d}",
            "category": f"c{rnd.randrange(60):02d}",
            "price": price,
            "device": rnd.choice(_DEVICES),
            "country": rnd.choice(_COUNTRIES),
        }
        event |= _kind(rnd, number, price)
        yield event


def _kind(rnd: random.Random, number: int, price: float) -> dict[str, Any]:
    draw = rnd.random()
    if draw < 0.85:
        return {"type": "click", "action": "view", "page": rnd.choice(_PAGES)}
    if draw < 0.96:
        return {"type": "cart", "action": "add", "quantity": 1}
    return {"type": "purchase", "action": "order", "amount": price, "order_id": f"o{number}"}


def fill(bootstrap: str, load: Load, prefix: str = "", codec: str = "lz4") -> int:
    """Produces the load into `prefix`clicks, carts and purchases, keyed as Java producers would;
    gives the number of bytes of JSON."""
    producer = Producer({
        "bootstrap.servers": bootstrap,
        "queue.buffering.max.messages": 1_000_000,
        "linger.ms": 50,
        "batch.size": 500_000,
        "compression.type": codec,
        "partitioner": "murmur2_random",
    })  # fmt: skip
    size = 0
    for number, event in enumerate(events(load)):
        raw = orjson.dumps(event)
        size += len(raw)
        producer.produce(prefix + TOPICS[event["type"]], raw, key=event["user_id"])
        if number % 5_000 == 0:
            producer.poll(0)
    assert producer.flush(120) == 0
    return size
