"""Reading cases: events, clock steps and the changes expected. A test file has them for the
definitions beside it:

    base: 2026-11-02T00:00:00Z          # optional: what durations count from (a Monday)
    options: {timezone: Europe/Berlin}  # optional: timezone, streams, session_gap, …
    cases:
      - case: a cart left for a day
        of: [cart_abandoner]            # optional: only changes of these segments and groups count
        steps: [0 cart action=add, fire 12h]
        until: 3d                       # optional: the last instant; by default the last step's
        changes: [1d enters cart_abandoner timer]
        members: {cart_abandoner: 1d}   # optional: who is in what at the end, since when

`app.testing.notation` says how steps and changes are written. A case may have a `base` and
`options` of its own.

An *own* case brings its definitions along, as those of the documentation do: `segments` and
`groups`, or, for one segment named `s`, the keys of a segment at the top of the case:

    - case: two clicks
      when: count(click, last 1h) >= 2
      steps: [0 click, 10m click]
      changes: [10m enters s]
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from app.domain.errors import DefinitionError, InputError, nearest
from app.domain.events import Event
from app.domain.options import EngineOptions
from app.domain.time import offset_text
from app.rules.document import compose, plain, where
from app.testing import notation
from app.testing.notation import Expected, Fire, NotationError
from app.testing.options import options_from

SUFFIXES = (".test.yaml", ".test.yml")
_FILE_KEYS = ("base", "options", "cases")
_CASE_KEYS = ("case", "base", "options", "of", "steps", "until", "changes", "members")
_SEGMENT_KEYS = ("when", "exit_when", "min_dwell", "cooldown", "for_each", "max_per_user")
_OWN_KEYS = (*_CASE_KEYS, *_SEGMENT_KEYS, "segments", "groups", "yaml", "fails", "loads", "facts", "users")
_EXPECTATIONS = ("changes", "members", "fails")
T = TypeVar("T")
Place = tuple[int, int]


class CaseError(DefinitionError):
    """A test file is wrong: mend it where it points."""


@dataclass(frozen=True)
class Case:
    """One case. `of` None: every change counts. `members`: (user, name, value as JSON) → since;
    None where the case does not say.

    `places` are the line and column of every name the case uses, for `check_names`.
    """

    name: str
    file: str
    line: int
    options: EngineOptions
    base: int
    of: frozenset[str] | None
    steps: tuple[Event | Fire, ...]
    until: int
    changes: tuple[Expected, ...]
    members: dict[tuple[str, str, str | None], int] | None
    places: tuple[tuple[str, Place], ...]


@dataclass(frozen=True)
class OwnCase(Case):
    """A case with the definitions it is about, as YAML text.

    `yaml` in place of definitions is their text as it stands. `fails`: texts that one of its errors
    holds together; `loads`: the segments that load all the same. `facts`: (expression, value,
    needs) of the last change. `users`: 1 where the case must not be run for several users at once.
    """

    definitions: str
    fails: tuple[str, ...]
    loads: tuple[str, ...]
    facts: tuple[tuple[str, Any, str], ...]
    users: int | None


def find_files(path: str | Path) -> list[Path]:
    """The test files directly in a folder (or the one named), by name. Raises InputError where
    there is none."""
    folder = Path(path)
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise InputError(f"tests: no folder at {folder}; name the folder of the definitions and their *.test.yaml")
    files = sorted(file for file in folder.iterdir() if file.name.endswith(SUFFIXES))
    if not files:
        raise InputError(f"tests: no *.test.yaml in {folder}; put one there")
    return files


def read_file(path: str | Path, options: EngineOptions) -> list[Case]:
    """The cases of one file; `options` are the deployment's, which the file may change. Raises
    CaseError, InputError."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; mend the path") from error
    return read_text(text, str(path), options)


