"""`hyperseg send`: event files onto the broker's topics."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from app.commands import BrokerFlag, ConfigFlag, SetFlag, read_settings


def register(cli: typer.Typer) -> None:
    cli.command("send")(send)


def send(
    files: Annotated[
        list[str], typer.Argument(metavar="FILES…", help="Event files (.gz and .zst are read; - is stdin).")
    ],
    broker: BrokerFlag = None,
    config: ConfigFlag = None,
    set_: SetFlag = None,
) -> None:
    """Publish event files to the input topics, in the order of their timestamps, keyed by user."""
    from app.broker.publisher import Publisher
    from app.broker.topics import Shape, ensure_inputs
    from app.domain.errors import InputError
    from app.offline.send import read_sorted

    settings = read_settings(config, set_, broker=broker)
    streams = settings.input_streams()
    lines = read_sorted(files, streams)
    shape = Shape(settings.partitions, settings.replication)
    topics = ensure_inputs(settings.bootstrap, streams, shape, settings.security())
    with Publisher(settings.bootstrap, settings.security()) as publisher:
        for line in lines.routed:
            publisher.put(topics[line.stream], line.key, line.value)
    counts = ", ".join(f"{topics[name]} {count}" for name, count in sorted(lines.counts().items()))
    sys.stderr.write(f"sent {publisher.delivered} records to {settings.broker}: {counts or 'none'}\n")
    if lines.unroutable:
        raise InputError(f"{lines.unroutable[0]}; {len(lines.unroutable)} such lines were not sent, all others were")
