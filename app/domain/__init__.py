"""The vocabulary every layer shares: events, changes, errors, ids, limits. Pure: no I/O, no clock,
no settings."""
