"""The verbs on event files: replay, check, diff, explain, send; one a file, each behind the command
of its name."""
