"""`hyperseg worker`: one worker of the cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from app.commands import BrokerFlag, ConfigFlag, SetFlag, read_settings


def register(cli: typer.Typer) -> None:
    cli.command("worker")(worker)


def worker(
    broker: BrokerFlag = None,
    app_id: Annotated[
        str | None, typer.Option("--app-id", help="Workers with the same one share the partitions.")
    ] = None,
    segments: Annotated[
        str | None, typer.Option("--segments", metavar="DIR", help="Folder of the segment definitions.")
    ] = None,
    data_dir: Annotated[
        str | None,
        typer.Option("--data-dir", metavar="DIR", help="Folder of this worker's state; no other may use it."),
    ] = None,
    clock: Annotated[
        str | None,
        typer.Option("--clock", metavar="wall|events", help="Does time pass in silence, or only with events?"),
    ] = None,
    web_host: Annotated[str | None, typer.Option("--web-host", help="Address its HTTP listens on.")] = None,
    web_port: Annotated[
        int | None, typer.Option("--web-port", help="Port its HTTP listens on; 0 takes a free one.")
    ] = None,
    config: ConfigFlag = None,
    set_: SetFlag = None,
) -> None:
    """Run a worker: it reads the input topics and writes every change of membership. More of them
    share the partitions."""
    from app.main import run_worker

    settings = read_settings(
        config,
        set_,
        broker=broker,
        app_id=app_id,
        segments_dir=segments,
        data_dir=data_dir,
        clock=clock,
        web_host=web_host,
        web_port=web_port,
    )
    raise typer.Exit(run_worker(settings))
