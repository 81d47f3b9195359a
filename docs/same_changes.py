#!/usr/bin/env python3
"""Are the changes in the topic those of a replay? `segment-changes` as committed, against `replay
--out`.

    python docs/same_changes.py 127.0.0.1:9092 replayed.jsonl 2026-11-22T10:00:00Z

The instant is the replay's `--until`; what the workers wrote of a later one is left out. Exit 1
when a change is missing, added or doubled.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

TOPIC = "segment-changes"


def written(bootstrap: str) -> Iterator[dict[str, Any]]:
    """Every committed change, from the beginning of the topic to its present end."""
    reader = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "same-changes", "enable.auto.commit": False,
        "isolation.level": "read_committed", "enable.partition.eof": True,
    })  # fmt: skip
    partitions = reader.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
    reader.assign([TopicPartition(TOPIC, partition, OFFSET_BEGINNING) for partition in partitions])
    left = len(partitions)
    while left:
        message = reader.poll(10)
        if message is None:
            continue
        if (error := message.error()) is None:
            yield json.loads(message.value())
        elif error.code() == KafkaError._PARTITION_EOF:
            left -= 1
        else:
            raise KafkaException(error)
    reader.close()


def main(bootstrap: str, replayed: str, until: str) -> int:
    """Compares, says what it found, gives the exit code."""
    last = datetime.fromisoformat(until).timestamp() * 1000
    in_topic = Counter(change["change_id"] for change in written(bootstrap) if change["at"] <= last)
    in_replay = Counter(json.loads(line)["change_id"] for line in Path(replayed).read_text().splitlines())
    missing, added = (in_replay - in_topic).total(), (in_topic - in_replay).total()
    counts = f"{in_topic.total()} changes in the topic, {in_replay.total()} in the replay"
    sys.stdout.write(f"{counts}: {missing} missing, {added} too many\n")
    return int(missing or added)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
