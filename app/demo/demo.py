"""Everything of the demonstration: the embedded broker in this process, a worker as a child
process, a simulated shop in a thread.

The shop's last three days are on the broker before the worker starts, so that it finds them in
order; from then on the shop goes on at the pace of the clock. All that is kept is in one temporary
folder, and nothing is left when `Demo` is closed.
"""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from app.broker.embedded import EmbeddedBroker
from app.broker.publisher import Publisher
from app.broker.topics import Shape, ensure_inputs
from app.domain.errors import HypersegError, Unreachable
from app.domain.limits import HOUR_MS
from app.domain.streams import DEFAULT_STREAMS
from app.simulate.noise import NoiseOptions, Record, records
from app.simulate.run import to_broker
from app.simulate.shop import ShopOptions, events

SEGMENTS = Path(__file__).with_name("segments")
# Enough for a cart to be left behind for a day, small enough for the embedded broker's 5 MiB a
# partition.
_HISTORY_HOURS = 72
_HISTORY_RATE = 0.04  # events a second: 10,000 in all, read by the worker within seconds
_SESSION_GAP = "2m"  # visits end while somebody watches
_READY_S_MAX = 60.0  # joining a group on the embedded broker takes 3 to 9 s, a busy machine longer
_STOP_S_MAX = 25.0  # a last commit and leaving the group; then the worker is killed
_POLL_S = 0.2
_LOG_TAIL = 12


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """`rate` is the live shop's events a second; `segments` a folder of definitions; `port` 0 takes
    a free one."""

    users: int = 400
    rate: float = 10.0
    seed: int = 7
    segments: Path = SEGMENTS
    host: str = "127.0.0.1"
    port: int = 8787


class Demo:
    """`with Demo(options) as demo:` starts everything; `demo.url` is the console's address. Leaving
    the block stops and removes it all."""

    def __init__(self, options: DemoOptions, say: Callable[[str], None]) -> None:
        self._options = options
        self._say = say
        self._folder = Path(tempfile.mkdtemp(prefix="hyperseg-demo-"))
        self._broker = EmbeddedBroker()
        self._worker: subprocess.Popen[bytes] | None = None
        self._shop: threading.Thread | None = None
        self._stop = threading.Event()
        self._failed: HypersegError | None = None
        self._port = 0
        self.url = ""

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ready(self) -> bool:
        """Whether the worker has its partitions and has caught up. Raises Unreachable when it ended
        or is not ready in a minute."""
        deadline = time.monotonic() + _READY_S_MAX
        while time.monotonic() < deadline:
            self.check()
            if self._stop.is_set():
                return False
            if _answers(self._options.host, self._port, "/readyz"):
                return True
            time.sleep(_POLL_S)
        raise Unreachable(f"demo: the worker is not ready after {_READY_S_MAX:.0f} s: {self._last_words()}")

    def wait(self) -> None:
        """Go on until the worker ends or `stop` is called."""
        while not self._stop.wait(_POLL_S):
            self.check()

    def stop(self) -> None:
        """End `wait` and `ready`; from a signal handler, too."""
        self._stop.set()

    def check(self) -> None:
        """Raises when a part of the demonstration has ended by itself."""
        if self._failed is not None:
            raise self._failed
        if self._worker is not None and self._worker.poll() is not None:
            raise Unreachable(f"demo: the worker ended with {self._worker.returncode}: {self._last_words()}")

    def close(self) -> None:
        """Stop the shop, then the worker, then the broker; remove the folder. Calling it again does
        nothing."""
        self._stop.set()
        if self._shop is not None:
            self._shop.join()
            self._shop = None
        self._end_worker()
        self._broker.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    # --- the parts -------------------------------------------------------------------------------
    def _start(self) -> None:
        self._broker.start()
        worker = self._load_worker()
        topics = ensure_inputs(self._broker.bootstrap, DEFAULT_STREAMS, Shape())
        self._say("making three days of a shop …")
        now = _now_ms()
        with Publisher(self._broker.bootstrap) as publisher:
            to_broker(self._history(now), publisher, topics)
        self._let_go(worker)
        self._shop = threading.Thread(target=self._live, args=(topics, now), name="shop", daemon=True)
        self._shop.start()

    def _history(self, now: int) -> Iterator[Record]:
        start = now - _HISTORY_HOURS * HOUR_MS
        options = self._options
        shop = ShopOptions(options.users, _HISTORY_RATE, options.seed, start, _HISTORY_HOURS, rhythm=False)
        return records(events(shop), NoiseOptions(), options.seed)

    def _live(self, topics: dict[str, str], start: int) -> None:
        options = self._options
        shop = ShopOptions(options.users, options.rate, options.seed, start, None, rhythm=False)
        made = records(events(shop), NoiseOptions(duplicates=0.005), options.seed + 1)
        try:
            with Publisher(self._broker.bootstrap) as publisher:
                to_broker(made, publisher, topics, paced_from=start, stop=self._stop)
        except HypersegError as error:
            self._failed = error

    def _load_worker(self) -> subprocess.Popen[bytes]:
        """The worker's process, loading its code (seconds); it begins when it is told to."""
        self._port = _free_port(self._options.host, self._options.port)
        self.url = f"http://{self._options.host}:{self._port}"
        config = self._folder / "hyperseg.yaml"
        config.write_text(json.dumps(self._settings()), encoding="utf-8")  # JSON is YAML
        with (self._folder / "worker.log").open("wb") as log:
            # Its own session: Ctrl-C reaches this process alone, which stops the parts in order.
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "app.demo.worker", str(config)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        return self._worker

    def _let_go(self, worker: subprocess.Popen[bytes]) -> None:
        assert worker.stdin is not None
        try:
            worker.stdin.write(b"go\n")
            worker.stdin.flush()
        except BrokenPipeError:
            self.check()  # says what it died of

    def _settings(self) -> dict[str, Any]:
        return {
            "broker": f"kafka://{self._broker.bootstrap}",
            "app_id": "demo",
            "segments_dir": str(self._options.segments.resolve()),
            "data_dir": str(self._folder / "data"),
            "session_gap": _SESSION_GAP,
            "web_host": self._options.host,
            "web_port": self._port,
            "log_level": "warning",
        }

    def _end_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is None or worker.poll() is not None:
            return
        worker.send_signal(signal.SIGTERM)
        if worker.stdin is not None:
            worker.stdin.close()
        try:
            worker.wait(_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()

    def _last_words(self) -> str:
        try:
            lines = (self._folder / "worker.log").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        return " | ".join(lines[-_LOG_TAIL:]) or "it said nothing"


def _free_port(host: str, wanted: int) -> int:
    """`wanted` when nobody listens there, else any."""
    for port in (wanted, 0):
        try:
            with socket.create_server((host, port)) as probe:
                return int(probe.getsockname()[1])
        except OSError:
            continue
    raise Unreachable(f"demo: no port of {host} can be listened on")


def _answers(host: str, port: int, path: str) -> bool:
    asking = http.client.HTTPConnection(host, port, timeout=2.0)
    try:
        asking.request("GET", path)
        return asking.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asking.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
