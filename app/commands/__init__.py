"""The verbs of `hyperseg`, one a file.

A file `app/commands/<verb>.py` with `register(cli)` is a command; nothing else has to know of it.
At import it needs only typer and what is here, so that `hyperseg --help` stays quick: what a verb
works with is imported inside its function.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from app.settings import Settings

ConfigFlag = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="Settings file (default: hyperseg.yaml, if there is one)."),
]
BrokerFlag = Annotated[
    str | None, typer.Option("--broker", metavar="URL", help="embedded:// or kafka://host:9092,host2:9092")
]
SetFlag = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any setting; may be given several times.")
]
_INSTANT_CHARS_MAX = 15  # of whole epoch milliseconds, until the year 9999
_PLAIN_WIDTH = 160  # columns of what is no terminal


def read_settings(config: str | None = None, set_: list[str] | None = None, **flags: Any) -> Settings:
    """The settings under these flags (None: not given), with the logs configured as they say;
    raises UsageError."""
    from app.observability.logs import configure_logs
    from app.settings import load_settings, parse_set

    given = {name: value for name, value in flags.items() if value is not None}
    settings = load_settings(parse_set(set_ or ()) | given | {"config": config})
    configure_logs(settings.log_level, settings.log_json)
    return settings


def parse_instant(text: str, flag: str) -> int:
    """Epoch milliseconds of a flag's `TS`: whole milliseconds, or RFC 3339 with a zone, from 1970
    to 9999; raises UsageError."""
    from app.domain.errors import UsageError
    from app.domain.time import instant_ms, is_instant

    ms = int(text) if text.isdecimal() and len(text) <= _INSTANT_CHARS_MAX else instant_ms(text)
    if ms is None or not is_instant(ms):
        raise UsageError(
            f"{flag} {text:.80}: expected epoch milliseconds or RFC 3339 with a zone, such as 2026-11-22T10:00:00Z"
        )
    return ms


def stdout() -> Console:
    """What a command prints on: colour and its width on a terminal, plain text elsewhere; nothing
    in a text is taken for markup."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _PLAIN_WIDTH
    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=True, width=width)
