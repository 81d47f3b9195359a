"""Definitions as the engine uses them: segments and groups with their trees, and what could not be
loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from app.domain.changes import DefinitionRef
from app.domain.errors import DefinitionError
from app.domain.ids import digest
from app.domain.time import duration_text
from app.rules.ast import Base, Node, Path, nodes
from app.rules.text import text

N = TypeVar("N", bound=Base)


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment. `exit_when` None means "not when"; durations are milliseconds; `for_each` is
    (stream, field path)."""

    name: str
    when: Node
    exit_when: Node | None = None
    min_dwell_ms: int = 0
    cooldown_ms: int = 0
    for_each: tuple[str, Path] | None = None
    max_per_user: int = 20
    title: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    owner: str = ""
    enabled: bool = True
    group: str | None = None
    version: int = 1
    file: str = ""
    line: int = 1

    def conditions(self) -> Iterator[Node]:
        """`when`, then `exit_when` where there is one."""
        yield self.when
        if self.exit_when is not None:
            yield self.exit_when

    def find(self, kind: type[N]) -> list[N]:
        """Every node of `kind` in its conditions, in reading order."""
        return [node for tree in self.conditions() for node in nodes(tree) if isinstance(node, kind)]

    @property
    def source(self) -> str:
        """The canonical spelling of `when`."""
        return text(self.when)

    @property
    def digest(self) -> str:
        """A digest of everything the answer depends on; titles, tags and owners are not part of
        it."""
        return digest(self.meaning())

    def meaning(self) -> str:
        """The canonical text of everything the answer depends on."""
        each = ".".join((self.for_each[0], *self.for_each[1])) + f"|{self.max_per_user}" if self.for_each else ""
        leave = text(self.exit_when) if self.exit_when is not None else ""
        return "\n".join(
            (self.name, text(self.when), leave, duration_text(self.min_dwell_ms), duration_text(self.cooldown_ms), each)
        )

    def ref(self) -> DefinitionRef:
        """What a change names as the definition that decided it."""
        return DefinitionRef(self.name, self.version, self.digest)


@dataclass(frozen=True, slots=True)
class Group:
    """Mutually exclusive segments, in order of precedence."""

    name: str
    segments: tuple[str, ...]
    title: str = ""
    description: str = ""
    version: int = 1
    file: str = ""
    line: int = 1


@dataclass(frozen=True, slots=True)
class Definitions:
    """What a folder (or a text) defines. `errors` tell what was left out; everything else works."""

    segments: tuple[Segment, ...] = ()
    groups: tuple[Group, ...] = ()
    errors: tuple[DefinitionError, ...] = ()
    warnings: tuple[str, ...] = ()
    names: frozenset[str] = field(default_factory=frozenset)

    def enabled(self) -> Definitions:
        """Without the segments that are switched off."""
        kept = tuple(s for s in self.segments if s.enabled)
        names = {s.name for s in kept}
        groups = tuple(replace(g, segments=tuple(n for n in g.segments if n in names)) for g in self.groups)
        return replace(self, segments=kept, groups=tuple(g for g in groups if g.segments))