def read_text(text: str, file: str, options: EngineOptions) -> list[Case]:
    """The cases in a text. Raises CaseError."""
    root = compose(text, file).root
    reader = _Reader(file)
    if root is None:
        raise CaseError(
            "a test file has cases", file=file, line=1, column=1, found="nothing", expected="cases: [{case: …}]"
        )
    keys = reader.mapping(root, _FILE_KEYS, "a test file")
    if "cases" not in keys:
        raise reader.error(root, "a test file has cases", "no cases", "cases: [{case: …, steps: […], changes: […]}]")
    base, options = reader.setting(keys, notation.instant(notation.BASE, 0), options)
    return [reader.case(node, base, options) for node in reader.items(keys["cases"], "cases")]


def read_own(text: str, file: str, options: EngineOptions) -> list[OwnCase]:
    """The cases in a text that bring their definitions: a list, or one alone, which then needs no
    name.

    Raises CaseError.
    """
    root = compose(text, file).root
    reader = _Reader(file)
    if isinstance(root, yaml.MappingNode):
        return [reader.own(root, options, file)]
    return [reader.own(node, options) for node in reader.items(root, "the file")]


def check_names(case: Case, segments: Collection[str], groups: Collection[str]) -> None:
    """Raises CaseError where the case names a segment or group that is not defined."""
    known = {*segments, *groups}
    for name, (line, column) in case.places:
        if name not in known:
            raise CaseError(
                "unknown segment",
                file=case.file,
                line=line,
                column=column,
                found=f'"{name}"',
                expected="the name of a segment or group that is defined",
                hint=nearest(name, known),
            )


