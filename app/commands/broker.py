"""`hyperseg broker`: a real Apache Kafka on this machine, in the foreground."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import ConfigFlag, SetFlag, read_settings

if TYPE_CHECKING:
    from types import FrameType

_PORT = 9092


def register(cli: typer.Typer) -> None:
    cli.command("broker")(broker)


def broker(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes a free one.")] = _PORT,
    folder: Annotated[Path | None, typer.Option("--dir", help="Folder of its data (default: DATA_DIR/kafka).")] = None,
    config: ConfigFlag = None,
    set_: SetFlag = None,
) -> None:
    """Run a real single-node Apache Kafka here (needs Java 17 or newer, and Maven to fetch it
    once). Ctrl-C stops it."""
    from app.broker import jars
    from app.broker.local import LocalKafka
    from app.domain.errors import Unreachable

    settings = read_settings(config, set_)
    cache = Path(settings.cache_dir).expanduser()
    kafka = LocalKafka(folder or Path(settings.data_dir) / "kafka", cache, port)
    if jars.fetched(cache) is None:
        _say(f"fetching Apache Kafka {jars.KAFKA_VERSION} once, into {cache} …")
    _stop_on_sigterm()
    try:
        kafka.start()
        typer.echo(f"kafka://{kafka.bootstrap}")
        _say(f"Apache Kafka {jars.KAFKA_VERSION} is ready; its data is in {kafka.folder}. Ctrl-C stops it.")
        code = kafka.wait()
        raise Unreachable(f"local Kafka: ended by itself with code {code}; see {kafka.folder / 'kafka.log'}")
    except KeyboardInterrupt:
        _say("stopping …")
    finally:
        kafka.stop()


def _stop_on_sigterm() -> None:
    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
