"""Every error the product raises on purpose, named by the reader's next move.

HypersegError
├── InputError            the input is wrong: mend the file, the flag or the record        (exit 1)
│   ├── DefinitionError   a segment definition is wrong: mend it where it points
│   └── Refused           one record does not fit: it goes to the dead letters, never stops a stream
├── UsageError            the command or a setting is wrong: call again, corrected          (exit 2)
└── Unreachable           something outside is not there: start it, or mend its address     (exit 3)

Messages read: what · where · found · what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Literal

RefusalReason = Literal[
    "not_json",
    "bad_field",
    "no_user",
    "too_large",
    "key_mismatch",
    "bad_ts",
    "unknown_type",
    "too_late",
    "in_future",
    "internal",
]
"""Why a record is refused, as it stands in the dead letter's header. `unknown_type` occurs in event
files only."""


class HypersegError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what a command ends with."""

    exit_code = 1


class InputError(HypersegError):
    """The input or the definitions are wrong."""

    exit_code = 1


class UsageError(HypersegError):
    """The command line or a setting is wrong."""

    exit_code = 2


class Unreachable(HypersegError):
    """Something this process needs (a broker, a file system, Java) cannot be reached."""

    exit_code = 3


class DefinitionError(InputError):
    """One definition cannot be used.

    `file`, `line` and `column` (both from 1) say where; `found` and `expected` what; `hint` the
    nearest valid name.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str = "",
        line: int = 0,
        column: int = 0,
        found: str = "",
        expected: str = "",
        hint: str = "",
        segment: str = "",
    ) -> None:
        self.message = message
        self.file = file
        self.line = line
        self.column = column
        self.found = found
        self.expected = expected
        self.hint = hint
        self.segment = segment
        super().__init__(str(self))

    def __str__(self) -> str:
        return f"{self.file or 'definition'}:{self.line}:{self.column}: {self.sentence}"

    @property
    def sentence(self) -> str:
        """What is wrong and what to do, without the place."""
        parts = [self.message]
        if self.found:
            parts.append(f"found {self.found}")
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.hint:
            parts.append(f"did you mean {self.hint}?")
        return "; ".join(parts)


def half_character(error: UnicodeEncodeError, file: str = "") -> DefinitionError:
    """The error for a text that cannot be written in UTF-8, at its place."""
    text, start = error.object, error.start
    line, column = text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
    return DefinitionError("half a character", file=file, line=line, column=column, found=repr(text[start]))


class Refused(InputError):
    """One record does not fit; `reason` is the dead letter's machine-readable reason, `detail` its
    sentence."""

    def __init__(self, reason: RefusalReason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


def nearest(name: str, names: Iterable[str]) -> str:
    """The valid name closest to `name`, quoted for a message, or '' when none is close."""
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f'"{found[0]}"' if found else ""
