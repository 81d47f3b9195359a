"""`hyperseg check`: what is wrong with definitions, what they cost, and which names in them a
sample of events never shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from app.domain.errors import DefinitionError, InputError, nearest
from app.domain.options import EngineOptions
from app.engine.build import Machine
from app.engine.plan_lines import plan_lines
from app.offline.log import Log, read_log
from app.rules.ast import Path
from app.rules.costs import Costs, estimate
from app.rules.definitions import load_folder
from app.rules.fields import named
from app.rules.model import Definitions, Segment
from app.rules.plan import compile_plan


@dataclass(slots=True)
class Report:
    """What a check found. `costs` and `plan` (its lines, where asked for) are of the definitions
    that are right; None and empty where they cannot stand together."""

    errors: list[InputError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    costs: Costs | None = None
    plan: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        costs = asdict(self.costs) if self.costs is not None else {}
        segments, signals = costs.pop("segments", []), costs.pop("signals", [])
        return {
            "ok": not self.errors,
            "errors": [_error(error) for error in self.errors],
            "warnings": self.warnings,
            "segments": segments,
            "signals": signals,
            "totals": costs,
        } | ({"plan": self.plan} if self.plan else {})


def _error(error: InputError) -> dict[str, Any]:
    if not isinstance(error, DefinitionError):
        return {"message": str(error)}
    return {
        name: getattr(error, name)
        for name in ("file", "line", "column", "message", "found", "expected", "hint", "segment")
    }


def check(folder: str, options: EngineOptions, sample: Iterable[str] = (), with_plan: bool = False) -> Report:
    """Check the definitions of a folder; `sample` are event files to look for their names in.
    Raises InputError for an unreadable file."""
    definitions = load_folder(folder, options)
    report = Report([*definitions.errors], list(dict.fromkeys(definitions.warnings)))
    files = list(sample)
    if files:
        report.warnings += sample_warnings(definitions, read_log(files, options.streams))
    try:
        plan = compile_plan(definitions, options)
        report.costs = estimate(plan, options)
        if with_plan:
            report.plan = list(plan_lines(Machine(plan, options), report.costs))
    except InputError as error:
        report.errors.append(error)
    return report


# --- names that a sample never shows ------------------------------------------------------------


def sample_warnings(definitions: Definitions, log: Log) -> list[str]:
    """A warning for each stream and field that a definition names and no event of the sample has,
    with the nearest that one has."""
    seen = _seen(log)
    warnings = _refused(log)
    for segment in definitions.segments:
        told: set[tuple[str, Path]] = set()
        for stream, path in named(segment):
            if (stream, path) not in told:
                told.add((stream, path))
                warnings += _warning(segment, stream, path, seen)
    return list(dict.fromkeys(warnings))


def _warning(segment: Segment, stream: str, path: Path, seen: Mapping[str, set[Path]]) -> Iterator[str]:
    where = f"{segment.file}:{segment.line}: segment {segment.name}"
    if stream != "*" and stream not in seen:
        yield f'{where}: no event of "{stream}" is in the sample{_meant(stream, seen)}'
        return
    fields = set().union(*seen.values()) if stream == "*" else seen[stream]
    if path and path not in fields:
        shown = {_shown(stream, other) for other in fields}
        name, kind = _shown(stream, path), "event" if stream == "*" else stream
        yield f'{where}: the field "{name}" is in no {kind} of the sample{_meant(name, shown)}'


def _meant(name: str, names: Iterable[str]) -> str:
    hint = nearest(name, names)
    return f"; did you mean {hint}?" if hint else ""


def _shown(stream: str, path: Path) -> str:
    """A path as definitions write it: a profile's attributes stand right below `profile`."""
    return ".".join(path[1:] if stream == "profile" and path[:1] == ("attributes",) else path)


def _refused(log: Log) -> list[str]:
    if not log.refused:
        return []
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(log.reasons().items()))
    place, reason, detail, _ = log.refused[0]
    return [f"the sample has lines that are refused: {reasons}; the first is {place}: {reason}: {detail}"]


def _seen(log: Log) -> dict[str, set[Path]]:
    """The paths of the fields of each stream that is in the log."""
    found: dict[str, set[Path]] = defaultdict(set)
    for events in log.users.values():
        for event in events:
            found[event.stream].update(_paths(event.fields))
    return dict(found)


def _paths(fields: Mapping[str, Any], above: Path = ()) -> Iterator[Path]:
    for name, value in fields.items():
        path = (*above, name)
        yield path
        if isinstance(value, dict):
            yield from _paths(value, path)
