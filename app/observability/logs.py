"""Logs: every event goes through structlog to stderr, as text for people or as one JSON object a
line for machines."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

# Libraries that tell their own housekeeping at INFO; their warnings are still heard.
_CHATTY = ("aiokafka", "kafka", "faust", "mode", "httpx", "httpcore", "asyncio", "uvicorn.access")


def configure_logs(level: str = "info", as_json: bool = False) -> None:
    """Sends structlog's and the standard library's records to stderr; `level` is debug, info,
    warning or error.

    Calling it again replaces what it did before.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_renderers(as_json)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING) if threshold > logging.DEBUG else threshold)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger `name`; an event is a short name and key-value pairs: `log.info("recovered",
    partition=3, records=120)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def _renderers(as_json: bool) -> list[Any]:
    strip = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if as_json:
        return [strip, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [strip, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
