"""Worker processes for tests: the installed command line, each with its own data directory and
HTTP port, its log in a file."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

from app.broker.topics import Shape, Topic, ensure_topics
from app.offline.eventfiles import read_lines
from tests.support.kafka import consume, fresh, produce

ROOT = Path(__file__).resolve().parents[2]
TOPICS = {"click": "clicks", "cart": "carts", "purchase": "purchases", "profile": "profiles"}


@dataclass
class Cluster:
    """Workers of one application on one broker, its topics behind a prefix of their own."""

    bootstrap: str
    folder: Path
    segments: Path = ROOT / "segments"
    settings: Mapping[str, Any] = field(default_factory=dict)
    name: str = field(default_factory=lambda: fresh("app"))

    def __post_init__(self) -> None:
        self.running: list[Process] = []

    @property
    def prefix(self) -> str:
        return f"{self.name}-"

    def topic(self, name: str) -> str:
        return self.prefix + name

    async def create_topics(self, partitions: int = 4) -> None:
        names = [*TOPICS.values(), "segment-changes"]
        await ensure_topics(self.bootstrap, [Topic(self.topic(name)) for name in names], Shape(partitions))

    async def load(self, path: Path) -> None:
        """Produces a shop log, sorted by time, into its topics, which are created."""
        await self.create_topics()
        by_topic: dict[str, list[tuple[bytes, bytes]]] = {}
        for event in sorted_events(path):
            by_topic.setdefault(TOPICS[event["type"]], []).append((event["user_id"].encode(), orjson.dumps(event)))
        for topic, records in by_topic.items():
            await produce(self.bootstrap, self.topic(topic), records)

    def start(self, data: str = "a", **settings: Any) -> Process:
        """A worker on the data directory named `data`."""
        port = _free_port()
        values = {
            "topic_prefix": self.prefix,
            "session_timeout": "6s",
            "heartbeat_interval": "1s",
            **self.settings,
            **settings,
        }
        command = [
            sys.executable, "-m", "app.cli", "worker", "--broker", f"kafka://{self.bootstrap}", "--app-id", self.name,
            "--segments", str(self.segments), "--data-dir", str(self.folder / data), "--web-port", str(port),
        ]  # fmt: skip
        command += [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
        process = Process(command, self.folder / f"worker-{data}.log", f"http://127.0.0.1:{port}")
        self.running.append(process)
        return process

    async def changes(self) -> list[dict[str, Any]]:
        """All committed changes, partition by partition in the order of the log."""
        return [orjson.loads(record.value) for record in await consume(self.bootstrap, self.topic("segment-changes"))]

    async def has_changes(self, count: int) -> bool:
        """Whether so many changes are committed."""
        return len(await self.changes()) >= count

    async def quiet(self, seconds: float = 4.0, timeout_s: float = 90.0) -> list[dict[str, Any]]:
        """The changes once every worker is ready and no more have come for a while."""
        deadline = time.monotonic() + timeout_s
        before = -1
        while time.monotonic() < deadline:
            found = await self.changes()
            if len(found) == before and await self.ready():
                return found
            before = len(found)
            await asyncio.sleep(seconds)
        raise AssertionError(f"not quiet in time\n{self.logs()}")

    async def ready(self) -> bool:
        """Whether some worker runs and all that run are ready."""
        alive = [process for process in self.running if process.alive]
        return bool(alive) and all([await process.ready() for process in alive])

    async def until_ready(self, timeout_s: float = 60.0) -> None:
        await until(self.ready, timeout_s, self.logs)

    def logs(self) -> str:
        """The ends of the logs of all workers, for a test that fails."""
        return "\n".join(f"{process.url}\n{process.log()[-3_000:]}" for process in self.running)

    def stop(self) -> None:
        for process in self.running:
            process.kill()


class Process:
    """One worker process."""

    def __init__(self, command: Sequence[str], log: Path, url: str) -> None:
        self._log = log
        self.url = url
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=file, cwd=ROOT, start_new_session=True)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """kill -9."""
        if self.alive:
            self._process.kill()
        self._process.wait(10)

    def signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def terminate(self, timeout_s: float = 30.0) -> int:
        """SIGTERM; gives the exit code."""
        self.signal(signal.SIGTERM)
        return self._process.wait(timeout_s)

    def wait(self, timeout_s: float = 30.0) -> int:
        return self._process.wait(timeout_s)

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url, timeout=5) as client:
            return await client.get(path)

    async def ready(self) -> bool:
        try:
            return (await self.get("/readyz")).status_code == 200
        except httpx.HTTPError:
            return False


@contextmanager
def cluster(bootstrap: str, folder: Path, **settings: Any) -> Iterator[Cluster]:
    """A cluster without workers yet; those that were started are gone afterwards."""
    made = Cluster(bootstrap, folder, settings=settings)
    try:
        yield made
    finally:
        made.stop()


async def until(condition: Callable[[], Any], timeout_s: float = 30.0, why: Callable[[], str] = lambda: "") -> None:
    """Waits for an async (or plain) condition."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = condition()
        if await found if asyncio.iscoroutine(found) else found:
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"not in time: {why()}")


def sorted_events(path: Path) -> list[dict[str, Any]]:
    """The events of a file in the order of time, as a shop would have sent them."""
    return sorted((orjson.loads(line) for line in read_lines(path)), key=lambda event: event["ts"])


def replayed(events: Path, segments: Path, out: Path, until_ms: int) -> dict[str, dict[str, Any]]:
    """Change id → change, as `hyperseg replay` gives them."""
    command = [
        sys.executable, "-m", "app.cli", "replay", str(events), "--segments", str(segments), "--until",
        str(until_ms), "--out", str(out),
    ]  # fmt: skip
    subprocess.run(command, check=True, cwd=ROOT, timeout=120, capture_output=True)
    changes = [orjson.loads(line) for line in out.read_bytes().splitlines()]
    return {change["change_id"]: _timeless(change) for change in changes}


def by_id(changes: Sequence[dict[str, Any]], until_ms: int) -> dict[str, dict[str, Any]]:
    """Change id → change, for those up to an instant; fails when an id appears twice."""
    found: dict[str, dict[str, Any]] = {}
    for change in changes:
        assert change["change_id"] not in found, f"twice: {change}"
        if change["at"] <= until_ms:
            found[change["change_id"]] = _timeless(change)
    return found


def assert_same(got: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Compares changes id by id and says which differ, not all."""
    lacking = [expected[key] for key in expected.keys() - got.keys()][:3]
    extra = [got[key] for key in got.keys() - expected.keys()][:3]
    differing = [(got[key], expected[key]) for key in got.keys() & expected.keys() if got[key] != expected[key]][:3]
    assert (lacking, extra, differing) == ([], [], []), f"{len(got)} of {len(expected)}"


def _timeless(change: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in change.items() if key != "emitted_at"}


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
