"""How settings are written as text: durations and the broker's address."""

from __future__ import annotations

import re

from app.domain import limits

_UNITS_MS = {
    "ms": 1,
    "s": limits.SECOND_MS,
    "m": limits.MINUTE_MS,
    "h": limits.HOUR_MS,
    "d": limits.DAY_MS,
    "w": limits.WEEK_MS,
}
_DURATION = re.compile(r"(\d{1,15})(ms|s|m|h|d|w)?")
_HOST = re.compile(r"(\[[0-9a-fA-F:]+\]|[^\s:/,@]+)(?::(\d{1,5}))?")
_KAFKA_PORT = 9092


def parse_duration(text: object) -> int:
    """Milliseconds of `500ms`, `30s`, `5m`, `1h`, `7d`, `4w`, or of a bare integer; raises ValueError for anything else."""
    found = _DURATION.fullmatch(str(text).strip()) if isinstance(text, int | str) and not isinstance(text, bool) else None
    if found is None:
        raise ValueError("expected a duration such as 500ms, 30s, 5m, 1h or 7d, or whole milliseconds")
    return int(found[1]) * _UNITS_MS[found[2] or "ms"]


def parse_bootstrap(broker: str) -> str:
    """`host:port,host:port` of `kafka://host:port,host`; raises ValueError for anything else."""
    scheme, _, rest = broker.partition("://")
    hosts = [_HOST.fullmatch(host.strip()) for host in rest.split(",")]
    if scheme != "kafka" or not all(hosts):
        raise ValueError("expected embedded:// or kafka://host:9092,host2:9092")
    return ",".join(f"{host[1]}:{host[2] or _KAFKA_PORT}" for host in hosts if host)
