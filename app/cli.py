"""`hyperseg`: finds the commands, runs one, and turns what went wrong into one line on stderr and
an exit code.

Exit codes: 0 done · 1 the input or the definitions are wrong · 2 usage · 3 could not reach what it
needs · 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence

import typer
from typer.exceptions import Abort, TyperException

import app.commands
from app.domain.errors import HypersegError

# The order in `--help`: from trying, through writing definitions, to operating. A command that is
# not here follows.
_ORDER = ("demo", "check", "test", "replay", "explain", "simulate", "send", "broker", "worker", "segments")
_INTERRUPTED = 130


def build() -> typer.Typer:
    """The command line with every module of `app.commands` registered."""
    cli = typer.Typer(
        name="hyperseg",
        help="Real-time hyper-segmentation: who is in which segment, exactly, as events arrive.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    cli.callback()(_options)
    for name in _commands():
        importlib.import_module(f"app.commands.{name}").register(cli)
    return cli


def run(arguments: Sequence[str]) -> int:
    """Runs one command line; gives its exit code. Errors meant for people are one line on
    stderr."""
    try:
        code = typer.main.get_command(build()).main(list(arguments), prog_name="hyperseg", standalone_mode=False)
    except HypersegError as error:
        return _complain(error, error.exit_code)
    except TyperException as error:
        return _usage(error.format_message(), error.exit_code)
    except BrokenPipeError:
        # The reader of our output has seen enough; Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, Abort):
        return _INTERRUPTED
    return code if isinstance(code, int) else 0


def main() -> None:
    """The entry point of the `hyperseg` script."""
    sys.exit(run(sys.argv[1:]))


def _commands() -> list[str]:
    found = [module.name for module in pkgutil.iter_modules(app.commands.__path__)]
    return sorted(found, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))


def _version(given: bool) -> None:
    if given:
        from importlib.metadata import version

        typer.echo(f"hyperseg {version('hyperseg')}")
        raise typer.Exit


def _options(
    version: bool = typer.Option(
        False, "--version", help="Print the version and end.", is_eager=True, callback=_version
    ),
) -> None:
    pass


def _usage(message: str, code: int) -> int:
    if message.startswith("Usage:"):  # a group called with nothing: its help is the message
        sys.stderr.write(f"{message}\n")
        return code
    return _complain(f"{message.rstrip('.')}; see hyperseg --help", code)


def _complain(what: object, code: int) -> int:
    if text := _one_line(str(what)):
        sys.stderr.write(f"hyperseg: {text}\n")
    return code


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main()
