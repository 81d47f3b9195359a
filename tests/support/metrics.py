"""The metrics of a worker: every family the product declares, and what a scrape says."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app.observability.metrics import StreamMetrics
from app.web.metrics import WebMetrics

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def declared() -> set[str]:
    """The names of all families a worker declares."""
    registry = CollectorRegistry()
    StreamMetrics(registry)
    WebMetrics(registry)
    return set(scraped(generate_latest(registry).decode()))


def scraped(text: str) -> dict[str, Samples]:
    """Family → (sample's name, labels) → value, without the instants at which counters were
    made."""
    found: dict[str, Samples] = {}
    for family in text_string_to_metric_families(text):
        if not family.name.endswith("_created"):
            samples = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in family.samples}
            found.setdefault(family.name, {}).update(samples)
    return found


def total(samples: Samples, suffix: str = "") -> float:
    """The sum over all labels of the samples whose name ends so."""
    return sum(value for (name, _labels), value in samples.items() if name.endswith(suffix))
