"""What is changed in aiokafka itself, for the whole process: `install` it before the first producer
is made.

Beside these patches, internals of aiokafka and Faust are subclassed in `transport` and read in
`fetching` (the fetcher and its state), `transport` (the coordinator), `watchdog` (their tasks),
`outbox` (what a producer still holds when it is closed) and `changes_tail` (the metadata).
tests/unit/test_streaming_overrides.py holds a test for each of them that fails when that internal
changes, and one that fails when another file reaches into aiokafka.
"""

from __future__ import annotations

import logging
import sys
from functools import partial

from aiokafka.codec import lz4_encode
from aiokafka.producer import sender
from aiokafka.record.default_records import DefaultRecordBatchBuilder

TRANSACTION_BACKOFF_S = 0.003
LZ4_LEVEL = 1


def install() -> None:
    """Patches aiokafka; calling it again changes nothing more."""
    # A transaction begun while the previous one's markers are still being written is refused for an
    # instant: that is no news, and waiting the 20 ms that aiokafka waits then would double the
    # median of a commit.
    logging.getLogger("aiokafka.producer.sender").setLevel(logging.ERROR)
    sender.BACKOFF_OVERRIDE = TRANSACTION_BACKOFF_S
    # aiokafka compresses lz4 at level 9: twelve times the CPU of level 1 for a quarter less bytes,
    # which was a fifth of the hot path.
    vars(sys.modules[DefaultRecordBatchBuilder.__module__])["lz4_encode"] = partial(lz4_encode, level=LZ4_LEVEL)
