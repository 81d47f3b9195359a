"""What definitions read of events: streams and the fields of theirs that filters, `on`, `for_each`
and functions name."""

from __future__ import annotations

from collections.abc import Iterator

from app.rules import ast
from app.rules.ast import Aggregate, Path, Selector
from app.rules.model import Segment

PROFILE = "profile"


def named(segment: Segment) -> Iterator[tuple[str, Path]]:
    """(stream, field) of everything that a segment's definition reads; an empty field for the
    stream itself."""
    if segment.for_each is not None:
        yield segment.for_each
    for tree in segment.conditions():
        for node in ast.nodes(tree):
            match node:
                case ast.Profile(path):
                    yield PROFILE, ("attributes", *path)
                case ast.Consent(name):
                    yield PROFILE, ("consent", name)
                case Aggregate():
                    yield from read_of(node)
                case _:
                    pass  # nothing else names a field of a stream by itself


def read_of(node: Aggregate) -> Iterator[tuple[str, Path]]:
    """(stream, field) of what an aggregate reads."""
    yield from _selected(node.selector, () if node.field is None else (node.field,))


def carried(node: Aggregate) -> frozenset[str]:
    """The top-level fields that a match of a pattern must remember: the aggregate's own and those
    that parts are matched on."""
    on = {
        part.on[0]
        for part in ast.nodes(node.selector)
        if isinstance(part, ast.Chain | ast.Absence) and part.on is not None
    }
    return frozenset(on if node.field is None else on | {node.field[0]})


def _selected(selector: Selector, wanted: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
    """`wanted` are fields of the matches: a chain's are its last step's, an absence's those of what
    it waits for; `on` is every part's."""
    match selector:
        case ast.Events(stream, where):
            yield stream, ()
            yield from ((stream, path) for path in wanted)
            yield from ((stream, path) for path in _filtered(where))
        case ast.Chain(steps, on, _):
            matched = () if on is None else (on,)
            for step in steps:
                yield from _selected(step, (*matched, *(wanted if step is steps[-1] else ())))
        case ast.Absence(first, missing, on, _):
            matched = () if on is None else (on,)
            yield from _selected(first, (*matched, *wanted))
            yield from _selected(missing, matched)


def _filtered(where: ast.Node | None) -> Iterator[Path]:
    for node in ast.nodes(where) if where is not None else ():
        if isinstance(node, ast.Field):
            yield node.path
        elif isinstance(node, ast.WithinKm):
            yield from (("lat",), ("lon",))
