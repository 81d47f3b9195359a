"""A real single-node Apache Kafka (KRaft) on this machine, its data in one folder.

<folder>/server.properties   written at every start
<folder>/log4j2.properties
<folder>/kafka.log           what Kafka says
<folder>/data/               the log itself; kept between starts
"""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import time
import uuid
from pathlib import Path
from typing import Self

from app.broker import jars
from app.broker.probe import answers
from app.domain.errors import Unreachable, UsageError

READY_S_MAX = 60.0  # it takes about 5 s; a busy machine may take several times that
STOP_S_MAX = 30.0
_HEAP = "-Xmx768m"
_POLL_S = 0.1
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://{host}:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
num.partitions=4
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
min.insync.replicas=1
group.initial.rebalance.delay.ms=0
# After a kill the controller waits for the old broker's session to end: seconds, not nine.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""
_LOG4J = """\
appender.file.type=File
appender.file.name=file
appender.file.fileName={log}
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=[%d] %p %m (%c)%n
rootLogger.level=WARN
rootLogger.appenderRef.file.ref=file
logger.kafka.name=kafka.server.KafkaRaftServer
logger.kafka.level=INFO
"""


class LocalKafka:
    """`with LocalKafka(folder, cache) as kafka:` gives `kafka.bootstrap` and stops the broker when
    the block ends.

    `folder` holds its data; a second start on the same folder finds everything again. `cache` holds
    the jars. `port` 0 takes a free one. Start it from a thread that lives as long as the broker
    shall: on Linux the broker is told to go when that thread's process dies.
    """

    def __init__(self, folder: Path, cache: Path, port: int = 0, host: str = "127.0.0.1") -> None:
        self.folder = folder.resolve()
        self._cache = cache
        self._host = host
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """`host:port`, valid once started."""
        return f"{self._host}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The broker's process while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> Self:
        """Starts it and waits until it answers; raises Unreachable (no Java, no Maven, it ended by
        itself) or UsageError (port taken)."""
        java, lib = jars.java(), jars.fetch(self._cache)
        self._port = self._port or _free_port()
        if _taken(self._host, self._port):
            raise UsageError(f"port {self._port}: something listens there already; stop it or name another with --port")
        self._write_configuration()
        command = [
            java,
            "-cp",
            f"{lib}/*",
            f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}",
            "-Djava.awt.headless=true",
        ]
        if not (self.folder / "data" / "meta.properties").is_file():
            self._format([*command, "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool"])
        self._launch([*command, _HEAP, "kafka.Kafka", str(self.folder / "server.properties")])
        self._wait_until_ready()
        return self

    def stop(self) -> None:
        """Lets it close its log and end; kills it if it does not within STOP_S_MAX."""
        if (process := self._process) is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._process = None

    def kill(self) -> None:
        """Ends it as a power cut would (for tests of what comes after)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wait(self) -> int:
        """Waits until it ends by itself; its exit code."""
        return self._process.wait() if self._process else 0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _write_configuration(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            data, log = self.folder / "data", self.folder / "kafka.log"
            filled = _PROPERTIES.format(host=self._host, port=self._port, controller=_free_port(), data=data)
            (self.folder / "server.properties").write_text(filled)
            (self.folder / "log4j2.properties").write_text(_LOG4J.format(log=log))
        except OSError as error:
            raise Unreachable(
                f"{self.folder}: cannot be written: {error.strerror}; name another folder with --dir"
            ) from error

    def _format(self, tool: list[str]) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # An id that begins with a dash would be read as an option.
        arguments = [
            "format",
            "--standalone",
            "-t",
            cluster.replace("-", "A"),
            "-c",
            str(self.folder / "server.properties"),
        ]
        done = subprocess.run([*tool, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unreachable(
                f"{self.folder}: Kafka could not format it: {_last_line(done.stdout + done.stderr)}; name "
                "an empty folder"
            )

    def _launch(self, command: list[str]) -> None:
        # Its own session: Ctrl-C in a terminal reaches us alone, and we stop it in order. setpriv:
        # it goes even when we are killed.
        prefix = [path, "--pdeathsig", "TERM", "--"] if (path := shutil.which("setpriv")) else []
        with (self.folder / "console.log").open("wb") as console:
            self._process = subprocess.Popen(
                prefix + command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_S_MAX
        while not (_taken(self._host, self._port) and answers(self.bootstrap)):
            if self._process is None or self._process.poll() is not None:
                raise Unreachable(f"local Kafka: ended at once: {self._said()}; see {self.folder / 'kafka.log'}")
            if time.monotonic() > deadline:
                self.kill()
                raise Unreachable(
                    f"local Kafka: not ready after {READY_S_MAX:.0f} s: {self._said()}; see {self.folder / 'kafka.log'}"
                )
            time.sleep(_POLL_S)

    def _said(self) -> str:
        texts = [
            path.read_text(errors="replace")
            for name in ("console.log", "kafka.log")
            if (path := self.folder / name).is_file()
        ]
        return _last_line("\n".join(texts))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _taken(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


def _last_line(text: str) -> str:
    """The last line that says an error, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("at ")]
    errors = [line for line in lines if "ERROR" in line or "Exception" in line]
    return (errors or lines or ["it said nothing"])[-1][:300]
