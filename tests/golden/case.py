"""A golden case: reading it from its file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from app.domain.events import Event
from app.domain.options import EngineOptions
from app.testing import notation
from app.testing.notation import Expected, Fire
from app.testing.options import options_from

FOLDER = Path(__file__).with_name("cases")
FILE = "golden.yaml"  # what error messages call the definitions
_SEGMENT = ("when", "exit_when", "min_dwell", "cooldown", "for_each", "max_per_user")
_RUN = ("case", "base", "options", "segments", "groups", "steps", "until", "changes", "members", "facts", "users")
_LOAD = ("case", "yaml", "fails", "loads")


@dataclass(frozen=True)
class Case:
    """`definitions` is YAML text; `members` is None where the case does not say; `users: 1` keeps it from being run for others too."""

    name: str
    definitions: str
    options: EngineOptions
    base: int
    steps: tuple[Event | Fire, ...]
    until: int
    changes: tuple[Expected, ...]
    members: dict[str, int] | None
    facts: tuple[list[Any], ...]
    users: int
    fails: tuple[str, ...]
    loads: tuple[str, ...]

    @property
    def events(self) -> list[Event]:
        return [step for step in self.steps if isinstance(step, Event)]


def all_cases() -> Iterator[Case]:
    for path in sorted(FOLDER.glob("*.yaml")):
        for raw in yaml.safe_load(path.read_text(encoding="utf-8")):
            yield _case(path.stem, raw)


def _case(stem: str, raw: dict[str, Any]) -> Case:
    unknown = raw.keys() - {*_RUN, *_LOAD, *_SEGMENT}
    if unknown:
        raise ValueError(f"{stem}: {raw.get('case')}: unknown keys {sorted(unknown)}")
    options = options_from(raw.get("options", {}), EngineOptions())
    base = notation.instant(raw.get("base", notation.BASE), 0)
    steps = tuple(notation.step(str(text), base, options, i) for i, text in enumerate(raw.get("steps", [])))
    last = max((step.ts if isinstance(step, Event) else step.upto for step in steps), default=base)
    members = raw.get("members")
    return Case(
        name=f"{stem}: {raw['case']}",
        definitions=raw.get("yaml") or _definitions(raw),
        options=options,
        base=base,
        steps=steps,
        until=notation.instant(str(raw["until"]), base) if "until" in raw else last,
        changes=tuple(notation.change(text, base) for text in raw.get("changes", [])),
        members=None if members is None else {name: notation.instant(str(at), base) for name, at in members.items()},
        facts=tuple(raw.get("facts", [])),
        users=raw.get("users", 3),
        fails=tuple(raw.get("fails", [])),
        loads=tuple(raw.get("loads", [])),
    )


def _definitions(raw: dict[str, Any]) -> str:
    """`when` and its companions at the top of a case define one segment `s`."""
    one = {key: raw[key] for key in _SEGMENT if key in raw}
    segments = [*raw.get("segments", []), *([{"name": "s", **one}] if one else [])]
    return yaml.safe_dump({"segments": segments, "groups": raw.get("groups", [])}, sort_keys=False, width=10_000)
