"""The topics hyperseg needs: created where the broker allows it, accepted as they are where they
exist, refused where they cannot work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, KafkaError, for_code

from app.broker.security import Security
from app.domain.errors import Unreachable, UsageError
from app.domain.streams import Stream

_LEADERS_S_MAX = 15.0
_POLL_S = 0.1
_EMBEDDED_CLUSTER = "mockCluster"
_FORBIDDEN = {"TopicAuthorizationFailedError", "ClusterAuthorizationFailedError", "PolicyViolationError"}
_COMPACTED = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"}


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `together`: it has as many partitions as all others of that kind, because one task
    owns the same partition of each."""

    name: str
    together: bool = True
    compacted: bool = False
    partitions: int | None = None  # what a topic that is not `together` is created with


@dataclass(frozen=True, slots=True)
class Shape:
    """How topics that are lacking are created."""

    partitions: int = 4
    replication: int = 1


async def ensure_topics(
    bootstrap: str, topics: Sequence[Topic], shape: Shape | None = None, security: Security | None = None
) -> int:
    """Sees to it that `topics` exist; gives the number of partitions of those that belong together.

    Topics that exist keep the partitions they have, and decide how many the others of `together`
    get. The embedded broker has no CreateTopics: asking for them makes them. Raises UsageError when
    existing ones disagree or creating is refused, Unreachable when no broker answers.
    """
    admin = await _connect(bootstrap, security or Security())
    try:
        if (await admin.describe_cluster())["cluster_id"].startswith(_EMBEDDED_CLUSTER):
            await _described(admin, [topic.name for topic in topics])
        return await _ensure(admin, topics, shape or Shape())
    except (KafkaError, TimeoutError) as error:
        raise Unreachable(f"broker {bootstrap}: {_said(error)}; see the broker's log") from error
    finally:
        await admin.close()


async def _connect(bootstrap: str, security: Security) -> Any:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=15_000, **security.aiokafka_options())
    try:
        await admin.start()
    except (KafkaError, OSError) as error:
        await admin.close()
        what = "no answer" if isinstance(error, KafkaConnectionError) else _said(error)
        raise Unreachable(
            f"broker {bootstrap}: cannot be reached: {what}; start it (hyperseg broker) or mend --broker"
        ) from error
    return admin


async def _ensure(admin: Any, topics: Sequence[Topic], shape: Shape) -> int:
    existing = await _settled(admin, topics)
    partitions = _common(topics, existing) or shape.partitions
    if lacking := [topic for topic in topics if topic.name not in existing]:
        await _create(admin, lacking, partitions, shape.replication)
        await _settled(admin, topics, all_of_them=True)
    return partitions


async def _settled(admin: Any, topics: Sequence[Topic], all_of_them: bool = False) -> dict[str, int]:
    """Topic → partitions, once every one of `topics` that exists (or `all_of_them`) has its
    leaders: just after creation they have none."""
    absent = 0 if all_of_them else 1
    async with asyncio.timeout(_LEADERS_S_MAX):
        while True:
            known = await _described(admin, None)
            if all(known.get(topic.name, absent) for topic in topics):
                return known
            await asyncio.sleep(_POLL_S)


def _common(topics: Iterable[Topic], existing: dict[str, int]) -> int | None:
    """The one number of partitions of the existing topics that belong together; None when there are
    none."""
    counts = {topic.name: existing[topic.name] for topic in topics if topic.together and topic.name in existing}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name} has {count}" for name, count in sorted(counts.items()))
        raise UsageError(
            f"topics: all that are keyed by user need the same number of partitions; {found}; recreate "
            "those that differ"
        )
    return next(iter(counts.values()), None)


async def _described(admin: Any, names: list[str] | None) -> dict[str, int]:
    """Topic → partitions, of those that exist; a topic whose leaders are not chosen yet counts with
    0."""
    described = await admin.describe_topics(names)
    return {t["topic"]: _led(t) for t in described if t["error_code"] == 0}


def _led(topic: dict[str, Any]) -> int:
    return len(topic["partitions"]) if all(p["leader"] >= 0 for p in topic["partitions"]) else 0


async def _create(admin: Any, lacking: Sequence[Topic], partitions: int, replication: int) -> None:
    new = [
        NewTopic(
            topic.name,
            partitions if topic.together else topic.partitions or partitions,
            replication,
            topic_configs=_configs(topic),
        )
        for topic in lacking
    ]
    answer = await admin.create_topics(new)
    for name, code, *said in answer.topic_errors:
        error = for_code(code)
        # Another worker, starting too, was first.
        if code == 0 or error.__name__ == "TopicAlreadyExistsError":
            continue
        _refuse(name, error.__name__, said[0] if said else "", partitions)


def _configs(topic: Topic) -> dict[str, str]:
    return dict(_COMPACTED) if topic.compacted else {}


def _refuse(name: str, error: str, said: str | None, partitions: int) -> None:
    if error in _FORBIDDEN:
        raise UsageError(
            f"topic {name}: does not exist and may not be created by this user; create it with {partitions} partitions"
        )
    if error == "InvalidReplicationFactorError":
        raise UsageError(f"topic {name}: {said or error}; set replication to at most the number of brokers")
    raise UsageError(f"topic {name}: could not be created: {said or error}; create it with {partitions} partitions")


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


def ensure_inputs(
    bootstrap: str, streams: Iterable[Stream], shape: Shape, security: Security | None = None
) -> dict[str, str]:
    """`ensure_topics` for the input streams, from code with no event loop running; gives stream
    name → topic."""
    topics = {stream.name: stream.topic for stream in streams}
    asyncio.run(ensure_topics(bootstrap, [Topic(name) for name in topics.values()], shape, security))
    return topics
