"""An event log in memory: event files read, checked and put in the order of application, user by
user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from app.domain.decode import event_of_line
from app.domain.errors import Refused
from app.domain.events import Event
from app.domain.streams import Stream
from app.offline.eventfiles import numbered_lines

Progress = Callable[[str, int, int], None]
"""Called with (phase, done, total); a total of 0 is not known."""

STEP = 20_000  # lines or users between two calls of the progress


@dataclass(slots=True)
class Log:
    """Events by user, each user's in the order of application.

    `count` events are kept, `last` is their largest ts, `skipped` came after the bound; `refused`
    are the lines that do not fit: (place, reason, detail, the line).
    """

    users: dict[str, list[Event]] = field(default_factory=dict)
    count: int = 0
    last: int = 0
    skipped: int = 0
    refused: list[tuple[str, str, str, bytes]] = field(default_factory=list)

    def reasons(self) -> Counter[str]:
        """How many lines were refused for which reason."""
        return Counter(reason for _, reason, _, _ in self.refused)


def read_log(
    files: Iterable[str], streams: Iterable[Stream], until: int | None = None, progress: Progress | None = None
) -> Log:
    """Read event files into memory. Lines that do not fit are kept aside; events after `until` are
    skipped.

    Raises InputError for a file that cannot be read.
    """
    by_name = {stream.name: stream for stream in streams}
    log = Log()
    events: list[Event] = []
    for place, raw in numbered_lines(files):
        if not raw.strip():
            continue
        try:
            event = event_of_line(raw, by_name, place)
        except Refused as error:
            log.refused.append((place, error.reason, error.detail, raw))
            continue
        if until is not None and event.ts > until:
            log.skipped += 1
            continue
        events.append(event)
        if progress is not None and len(events) % STEP == 0:
            progress("reading", len(events), 0)
    events.sort(key=lambda event: (event.ts, event.rank))
    for event in events:
        log.users.setdefault(event.user, []).append(event)
    log.count = len(events)
    log.last = events[-1].ts if events else 0
    return log