class _Reader:
    """Reads the nodes of one file."""

    def __init__(self, file: str) -> None:
        self._file = file

    def error(self, node: yaml.Node, message: str, found: str, expected: str, hint: str = "") -> CaseError:
        line, column = where(node)
        return CaseError(message, file=self._file, line=line, column=column, found=found, expected=expected, hint=hint)

    def mapping(self, node: yaml.Node, keys: tuple[str, ...], what: str) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            raise self.error(node, f"{what} is a mapping", _shown(node), "keys with values: " + ", ".join(keys))
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = str(key.value)
            if name not in keys:
                raise self.error(key, "unknown key", f'"{name}"', "one of " + ", ".join(keys), nearest(name, keys))
            if name in found:
                raise self.error(key, "the key stands twice", f'"{name}"', "each key once")
            found[name] = value
        return found

    def items(self, node: yaml.Node | None, what: str) -> list[yaml.Node]:
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            raise self.error(node, f"{what} is a list", _shown(node), f"{what}: […]")
        return list(node.value)

    def told(self, node: yaml.Node, read: Callable[[str], T]) -> T:
        """What `read` makes of a line, with the line's place where it cannot."""
        if not isinstance(node, yaml.ScalarNode):
            raise self.error(
                node, "a line of text is needed here", _shown(node), "text; quote it where it holds , [ ] { } : or #"
            )
        try:
            return read(str(node.value))
        except NotationError as error:
            raise self.error(node, error.message, error.found, error.expected, error.hint) from None

    def setting(self, keys: dict[str, yaml.Node], base: int, options: EngineOptions) -> tuple[int, EngineOptions]:
        if "base" in keys:
            base = self.told(keys["base"], _base)
        if "options" in keys:
            node = keys["options"]
            if not isinstance(node, yaml.MappingNode):
                raise self.error(node, "options is a mapping", _shown(node), "options: {timezone: Europe/Berlin}")
            for key, value in node.value:
                try:
                    options = options_from({str(key.value): plain(value)}, options)
                except NotationError as error:
                    raise self.error(key, error.message, error.found, error.expected, error.hint) from None
        return base, options

    def case(self, node: yaml.Node, base: int, options: EngineOptions) -> Case:
        return self._case(node, self.mapping(node, _CASE_KEYS, "a case"), base, options)

    def own(self, node: yaml.Node, options: EngineOptions, name: str | None = None) -> OwnCase:
        """`name` is that of a case without one."""
        keys = self.mapping(node, _OWN_KEYS, "a case")
        case = self._case(node, keys, notation.instant(notation.BASE, 0), options, name)
        given = {key: plain(value) for key, value in keys.items()}
        return OwnCase(
            **vars(case),
            definitions=given["yaml"] if "yaml" in given else _definitions(given),
            fails=tuple(given.get("fails", ())),
            loads=tuple(given.get("loads", ())),
            facts=tuple(tuple(fact) for fact in given.get("facts", ())),
            users=given.get("users"),
        )

    def _case(
        self, node: yaml.Node, keys: dict[str, yaml.Node], base: int, options: EngineOptions, name: str | None = None
    ) -> Case:
        if name is None and "case" not in keys:
            raise self.error(node, "a case has a name", "no case", "case: what happens")
        if not any(key in keys for key in _EXPECTATIONS):
            raise self.error(
                node,
                "a case expects something",
                "neither changes nor members",
                "changes: […], empty where nothing changes",
            )
        base, options = self.setting(keys, base, options)
        steps = tuple(
            self.told(line, lambda text, i=i: notation.step(text, base, options, i))  # type: ignore[misc]
            for i, line in enumerate(self.items(keys.get("steps"), "steps"))
        )
        last = max((step.ts if isinstance(step, Event) else step.upto for step in steps), default=base)
        until = self.told(keys["until"], lambda text: notation.instant(text, base)) if "until" in keys else last
        if until < last:
            latest = f"{offset_text(last - base)} or later"
            raise self.error(keys["until"], "until lies before the last step", _shown(keys["until"]), latest)
        places: list[tuple[str, Place]] = []
        of = self._of(keys.get("of"), places)
        return Case(
            name=str(plain(keys["case"])) if "case" in keys else str(name),
            file=self._file,
            line=where(node)[0],
            options=options,
            base=base,
            of=of,
            steps=steps,
            until=until,
            changes=self._changes(keys.get("changes"), base, places),
            members=self._members(keys["members"], base, places) if "members" in keys else None,
            places=tuple(places),
        )

    def _of(self, node: yaml.Node | None, places: list[tuple[str, Place]]) -> frozenset[str] | None:
        if node is None:
            return None
        names = [(self.told(line, str), where(line)) for line in self.items(node, "of")]
        places.extend(names)
        return frozenset(name for name, _ in names)

    def _changes(self, node: yaml.Node | None, base: int, places: list[tuple[str, Place]]) -> tuple[Expected, ...]:
        found = []
        for line in self.items(node, "changes"):
            change = self.told(line, lambda text: notation.change(text, base))
            places.extend((name, where(line)) for name in (change.name, change.from_, change.to) if name is not None)
            found.append(change)
        return tuple(found)

    def _members(
        self, node: yaml.Node, base: int, places: list[tuple[str, Place]]
    ) -> dict[tuple[str, str, str | None], int]:
        if not isinstance(node, yaml.MappingNode):
            raise self.error(node, "members is a mapping", _shown(node), "members: {name: 1d}: since when")
        found = {}
        for key, value in node.value:
            member = self.told(key, notation.member)
            places.append((member[1], where(key)))
            found[member] = self.told(value, lambda text: notation.instant(text, base))
        return found


def _definitions(given: dict[str, Any]) -> str:
    """The text of the definitions in a case: what is written at its top is one segment, `s`."""
    top = {key: given[key] for key in _SEGMENT_KEYS if key in given}
    segments = [*given.get("segments", []), *([{"name": "s", **top}] if top else [])]
    return yaml.safe_dump({"segments": segments, "groups": given.get("groups", [])}, sort_keys=False, width=100_000)


def _base(text: str) -> int:
    if "T" not in text:
        raise NotationError("no instant", f'"{text}"', f"RFC 3339 with a zone, such as {notation.BASE}")
    return notation.instant(text, 0)


def _shown(node: yaml.Node) -> str:
    value: Any = plain(node)
    return f"{value!r:.60}"
