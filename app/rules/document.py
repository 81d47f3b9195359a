"""YAML (or JSON) text → nodes with positions, safely: bounded size, depth and count, no aliases, no
tags that build objects.

An expression keeps its place: `expression(node)` gives its raw text and a function from a position
within it to the file's line and column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from app.domain import limits
from app.domain.errors import DefinitionError, half_character
from app.rules.ast import Pos

_DEPTH_MAX = 16  # segments → segment → list is three; JSON over HTTP adds one or two
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Document:
    """One file's text and its root node (None when it is empty)."""

    file: str
    text: str
    root: yaml.Node | None


def compose(text: str, file: str) -> Document:
    """The document in `text`. Raises DefinitionError with the position of what is wrong."""
    if len(text) > limits.DEFINITION_FILE_BYTES_MAX:
        raise DefinitionError(
            "the file is too large",
            file=file,
            line=1,
            column=1,
            found=f"{len(text)} characters",
            expected=f"at most {limits.DEFINITION_FILE_BYTES_MAX}: split it",
        )
    try:
        text.encode()
        _check_events(text, file)
        return Document(file, text, yaml.compose(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = _inside(text, (mark.line + 1, mark.column + 1) if mark else (1, 1))
        raise DefinitionError(
            f"not YAML: {error.problem or error.context}", file=file, line=line, column=column
        ) from None
    except UnicodeEncodeError as error:
        raise half_character(error, file) from None
    except yaml.YAMLError as error:
        raise DefinitionError(f"not YAML: {error}", file=file, line=1, column=1) from None


def _inside(text: str, pos: Pos) -> Pos:
    """libyaml puts an end that comes too early on the line after the last."""
    lines = text.splitlines() or [""]
    return pos if pos[0] <= len(lines) else (len(lines), len(lines[-1]) + 1)


def _check_events(text: str, file: str) -> None:
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_LOADER), 1):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        problem = _problem(event, depth, count)
        if problem:
            mark: Any = event.start_mark
            raise DefinitionError(problem, file=file, line=mark.line + 1, column=mark.column + 1)


def _problem(event: Any, depth: int, count: int) -> str:
    if isinstance(event, yaml.AliasEvent):
        return "YAML aliases are not read here: write the value out"
    if depth > _DEPTH_MAX:
        return f"nested deeper than {_DEPTH_MAX}"
    if count > limits.YAML_NODES_MAX:
        return f"more than {limits.YAML_NODES_MAX} nodes (YAML_NODES_MAX): split the file"
    return ""


def where(node: yaml.Node) -> Pos:
    """Line and column of a node, from 1."""
    return (node.start_mark.line + 1, node.start_mark.column + 1)


def expression(document: Document, node: yaml.ScalarNode) -> tuple[str, Callable[[Pos], Pos]]:
    """The text of an expression and how its positions map into the file."""
    line, column = where(node)
    if node.style in ("'", '"'):
        return str(node.value), lambda pos: (line + pos[0] - 1, (column if pos[0] == 1 else 0) + pos[1])
    raw = document.text[node.start_mark.index : node.end_mark.index]
    if node.style in ("|", ">"):
        _, _, body = raw.partition("\n")
        return body, lambda pos: (line + pos[0], pos[1])
    return raw, lambda pos: (line + pos[0] - 1, (column - 1 if pos[0] == 1 else 0) + pos[1])


def plain(node: yaml.Node) -> Any:
    """The node as plain values: text, number, boolean, null, list or dict (later duplicates of a
    key are refused elsewhere)."""
    if isinstance(node, yaml.SequenceNode):
        return [plain(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {plain(key): plain(value) for key, value in node.value}
    loader = _LOADER("")
    try:
        return loader.construct_object(node)
    except yaml.YAMLError:
        return node.value
    finally:
        loader.dispose()
