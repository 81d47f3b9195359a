"""Which worker has which user (`app.web.ports.Cluster`), from what the group's leader told every
member at the last assignment.

Each member sends its URL with its subscription; Faust's assignor gives everyone the whole
distribution back: URL → topic → partitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.streaming.partitioner import partition_for


class Members:
    """`assignor` is Faust's, `topic` any of the inputs (they are dealt together), `own` this
    worker's URL."""

    def __init__(self, assignor: Any, topic: str, partitions: int, own: str) -> None:
        self._assignor = assignor
        self._topic = topic
        self._partitions = partitions
        self._own = own.rstrip("/")

    def owner(self, user: str) -> str | None:
        """The base URL of the worker that has the user; None: this one. LookupError: nobody just
        now."""
        partition = partition_for(user.encode(), self._partitions)
        for url, topics in self._assignor.external_topics_metadata().items():
            if partition in topics.get(self._topic, ()):
                base = str(url).rstrip("/")
                return None if base == self._own else base
        raise LookupError(user)

    def peers(self) -> Sequence[str]:
        """The base URLs of all other workers that are in the group."""
        urls = {str(url).rstrip("/") for url in self._assignor.external_topics_metadata()}
        return sorted(urls - {self._own})
