"""Every limit in one place: units last in names, each with the reason for its number.

Limits that a deployment may want to change are fields of `EngineOptions` (or of the settings); the
rest are fixed here.
"""

from __future__ import annotations

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS

# --- one event -----------------------------------------------------------------------------------
# A shop event is about 250 bytes; 64 KiB leaves room for carts with every line in them.
EVENT_BYTES_MAX = 64 * 1024
EVENT_FIELDS_MAX = 256  # more is a document, not an event
EVENT_STRING_BYTES_MAX = 4 * 1024  # URLs with tracking parameters end well below
EVENT_DEPTH_MAX = 8  # nested objects are reached with a dot; nobody writes nine dots
EVENT_ID_CHARS_MAX = 128
USER_ID_CHARS_MAX = 256
# 1971-01-01: anything below is a timestamp in seconds, never in milliseconds.
TS_MIN_MS = 31_536_000_000
TS_MAX_MS = 253_402_300_799_999  # 9999-12-31: the last instant RFC 3339 can write

# --- one definition ------------------------------------------------------------------------------
# Of segments, groups and streams: a column's width, and a part of every member key.
SEGMENT_NAME_CHARS_MAX = 64
DEFINITION_FILE_BYTES_MAX = 4 * 1024 * 1024  # about 20,000 segments
DEFINITIONS_MAX = 20_000
EXPRESSION_CHARS_MAX = 16 * 1024  # one condition a person can still read is below 2 KiB
# Nested operators; the tree walkers use a few frames a level and Python allows 1,000.
EXPRESSION_DEPTH_MAX = 100
EXPRESSION_NODES_MAX = 2_000  # so that one evaluation stays below a millisecond
CHAIN_STEPS_MAX = 8  # the matching of tied events is a search over subsets of the steps
LIST_ITEMS_MAX = 1_000
WINDOW_MS_MAX = 2 * 366 * DAY_MS  # "from seconds to two years"
WINDOW_MS_MIN = 1
REGEX_CHARS_MAX = 1_000
YAML_NODES_MAX = 400_000  # after expansion of aliases is refused: DEFINITIONS_MAX times 20 nodes

# --- one user ------------------------------------------------------------------------------------
MAX_POINTS = 1_024  # entries one windowed signal keeps for one user: 16 KiB at the most
# Event ids remembered for one user: 9 KiB; a person makes a few hundred events a day.
DEDUPE_IDS_MAX = 1_024
FOR_EACH_VALUES_DEFAULT = 20
FOR_EACH_VALUES_MAX = 1_000
# Recent events kept for one user so that a late one can take its place: about 64 KiB.
REORDER_EVENTS_MAX = 512
# Instants one user's timers may fire at in one call before the rest waits for the next call.
TIMER_STEPS_MAX = 100_000
PROFILE_ATTRIBUTES_MAX = 256

NEVER = 1 << 62  # "no timer": later than every instant, and still a signed 64-bit integer
