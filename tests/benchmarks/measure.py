"""Runs one system over the filled topics and measures it from the outside."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
SEGMENTS = Path(__file__).with_name("segments")
WARM = 0.15  # the first part is start-up: connections, first fetches, an empty cache
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sample:
    """Events done, wall-clock and CPU seconds at one moment."""

    events: int
    at: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run; commit times in milliseconds, None where the system has none."""

    events_per_s: float
    cpu_us: float
    commit_p50_ms: float | None = None
    commit_p99_ms: float | None = None


def between(samples: list[Sample]) -> tuple[float, float]:
    """(events/s, CPU µs an event) from the end of the warm-up to the last sample that brought
    something new."""
    last = next(i for i, s in enumerate(samples) if s.events == samples[-1].events)
    samples = samples[: last + 1]
    warm = next(s for s in samples if s.events >= WARM * samples[-1].events)
    done = samples[-1].events - warm.events
    return done / (samples[-1].at - warm.at), (samples[-1].cpu - warm.cpu) / done * 1e6


def idiomatic(bootstrap: str, prefix: str, number: int, folder: Path, events: int) -> Run:
    """The Faust agent of `idiomatic.py` over the first `events` events it gets."""
    env = os.environ | {
        "BENCH_BOOTSTRAP": bootstrap, "BENCH_PREFIX": prefix, "BENCH_APP": f"idiomatic-{number}",
        "BENCH_DATA": str(folder / f"idiomatic-{number}"), "BENCH_EVENTS": str(events),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.idiomatic"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    samples = []
    for line in done.stdout.splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[0].isdigit():
            samples.append(Sample(int(parts[0]), float(parts[1]), float(parts[2])))
    if not samples or samples[-1].events < events:
        raise RuntimeError(f"the idiomatic agent did not end: {done.stderr[-2000:]}")
    return Run(*between(samples))


class OurWorker:
    """One `hyperseg worker` process on topics that exist; use as a context."""

    def __init__(
        self, bootstrap: str, prefix: str, number: int, folder: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        self.url = f"http://127.0.0.1:{_free_port()}"
        self.changes = f"changes-{number}"
        values = {
            **{f"{name}_topic": prefix + name for name in ("clicks", "carts", "purchases", "profiles")},
            "changes_topic": self.changes,
            "clock": "events",
            "log_level": "warning",
            **(settings or {}),
        }
        command = [
            sys.executable, "-m", "app.cli", "worker", "--broker", f"kafka://{bootstrap}", "--app-id", f"ours-{number}",
            "--segments", str(SEGMENTS), "--data-dir", str(folder / f"ours-{number}"),
            "--web-port", self.url.rsplit(":", 1)[1],
        ]  # fmt: skip
        command += [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
        self._process = subprocess.Popen(command, cwd=ROOT)
        self._http = httpx.Client(base_url=self.url, timeout=5)

    def __enter__(self) -> OurWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        self._process.terminate()
        self._process.wait(30)

    def until_ready(self) -> None:
        """Waits until it takes events."""
        deadline = time.time() + 60
        while time.time() < deadline:
            try:
                if self._http.get("/readyz").status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        raise RuntimeError("the worker was not ready in time")

    def sample(self) -> Sample:
        """Now; zero events while it does not answer yet."""
        if self._process.poll() is not None:
            raise RuntimeError(f"the worker ended with {self._process.returncode}")
        try:
            text = self._http.get("/metrics").text
        except httpx.HTTPError:
            text = ""
        events = sum(
            float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("hyperseg_events_total{")
        )
        return Sample(int(events), time.time(), self._cpu())

    def _cpu(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def commits(self) -> tuple[float | None, float | None]:
        """(p50, p99) of the last commits, milliseconds."""
        (status,) = self._http.get("/api/status", params={"local": "true"}).json()["workers"]
        return status["commit_ms_p50"], status["commit_ms_p99"]


def ours(bootstrap: str, prefix: str, number: int, folder: Path, events: int) -> Run:
    """One worker until all events are committed."""
    with OurWorker(bootstrap, prefix, number, folder) as worker:
        samples = [worker.sample()]
        deadline = time.time() + 300
        while samples[-1].events < events:
            if time.time() > deadline:
                raise RuntimeError(f"the worker did {samples[-1].events} of {events} events")
            time.sleep(0.2)
            samples.append(worker.sample())
        return Run(*between(samples), *worker.commits())


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
