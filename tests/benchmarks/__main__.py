"""`make bench`: this engine against an idiomatic Faust agent, on a real broker, round by round.

Machines are noisy by a factor of two: the systems take turns, and what counts is the ratio of the
medians.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
from pathlib import Path
from statistics import median

from app.broker import jars
from app.broker.local import LocalKafka
from app.broker.topics import Shape, Topic, ensure_topics
from tests.benchmarks import latency, replaying
from tests.benchmarks.load import TOPICS, Load, fill
from tests.benchmarks.measure import OurWorker, Run, idiomatic, ours

CACHE = Path("~/.cache/hyperseg").expanduser()
REAL_LOG = Path(__file__).resolve().parents[3] / "shared" / "data" / "online_retail.jsonl.gz"


def main() -> None:
    wanted = _arguments()
    if wanted.log.exists():
        _replays(wanted.log, wanted.rounds)
    else:
        print(f"no log at {wanted.log}: replay is not measured")
    if wanted.replay_only:
        return
    folder = Path(tempfile.mkdtemp(prefix="hyperseg-bench-"))
    jars.fetch(CACHE)
    kafka = LocalKafka(folder / "kafka", CACHE).start()
    try:
        _run(kafka.bootstrap, folder, wanted)
    finally:
        kafka.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--events", type=int, default=400_000, help="events our worker does in a round")
    parser.add_argument("--theirs", type=int, default=25_000, help="events the idiomatic agent does in a round")
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--rate", type=int, default=1_000, help="events a second while latency is measured; 0: not at all"
    )
    parser.add_argument("--log", type=Path, default=REAL_LOG, help="event file for the cost of a replayed event")
    parser.add_argument("--replay-only", action="store_true", help="measure replay alone; no broker is needed")
    return parser.parse_args()


def _replays(log: Path, rounds: int) -> None:
    """What an event costs with 10 and with 100 segments, beside a plain loop that decodes and sorts
    the same file."""
    found = list(replaying.measure(log, rounds))
    for costs in found:
        print(*costs, sep="\n", flush=True)
    plain, ten, narrow, mixed = (median(cost.us for cost in costs) for costs in zip(*found, strict=True))
    print(
        f"medians: 10 segments {ten / plain:.2f} times the plain loop; 10 and 90 narrow ones "
        f"{narrow / ten:.2f} times 10 segments;"
    )
    print(f"         100 of which ten are broad {mixed / ten:.2f} times 10 segments of which one is")


def _run(bootstrap: str, folder: Path, wanted: argparse.Namespace) -> None:
    prefix = "bench-"
    names = [*TOPICS.values(), "profiles"]
    asyncio.run(ensure_topics(bootstrap, [Topic(prefix + name) for name in names], Shape(4)))
    size = fill(bootstrap, Load(wanted.events, wanted.users), prefix)
    print(
        f"{wanted.events:,} events of {size / wanted.events:.0f} bytes, {wanted.users:,} users, 3 topics of "
        "4 partitions, lz4"
    )
    rounds: list[tuple[Run, Run]] = []
    for number in range(wanted.rounds):
        asyncio.run(ensure_topics(bootstrap, [Topic(f"idiomatic-{number}-changes", together=False)], Shape(4)))
        theirs = idiomatic(bootstrap, prefix, number, folder, wanted.theirs)
        _tell("idiomatic Faust", theirs)
        own = ours(bootstrap, prefix, number, folder, wanted.events)
        _tell("hyperseg", own)
        rounds.append((theirs, own))
    ratio = median(own.events_per_s for _, own in rounds) / median(theirs.events_per_s for theirs, _ in rounds)
    cpu = median(theirs.cpu_us for theirs, _ in rounds) / median(own.cpu_us for _, own in rounds)
    print(f"ratio of medians: {ratio:.1f} times the events/s, {cpu:.1f} times the events per CPU second")
    if wanted.rate:
        _latency(bootstrap, folder, wanted.rate)


def _tell(name: str, run: Run) -> None:
    commit = (
        f"  commit p50 {run.commit_p50_ms:.0f} ms, p99 {run.commit_p99_ms:.0f} ms"
        if run.commit_p50_ms and run.commit_p99_ms
        else ""
    )
    print(f"{name:<16} {run.events_per_s:>8,.0f} events/s  {run.cpu_us:>6.1f} µs CPU/event{commit}", flush=True)


def _latency(bootstrap: str, folder: Path, rate: int) -> None:
    prefix = "latency-"
    asyncio.run(ensure_topics(bootstrap, [Topic(prefix + name) for name in (*TOPICS.values(), "profiles")], Shape(4)))
    with OurWorker(bootstrap, prefix, 9_999, folder, {"clock": "wall"}) as worker:
        worker.until_ready()
        found = asyncio.run(latency.measure(bootstrap, prefix, worker.changes, rate, seconds=15))
    print(
        f"append to change at {rate:,} events/s: p50 {found.p50_ms:.0f} ms, p99 {found.p99_ms:.0f} ms "
        f"({found.count:,} changes)"
    )


if __name__ == "__main__":
    main()
