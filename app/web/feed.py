"""The live changes of the whole cluster as this worker saw them."""

from __future__ import annotations


class ChangeFeed:
    """Filled by the tail of the changes topic, read by the web.

    One per worker: `ChangeFeed()`; call `close()` when the worker stops.
    """

    def close(self) -> None:
        """End every open stream, so that the server can stop."""
