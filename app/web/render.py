"""Templates to HTML: escaping always on, values shown as people read them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from starlette.responses import Response

from app.domain import limits as domain_limits
from app.domain.views import Membership, SignalRow, Transition
from app.web.highlight import highlight
from app.wording.phrases import duration_words, fill, phrase, show
from app.wording.words import fact_words, member_name

_FOLDER = Path(__file__).parent
STATIC = _FOLDER / "static"
_SPARK_WIDTH, _SPARK_HEIGHT = 120, 32


class Pages:
    """Renders the console's templates.

    `version` names the static files, so that a new release is loaded afresh.
    """

    def __init__(self, title: str, version: str) -> None:
        loader = jinja2.FileSystemLoader(_FOLDER / "templates")
        self._environment = jinja2.Environment(
            loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._environment.globals.update(app_title=title, app_version=version)
        self._environment.filters.update(
            count=len,
            facts=fact_words,
            highlight=highlight,
            instant=instant,
            member=_member,
            membership=member_name,
            number=number,
            path=path,
            rate=rate,
            show=show,
            signal=signal_value,
            spark=spark,
            words=words,
        )

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """The page as an answer; never cached, so that going back shows the present."""
        html = self._environment.get_template(template).render(**values)
        return Response(html, status, {"Cache-Control": "no-store"}, "text/html; charset=utf-8")


def number(value: float | None) -> str:
    """1,234 · 12.5 · – for none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 100 else f"{value:,.1f}"


def rate(value: float | None) -> str:
    """A share in percent; – for none."""
    return "–" if value is None else f"{value:.1%}"


def instant(ms: int | None) -> str:
    """An instant in UTC, for readers without scripts; the script shows it in local time."""
    if ms is None or not 0 <= ms <= domain_limits.TS_MAX_MS:
        return "–"
    return datetime.fromtimestamp(ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def path(text: object) -> str:
    """A text as one segment of a URL's path."""
    return quote(str(text), safe="")


def words(expression: str, each: object = None) -> str:
    """An expression in plain English."""
    return fill(phrase(expression), each)


def _member(row: Membership | Transition) -> str:
    return member_name(row.segment, row.value)


def signal_value(signal: SignalRow) -> str:
    """A signal's value, durations as such."""
    value = signal.value
    is_time = signal.expr.startswith("since") and isinstance(value, int | float) and not isinstance(value, bool)
    said = duration_words(value) if is_time else show(value)
    return ("about " if signal.approximate else "") + said + (" or more" if signal.or_more else "")


def spark(sizes: Sequence[int | None]) -> dict[str, str]:
    """The paths (`line`, `area`) of a sparkline in a box of 120 × 32; nothing is drawn where
    nothing was measured.
    """
    measured = [size for size in sizes if size is not None]
    if not measured or len(sizes) < 2:
        return {"line": "", "area": ""}
    low, high = min(measured), max(measured)
    step = _SPARK_WIDTH / (len(sizes) - 1)
    lines, areas = [], []
    for known, run in itertools.groupby(enumerate(sizes), key=lambda point: point[1] is not None):
        if known:
            points = [(index * step, _y(size, low, high)) for index, size in run if size is not None]
            if len(points) == 1:
                points = [(max(0.0, points[0][0] - step / 2), points[0][1]), points[0]]
            line = "M" + "L".join([f"{x:.1f} {y:.1f}" for x, y in points])
            lines.append(line)
            areas.append(f"{line}L{points[-1][0]:.1f} {_SPARK_HEIGHT}L{points[0][0]:.1f} {_SPARK_HEIGHT}Z")
    return {"line": "".join(lines), "area": "".join(areas)}


def _y(size: int, low: int, high: int) -> float:
    if low == high:
        return _SPARK_HEIGHT / 2 if size else _SPARK_HEIGHT - 3.0
    return _SPARK_HEIGHT - 3 - (size - low) / (high - low) * (_SPARK_HEIGHT - 6)
