"""Looking through trees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from app.rules import ast
from app.rules.ast import Node
from app.rules.model import Segment

N = TypeVar("N", bound=Node)


def nodes(node: Node) -> Iterator[Node]:
    """`node` and everything below it, parents first."""
    yield node
    for child in ast.children(node):
        yield from nodes(child)


def conditions(segment: Segment) -> Iterator[Node]:
    """The trees of one segment."""
    yield segment.when
    if segment.exit_when is not None:
        yield segment.exit_when


def find(segment: Segment, kind: type[N]) -> list[N]:
    """Every node of `kind` in a segment's conditions, in reading order."""
    return [node for tree in conditions(segment) for node in nodes(tree) if isinstance(node, kind)]
