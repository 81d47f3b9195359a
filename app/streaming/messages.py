"""What a batch looks like on the topics: changes as CloudEvents, dead letters as they came, the
changelog with its mark last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from app.domain.changes import Change, ChangeKind, encode_change
from app.domain.time import instant_text
from app.streaming.records import Batch, DeadLetter, Headers, Message
from tables import changelog
from tables.changelog import Mark

Outgoing = dict[tuple[str, int], list[Message]]


@dataclass(frozen=True, slots=True)
class Topics:
    """Names and partition counts; inputs, changes and changelog have the same. `source` is the
    CloudEvents source of changes."""

    changes: str
    dead_letters: str
    changelog: str
    source: str
    partitions: int
    dead_letters_partitions: int = 1


class Writer:
    """Builds one partition's messages. `letter_bytes_max`: a longer value of a dead letter is cut
    there, and says so."""

    def __init__(self, topics: Topics, partition: int, log_name: str, letter_bytes_max: int | None = None) -> None:
        self._topics = topics
        self._partition = partition
        self.log_name = log_name
        self._letter_bytes_max = letter_bytes_max
        self._fixed = [
            ("ce_specversion", b"1.0"),
            ("ce_source", topics.source.encode()),
            ("content-type", b"application/json"),
        ]

    def outgoing(self, batch: Batch, now: int) -> Outgoing:
        """Changes and dead letters, by topic and partition, stamped with the wall-clock instant
        `now`."""
        out: Outgoing = {}
        changes: list[Message] = []
        for change in batch.changes:
            key = change.user_id.encode()
            changes.append((key, encode_change(change, now), self._headers(change)))
        if changes:
            out[self._topics.changes, self._partition] = changes
        if batch.letters:
            where = (self._topics.dead_letters, self._partition % self._topics.dead_letters_partitions)
            out[where] = [self._letter(letter, now) for letter in batch.letters]
        return out

    def _headers(self, change: Change) -> Headers:
        return [
            *self._fixed,
            ("ce_id", change.change_id.encode()),
            ("ce_type", _TYPES[change.change]),
            ("ce_time", instant_text(change.at).encode()),
            ("ce_subject", change.user_id.encode()),
        ]

    def _letter(self, letter: DeadLetter, now: int) -> Message:
        value, detail = letter.value, letter.detail
        if value is not None and self._letter_bytes_max is not None and len(value) > self._letter_bytes_max:
            detail = (
                f"{detail} (the broker takes no record of {len(value)} bytes here: cut to {self._letter_bytes_max})"
            )
            value = value[: self._letter_bytes_max]
        headers = [
            ("reason", letter.reason.encode()),
            ("detail", detail.encode("utf-8", "replace")),
            ("topic", letter.topic.encode()),
            ("partition", str(self._partition).encode()),
            ("offset", str(letter.offset).encode()),
            ("received_at", instant_text(now).encode()),
        ]
        return letter.key, value, headers

    def changelog(self, batch: Batch) -> Outgoing:
        """The users' records and, last, the mark."""
        records: list[Message] = [(changelog.user_key(user), raw, []) for user, raw in batch.states]
        mark = Mark(self.log_name, batch.watermark, batch.plan, list(batch.offsets), list(batch.offsets.values()))
        records.append((changelog.MARK_KEY, changelog.encode_mark(mark), []))
        return {(self._topics.changelog, self._partition): records}


_TYPES: dict[ChangeKind, bytes] = {kind: f"hyperseg.segment.{kind}".encode() for kind in get_args(ChangeKind)}
