"""`hyperseg simulate`: a realistic shop, into a file or onto the broker."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import BrokerFlag, ConfigFlag, SetFlag, parse_instant, read_settings

if TYPE_CHECKING:
    from app.settings import Settings
    from app.simulate.noise import Record

_KAFKA = "kafka"


def register(cli: typer.Typer) -> None:
    cli.command("simulate")(simulate)


def simulate(
    users: Annotated[
        int, typer.Option(min=1, max=100_000_000, help="How many users the shop has; few of them come often.")
    ] = 1_000,
    rate: Annotated[
        float, typer.Option(min=0.001, max=1e6, help="Events a second, on average over a day; bots come on top.")
    ] = 20.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same events.")] = 1,
    to: Annotated[
        str, typer.Option(metavar="kafka|FILE", help="The broker, or a file (.gz, .zst by name; - is stdout).")
    ] = "-",
    hours: Annotated[
        float | None, typer.Option(min=0.0, help="Hours of the shop (default: 1; live on a broker: until Ctrl-C).")
    ] = None,
    bots: Annotated[int, typer.Option(min=0, max=10_000, help="Bots, each clicking twice a second.")] = 0,
    duplicates: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of events sent twice.")] = 0.0,
    late: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of events delivered up to 30 minutes late.")
    ] = 0.0,
    malformed: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of records put between that are no events.")
    ] = 0.0,
    start: Annotated[
        str | None,
        typer.Option(metavar="TS", help="First instant: epoch ms or RFC 3339 (default: files 2026-01-05, live now)."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(metavar="TS|now", help="Instead of --start: the instant that the last of --hours ends at."),
    ] = None,
    realtime: Annotated[
        bool | None,
        typer.Option("--realtime/--fast", help="At the pace of the clock, or at once (default: real time to kafka)."),
    ] = None,
    broker: BrokerFlag = None,
    config: ConfigFlag = None,
    set_: SetFlag = None,
) -> None:
    """Make the events of a realistic shop: visits, carts, orders, profiles; on request bots,
    duplicates, late and broken records."""
    from app.domain.errors import UsageError
    from app.simulate.noise import NoiseOptions, records
    from app.simulate.shop import START_DEFAULT_MS, ShopOptions, events

    live = to == _KAFKA if realtime is None else realtime
    if live and to != _KAFKA:
        raise UsageError("--realtime: only the broker is written to at the pace of the clock; add --to kafka")
    if end is not None and (live or start is not None):
        raise UsageError(
            f"--end {end}: "
            f"{'a live shop begins now; add --fast' if live else 'the shop has a --start too; give one of them'}"
        )
    settings = read_settings(config, set_, broker=broker)
    length = hours if hours is not None or live else 1.0
    first = _start(start, live, to, hours, START_DEFAULT_MS) if end is None else _before(end, length or 0.0)
    shop = ShopOptions(users=users, rate=rate, seed=seed, start=first, hours=length, bots=bots, rhythm=not live)
    made = records(events(shop), NoiseOptions(duplicates, late, malformed), seed)
    counts = _publish(settings, made, first if live else None) if to == _KAFKA else _write(made, to)
    sys.stderr.write(f"{_summary(counts)}\n")


def _start(text: str | None, live: bool, to: str, hours: float | None, default: int) -> int:
    if text is not None:
        return parse_instant(text, "--start")
    if to != _KAFKA:
        return default
    from app.domain.limits import HOUR_MS

    now = int(time.time() * 1000)
    # So that the last event is not in the future.
    return now if live else now - int((1.0 if hours is None else hours) * HOUR_MS)


def _before(end: str, hours: float) -> int:
    """Epoch milliseconds of the instant so many hours before `end`, which may be the word now."""
    from app.domain.limits import HOUR_MS

    last = int(time.time() * 1000) if end == "now" else parse_instant(end, "--end")
    return last - int(hours * HOUR_MS)


def _write(made: Iterator[Record], to: str) -> Mapping[str, int]:
    from app.offline.eventfiles import open_out
    from app.simulate.run import to_file

    with open_out(to) as out:
        return to_file(made, out)


def _publish(settings: Settings, made: Iterator[Record], paced_from: int | None) -> Mapping[str, int]:
    from collections import Counter

    from app.broker.publisher import Publisher
    from app.broker.topics import Shape, ensure_inputs
    from app.simulate.run import to_broker

    shape = Shape(settings.partitions, settings.replication)
    topics = ensure_inputs(settings.bootstrap, settings.input_streams(), shape, settings.security())
    counts: Counter[str] = Counter()
    with Publisher(settings.bootstrap, settings.security()) as publisher:
        if paced_from is not None:
            sys.stderr.write(f"sending to {settings.broker}; Ctrl-C ends it …\n")
        try:
            return to_broker(made, publisher, topics, paced_from, counts=counts)
        except KeyboardInterrupt:
            return counts


def _summary(counts: Mapping[str, int]) -> str:
    return f"{sum(counts.values())} events: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
