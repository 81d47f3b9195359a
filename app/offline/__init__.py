"""The verbs on event files, without a broker: replay, check, diff, explain, send; one a file, each behind the command of its name."""
