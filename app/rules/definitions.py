"""Loading definitions: a text or a folder of files → `Definitions`, keeping what is right and
saying what is wrong, where.

One bad definition is refused with file, line, column, what was found, what was expected and the
nearest valid name; the others keep working.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable
from typing import Any

import yaml

from app.domain import limits
from app.domain.errors import DefinitionError, InputError, nearest
from app.domain.options import EngineOptions
from app.domain.time import duration_ms
from app.domain.views import DefinitionProblem
from app.rules.ast import Node, Path, Prediction
from app.rules.document import Document, compose, expression, plain, where
from app.rules.model import Definitions, Group, Segment
from app.rules.parser import parse
from app.rules.references import check_references
from app.rules.types import Scope, check_condition

__all__ = ["Definitions", "Group", "Segment", "load_folder", "load_text", "load_texts", "problems_of"]

_NAME = re.compile(rf"[a-z][a-z0-9_]{{0,{limits.SEGMENT_NAME_CHARS_MAX - 1}}}")
_SEGMENT_KEYS = (
    "name", "title", "description", "when", "exit_when", "min_dwell", "cooldown", "for_each",
    "max_per_user", "tags", "enabled", "owner",
)  # fmt: skip
_GROUP_KEYS = ("name", "title", "description", "segments")
_ROOT_KEYS = ("segments", "groups")


def load_folder(path: str | pathlib.Path, options: EngineOptions) -> Definitions:
    """Every `.yaml`, `.yml` and `.json` file directly in `path`, by name (`*.test.yaml` are tests
    of definitions and left out). A file's path is taken as it is.

    Raises InputError when there is no such folder or nothing in it.
    """
    folder = pathlib.Path(path)
    if folder.is_file():
        files = [folder]
    elif folder.is_dir():
        files = sorted(f for f in folder.iterdir() if f.suffix in (".yaml", ".yml", ".json") and ".test." not in f.name)
    else:
        raise InputError(
            f"segment definitions: no folder at {folder}; name one with --segments, or make it and put a "
            ".yaml file there"
        )
    if not files:
        raise InputError(f"segment definitions: no .yaml or .json file in {folder}; put one there")
    return load_texts([(str(f), f.read_text(encoding="utf-8", errors="replace")) for f in files], options)


def load_text(text: str, options: EngineOptions, file: str = "definitions") -> Definitions:
    """The definitions in one text."""
    return load_texts([(file, text)], options)


def load_texts(texts: Iterable[tuple[str, str]], options: EngineOptions) -> Definitions:
    """The definitions in several texts, each with the name of its file; names are unique over all
    of them."""
    loader = _Loader(options)
    for file, text in texts:
        loader.read(file, text)
    return loader.finish()


def problems_of(definitions: Definitions) -> list[DefinitionProblem]:
    """What a person is told of definitions that were loaded: those refused, then the warnings of
    the others."""
    refused = [
        DefinitionProblem(
            kind="refused",
            message=error.sentence,
            file=error.file,
            line=error.line,
            column=error.column,
            segment=error.segment,
        )
        for error in definitions.errors
    ]
    return refused + [DefinitionProblem(kind="warning", message=warning) for warning in definitions.warnings]


class _Loader:
    def __init__(self, options: EngineOptions) -> None:
        self._streams = [s.name for s in options.streams if s.behaviour]
        self._segments: list[Segment] = []
        self._groups: list[Group] = []
        self._errors: list[DefinitionError] = []
        self._seen: dict[str, str] = {}

    def read(self, file: str, text: str) -> None:
        try:
            document = compose(text, file)
        except DefinitionError as error:
            self._errors.append(error)
            return
        if document.root is None:
            return
        reader = _Reader(document, self._streams)
        try:
            root = reader.mapping(self._without_models(reader, document.root), _ROOT_KEYS, "a definitions file")
        except DefinitionError as error:
            self._errors.append(error)
            return
        self._read_items(reader, root.get("segments"), reader.segment, self._segments)
        self._read_items(reader, root.get("groups"), reader.group, self._groups)

    def _without_models(self, reader: _Reader, root: yaml.Node) -> yaml.Node:
        """The file's mapping without `models`, which is an error of its own: the segments beside it
        keep working."""
        if not isinstance(root, yaml.MappingNode):
            return root
        models = [key for key, _ in root.value if key.value == "models"]
        self._errors += [
            reader.error(
                key,
                "models are not part of this version",
                '"models"',
                "segments and groups only: score() and cluster() are null",
            )
            for key in models
        ]
        rest = [(key, value) for key, value in root.value if key not in models]
        return yaml.MappingNode(root.tag, rest, root.start_mark, root.end_mark)

    def _read_items(self, reader: _Reader, node: yaml.Node | None, read: Any, into: list[Any]) -> None:
        if node is None:
            return
        if not isinstance(node, yaml.SequenceNode):
            self._errors.append(
                reader.error(node, "a list is needed here", "another value", "a list: each item begins with - name:")
            )
            return
        for item in node.value:
            try:
                found = read(item)
                self._claim(found, reader, item)
                into.append(found)
            except DefinitionError as error:
                error.segment = error.segment or _peek_name(item)
                self._errors.append(error)

    def _claim(self, found: Segment | Group, reader: _Reader, item: yaml.Node) -> None:
        place = f"{found.file}:{found.line}"
        if found.name in self._seen:
            raise reader.error(
                item, "the name is taken", f'"{found.name}"', f"a name of its own: {self._seen[found.name]} has it"
            )
        if len(self._seen) >= limits.DEFINITIONS_MAX:
            raise reader.error(
                item,
                "too many definitions",
                str(len(self._seen) + 1),
                f"at most {limits.DEFINITIONS_MAX} (DEFINITIONS_MAX)",
            )
        self._seen[found.name] = place

    def finish(self) -> Definitions:
        segments, groups, errors = check_references(
            self._segments, self._groups, {e.segment for e in self._errors if e.segment}
        )
        warnings = [w for s in segments for w in _warnings(s)]
        names = frozenset(s.name for s in segments) | frozenset(g.name for g in groups)
        return Definitions(tuple(segments), tuple(groups), (*self._errors, *errors), tuple(warnings), names)


class _Reader:
    """Reads the items of one document."""

    def __init__(self, document: Document, streams: list[str]) -> None:
        self._document = document
        self._streams = streams

    def error(self, node: yaml.Node, message: str, found: str, expected: str, hint: str = "") -> DefinitionError:
        line, column = where(node)
        return DefinitionError(
            message, file=self._document.file, line=line, column=column, found=found, expected=expected, hint=hint
        )

    def mapping(self, node: yaml.Node, keys: tuple[str, ...], what: str) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            raise self.error(
                node,
                f"{what} is a mapping",
                f'"{getattr(node, "value", "")!s:.40}"',
                "keys with values: " + ", ".join(keys),
            )
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = str(key.value)
            if name not in keys:
                raise self.error(key, "unknown key", f'"{name}"', "one of " + ", ".join(keys), nearest(name, keys))
            if name in found:
                raise self.error(key, "the key stands twice", f'"{name}"', "each key once")
            found[name] = value
        return found

    def segment(self, node: yaml.Node) -> Segment:
        keys = self.mapping(node, _SEGMENT_KEYS, "a segment")
        name = self._name(node, keys)
        if "when" not in keys:
            raise self.error(
                node, f"segment {name} has no condition", "no when", "when: any(click, last 7d), for example"
            )
        each = self._for_each(keys["for_each"]) if "for_each" in keys else None
        if each is None and "max_per_user" in keys:
            raise self.error(
                keys["max_per_user"],
                "max_per_user belongs to for_each",
                "no for_each",
                "for_each: click.category beside it",
            )
        return Segment(
            name=name,
            when=self._condition(keys["when"], each is not None),
            exit_when=self._condition(keys["exit_when"], each is not None) if "exit_when" in keys else None,
            min_dwell_ms=self._duration(keys.get("min_dwell")),
            cooldown_ms=self._duration(keys.get("cooldown")),
            for_each=each,
            max_per_user=self._max_per_user(keys.get("max_per_user")),
            title=self._text(keys.get("title"), "title"),
            description=self._text(keys.get("description"), "description"),
            tags=tuple(self._texts(keys.get("tags"), "tags")),
            owner=self._text(keys.get("owner"), "owner"),
            enabled=self._flag(keys.get("enabled")),
            file=self._document.file,
            line=where(node)[0],
        )

    def group(self, node: yaml.Node) -> Group:
        keys = self.mapping(node, _GROUP_KEYS, "a group")
        name = self._name(node, keys)
        members = self._texts(keys.get("segments"), "segments")
        if not members:
            raise self.error(node, f"group {name} has no segments", "none", "segments: [first, second]")
        if len(set(members)) != len(members):
            raise self.error(
                keys["segments"], "a segment stands twice in the group", ", ".join(members), "each segment once"
            )
        title, description = self._text(keys.get("title"), "title"), self._text(keys.get("description"), "description")
        return Group(name, tuple(members), title, description, 1, self._document.file, where(node)[0])

    # --- values of keys --------------------------------------------------------------------------

    def _name(self, node: yaml.Node, keys: dict[str, yaml.Node]) -> str:
        if "name" not in keys:
            raise self.error(node, "a definition needs a name", "none", "name: some_name")
        value = plain(keys["name"])
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            raise self.error(
                keys["name"],
                "the name cannot be used",
                f"{value!r:.80}",
                f"a letter, then letters, digits and _ in lower case, at most {limits.SEGMENT_NAME_CHARS_MAX}",
            )
        return value

    def _condition(self, node: yaml.Node, each: bool) -> Node:
        if not isinstance(node, yaml.ScalarNode):
            raise self.error(
                node,
                "a condition is a text",
                "a list or mapping",
                "when: any(click, last 7d), for example; quote it if it holds ': ' or ' #'",
            )
        raw, place = expression(self._document, node)
        try:
            tree = parse(raw)
            check_condition(tree, Scope(self._streams, None, each))
        except DefinitionError as error:
            line, column = place((error.line, error.column))
            raise DefinitionError(
                error.message,
                file=self._document.file,
                line=line,
                column=column,
                found=error.found,
                expected=error.expected,
                hint=error.hint,
            ) from None
        return tree

    def _for_each(self, node: yaml.Node) -> tuple[str, Path]:
        value = plain(node)
        parts = value.split(".") if isinstance(value, str) else []
        if len(parts) < 2 or not all(parts):
            raise self.error(node, "for_each is a stream and a field", f"{value!r:.80}", "for_each: click.category")
        if parts[0] not in self._streams and parts[0] != "*":
            raise self.error(
                node,
                "unknown stream",
                f'"{parts[0]}"',
                "one of " + ", ".join(self._streams),
                nearest(parts[0], self._streams),
            )
        return parts[0], tuple(parts[1:])

    def _max_per_user(self, node: yaml.Node | None) -> int:
        if node is None:
            return limits.FOR_EACH_VALUES_DEFAULT
        value = plain(node)
        if type(value) is not int or not 1 <= value <= limits.FOR_EACH_VALUES_MAX:
            raise self.error(
                node,
                "max_per_user is out of range",
                f"{value!r:.80}",
                f"a whole number from 1 to {limits.FOR_EACH_VALUES_MAX}",
            )
        return value

    def _duration(self, node: yaml.Node | None) -> int:
        if node is None:
            return 0
        try:
            ms = duration_ms(str(plain(node)))
        except ValueError as error:
            raise self.error(node, str(error), "", "") from None
        if ms > limits.WINDOW_MS_MAX:
            raise self.error(
                node, "the duration is out of range", str(plain(node)), "at most 732d (two years, WINDOW_MS_MAX)"
            )
        return ms

    def _text(self, node: yaml.Node | None, key: str) -> str:
        value = plain(node) if node is not None else ""
        if not isinstance(value, str):
            raise (
                self.error(node, f"{key} is a text", f"{value!r:.80}", "a text") if node is not None else AssertionError
            )
        return value

    def _texts(self, node: yaml.Node | None, key: str) -> list[str]:
        value = plain(node) if node is not None else []
        if node is not None and not (isinstance(value, list) and all(isinstance(v, str) for v in value)):
            raise self.error(node, f"{key} is a list of texts", f"{value!r:.80}", f"{key}: [one, another]")
        return list(value)

    def _flag(self, node: yaml.Node | None) -> bool:
        value = plain(node) if node is not None else True
        if node is not None and type(value) is not bool:
            raise self.error(node, "enabled is true or false", f"{value!r:.80}", "true or false")
        return bool(value)


def _peek_name(item: yaml.Node) -> str:
    """The name of a definition that could not be read, if it has one: others may refer to it."""
    if isinstance(item, yaml.MappingNode):
        for key, value in item.value:
            if key.value == "name" and isinstance(value, yaml.ScalarNode):
                return str(value.value)
    return ""


def _warnings(segment: Segment) -> list[str]:
    predictions = segment.find(Prediction)
    return [
        f'{segment.file}:{segment.line}: segment {segment.name} uses {p.fn}("{p.model}"), which is always '
        "null: this version has no models"
        for p in predictions
    ]
