"""Duplicates: an event whose id was applied less than `dedupe_window` before counts once."""

from __future__ import annotations

from app.domain.events import Event
from app.domain.options import EngineOptions
from app.engine.state import SHORT_ID_CHARS, UserState, remembered_id


class Window:
    """The ids remembered of each user: for `dedupe_window_ms`, at most `dedupe_ids_max` of them."""

    def __init__(self, options: EngineOptions) -> None:
        self._window_ms = options.dedupe_window_ms
        self._ids_max = max(1, options.dedupe_ids_max)

    def has(self, state: UserState, event: Event) -> bool:
        """Whether an event of the same id is remembered."""
        if not event.has_id:
            return False
        before = state.seen.get(remembered_id(event.id))
        return before is not None and event.ts - before < self._window_ms

    def remember(self, state: UserState, event: Event) -> None:
        """Note an event that has an id; what is too old, or one too many, is forgotten."""
        seen, ts = state.seen, event.ts
        name = event.id if len(event.id) <= SHORT_ID_CHARS else remembered_id(event.id)
        if seen:
            seen.pop(name, None)
            edge, most = ts - self._window_ms, self._ids_max
            while seen:
                oldest = next(iter(seen))
                if seen[oldest] > edge and len(seen) < most:
                    break
                del seen[oldest]
        seen[name] = ts
