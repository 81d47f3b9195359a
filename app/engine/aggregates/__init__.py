"""How the functions of the language are computed: a file a family, each with its overall and its
sliding form (`contract`)."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol, cast

from app.engine.aggregates.contract import Asked, Overall, Sliding
from app.rules.functions import AGGREGATES


class Family(Protocol):
    """A file of this package."""

    def overall(self, asked: Asked) -> Overall[Any]:
        """The form over all entries."""

    def sliding(self, asked: Asked) -> Sliding[Any]:
        """The form over `last W`; only where a function of the family takes a window."""


def _family(name: str) -> Family:
    return cast("Family", import_module(f"{__name__}.{name}"))


FAMILIES = {row.name: _family(row.family) for row in AGGREGATES.values()}
"""By function. The table names the files, so that a new function needs no other place."""


def overall(asked: Asked) -> Overall[Any]:
    """The aggregate of all entries."""
    return FAMILIES[asked.row.name].overall(asked)


def sliding(asked: Asked) -> Sliding[Any]:
    """The aggregate of the entries inside `last W`, for a function that takes a window."""
    assert asked.row.windowed, asked.row.name
    return FAMILIES[asked.row.name].sliding(asked)
