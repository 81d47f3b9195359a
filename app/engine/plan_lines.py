"""The compiled plan as text: which signals an event feeds, what is kept of each, and the units in
the order in which they are evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from app.domain.options import EngineOptions
from app.domain.time import duration_text
from app.engine.build import Machine
from app.engine.routing import EachRoute, Feed, Route
from app.engine.signals import KeyedSignal, PatternSignal, Signal
from app.engine.units import Unit
from app.rules.costs import entries_kept
from app.rules.demand import Demand
from app.rules.plan import Plan, SignalSpec
from app.rules.text import text


def plan_lines(machine: Machine) -> Iterator[str]:
    """The lines, in three parts: routes by stream, signals by their text, units in order."""
    yield "routes: what an event of each stream feeds"
    for stream, route in machine.feeder.routes.items():
        yield f"  {stream}"
        yield from (f"    {line}" for line in _route(route))
    yield ""
    yield "signals: what is kept of each for a user"
    names, specs = _readers(machine.plan), {spec.key: spec for spec in machine.plan.signals}
    for signal in sorted(machine.signals.values(), key=lambda signal: signal.text):
        yield f"  {signal.text}"
        kept = _kept(signal, specs[signal.key], machine.options)
        yield f"    {_kind(signal)}; {kept}; read by {', '.join(names.get(signal.key, ())) or 'nobody'}"
    yield ""
    yield "units: in the order of evaluation"
    width = len(str(len(machine.units)))
    for unit in machine.units:
        yield (
            f"  {unit.index + 1:>{width}} {unit.kind} {_name(unit)}: "
            f"{'; '.join(_flags(unit, machine)) or 'reads nothing'}"
        )


def _route(route: Route) -> Iterator[str]:
    if not (route.always or route.indexed or route.each):
        yield "nothing"
    yield from (f"every event: {_fed(feed)}" for feed in route.always)
    for path, (_, by_value) in zip(route.indexed_by, route.indexed, strict=True):
        for value, feeds in by_value.items():
            yield from (f'{".".join(path)} == "{value}": {_fed(feed)}' for feed in feeds)
    for each in route.each:
        yield from _each(each)


def _fed(feed: Feed) -> str:
    """A signal, and that a further test decides; a pattern is fed through one of its parts."""
    test = " if the rest of its filter holds" if feed.test is not None else ""
    return f"{feed.signal.text}{test}"


def _each(each: EachRoute) -> Iterator[str]:
    if each.path is not None:
        yield f"each {'.'.join(each.path)}: a value of {each.segment}"
    for feed in each.feeds:
        whose = "every value it has" if feed.path is None else f"each {'.'.join(feed.path)}"
        yield f"{whose}: {feed.signal.text}{' if the rest of its filter holds' if feed.test is not None else ''}"


def _readers(plan: Plan) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for unit in plan.units:
        for key in unit.signals:
            whole = " (its whole value)" if key in unit.uses and unit.uses[key] is None else ""
            shown = text(unit.trees[0]) if unit.kind == "held" else unit.name
            found.setdefault(key, []).append(f"{shown}{whole}")
    return {key: sorted(names) for key, names in found.items()}


def _kind(signal: Signal) -> str:
    if isinstance(signal, PatternSignal):
        return "matches of a pattern, for each value" if signal.keyed else "matches of a pattern"
    return "events, for each value" if isinstance(signal, KeyedSignal) else "events"


def _kept(signal: Signal, spec: SignalSpec, options: EngineOptions) -> str:
    """What is kept for one value at most, and between which values the readers have nothing new to
    hear."""
    entries = entries_kept(spec, options)
    return ", ".join(["its value" if entries == 1 else f"at most {entries:,} entries", *_wakes(signal.demand)])


def _wakes(demand: Demand) -> Iterator[str]:
    if demand.wake_at is not None:
        yield f"evaluated at {', '.join(f'{value:g}' for value in demand.wake_at)}"
    if demand.age_ms is not None:
        yield f"evaluated past {duration_text(demand.age_ms)}"


def _name(unit: Unit) -> str:
    return unit.name if unit.kind != "held" else f"of {unit.owner or 'any segment'} ({unit.name})"


def _flags(unit: Unit, machine: Machine) -> Iterable[str]:
    spec = machine.plan.units[unit.index]
    if spec.kind == "held":
        yield text(spec.trees[0])
    if spec.signals:
        yield f"{len(spec.signals)} signal{'s' if len(spec.signals) > 1 else ''}"
    if unit.profile:
        yield "profile"
    if spec.units:
        yield f"after {', '.join(sorted(spec.units))}"
    if unit.each:
        yield "for each value"
    if unit.dwell_ms:
        yield f"min_dwell {duration_text(unit.dwell_ms)}"
    if unit.cooldown_ms:
        yield f"cooldown {duration_text(unit.cooldown_ms)}"
    if unit.segment is not None and unit.segment.exit_when is not None and unit.kind == "segment":
        yield "leaves by exit_when"
    if unit.grouped is not None:
        yield f"in the group {unit.grouped}"
    if unit.at_first_event:
        yield "evaluated at a user's first event"
    if unit.false_when_unknown:
        yield "out until something is known of the value"
    if unit.dependents:
        yield f"read by {', '.join(machine.units[index].name for index in unit.dependents)}"
