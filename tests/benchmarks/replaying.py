"""What a replayed event costs with 10 and with 100 segments, beside a plain loop that only decodes
and sorts the same file.

Of ten segments one is broad (every order concerns it) and nine are narrow (one product, one
country). They grow to a hundred in two ways: by 90 narrow ones, which is how segments grow in
practice, and tenfold in every kind, so that ten broad ones, each with a window of its own, concern
every order. An event should pay for what it touches.
"""

from __future__ import annotations

import gc
import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from app.domain.options import EngineOptions
from app.offline.eventfiles import read_lines
from app.offline.log import Log, read_log
from app.offline.replay import replay
from app.rules.definitions import load_text
from app.rules.plan import compile_plan

_COUNTRIES = ("Germany", "France", "EIRE", "Spain", "Netherlands", "Belgium", "Switzerland", "Portugal", "Australia")


@dataclass(frozen=True)
class Cost:
    """CPU seconds over a file, and the changes it made."""

    name: str
    events: int
    cpu_s: float
    changes: int = 0

    @property
    def us(self) -> float:
        """Microseconds of CPU an event."""
        return self.cpu_s / self.events * 1e6

    def __str__(self) -> str:
        return (
            f"{self.name:32} {1e6 / self.us:>10,.0f} events/s {self.us:8.1f} µs of CPU an event "
            f"{self.changes:>9,} changes"
        )


def decode_and_sort(file: Path) -> Cost:
    """The plain loop."""
    gc.disable()
    start = time.process_time()
    events = [json.loads(line) for line in read_lines(file)]
    events.sort(key=lambda event: event["ts"])
    spent = time.process_time() - start
    gc.enable()
    return Cost("decode and sort, plain Python", len(events), spent)


def products(log: Log, most: int) -> list[str]:
    """The products most often bought."""
    counts = Counter(str(event.fields.get("product_id")) for events in log.users.values() for event in events)
    return [name for name, _ in counts.most_common(most)]


def definitions(count: int, broad: int, names: list[str]) -> str:
    """`count` segments as YAML, of which the first of each of the first `broad` tens is broad."""
    return json.dumps({"segments": [_segment(i, broad, names) for i in range(count)]})


def _segment(i: int, broad_tens: int, names: list[str]) -> dict[str, str]:
    tens, kind = divmod(i, 10)
    if kind == 0 and tens < broad_tens:
        days = 30 + 7 * tens
        broad = (
            f"count(purchase, last {days}d) >= {5 + tens}",
            f"sum(purchase.amount, last {days}d) >= {200 + 100 * tens}",
            f"days(purchase, last {days}d) >= {2 + tens % 3}",
            f"since(purchase) > {days}d",
            f"distinct(purchase.product_id, last {days}d) >= {10 + tens}",
        )[tens % 5]
        return {"name": f"broad_{i}", "when": broad}
    if kind < 7:
        product = names[i % len(names)]
        return {
            "name": f"product_{i}",
            "when": f'count(purchase[product_id == "{product}" and quantity > 0], last {60 + kind}d) >= 2',
        }
    country = _COUNTRIES[i % len(_COUNTRIES)]
    return {
        "name": f"country_{i}",
        "when": f'sum(purchase[country == "{country}"].amount, last {30 + tens}d) >= {100 * kind}',
    }


def replayed(count: int, broad: int, log: Log, names: list[str], options: EngineOptions) -> Cost:
    """The log under `count` segments, `broad` of them broad; reading is not part of it."""
    plan = compile_plan(load_text(definitions(count, broad, names), options), options)
    start = time.process_time()
    result = replay(plan, options, log)
    return Cost(f"replay, {count} segments, {broad} broad", log.count, time.process_time() - start, len(result.changes))


def measure(file: Path, rounds: int) -> Iterable[tuple[Cost, Cost, Cost, Cost]]:
    """(plain loop, 10 segments, 100 by narrow growth, 100 by tenfold growth), alternating, one row
    a round."""
    options = EngineOptions()
    log = read_log([str(file)], options.streams)
    names = products(log, 60)
    for _ in range(rounds):
        yield (
            decode_and_sort(file),
            replayed(10, 1, log, names, options),
            replayed(100, 1, log, names, options),
            replayed(100, 10, log, names, options),
        )
