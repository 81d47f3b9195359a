"""docker/: both files parse, agree with each other and with the settings, and run nothing as
root."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import Settings

DOCKER = Path(__file__).resolve().parents[2] / "docker"
INSTRUCTIONS = {
    "FROM",
    "WORKDIR",
    "ENV",
    "RUN",
    "COPY",
    "USER",
    "EXPOSE",
    "VOLUME",
    "HEALTHCHECK",
    "STOPSIGNAL",
    "ENTRYPOINT",
    "CMD",
    "ARG",
    "LABEL",
}


def _instructions() -> list[tuple[str, str]]:
    """(instruction, arguments), continued lines joined, comments left out."""
    text = "\n".join(
        line for line in (DOCKER / "Dockerfile").read_text().splitlines() if line.strip() and not line.startswith("#")
    )
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return loaded


def test_the_dockerfile_is_made_of_known_instructions() -> None:
    assert {name for name, _ in _instructions()} <= INSTRUCTIONS
    assert _instructions()[0][0] == "FROM"


def test_the_image_is_slim_runs_as_nobody_special_and_tells_its_health() -> None:
    final = _instructions()[max(i for i, (name, _) in enumerate(_instructions()) if name == "FROM") :]
    given = dict(final)
    assert given["FROM"].endswith("-slim")
    assert int(given["USER"]) >= 1_000
    assert "/healthz" in given["HEALTHCHECK"]
    assert given["ENTRYPOINT"] == '["hyperseg"]'


def test_everything_that_is_copied_exists_and_is_let_through() -> None:
    let_through = {
        line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    }
    for name, arguments in _instructions():
        if name == "COPY" and "--from" not in arguments:
            for source in arguments.split()[:-1]:
                assert (DOCKER.parent / source).exists(), source
                assert source in let_through


def test_variables_are_settings(compose: dict[str, Any]) -> None:
    known = {spelled.upper() for name in Settings.model_fields for spelled in (name, name.removesuffix("_ms"))}
    named = {name for service in compose["services"].values() for name in service["environment"]}
    named |= set(re.findall(r"HYPERSEG_\w+(?==)", (DOCKER / "Dockerfile").read_text()))
    assert {name.removeprefix("HYPERSEG_") for name in named if name.startswith("HYPERSEG_")} <= known


def test_the_cluster_is_kafka_two_workers_and_a_shop(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {"kafka", "worker1", "worker2", "shop"}
    assert services["kafka"]["environment"]["KAFKA_PROCESS_ROLES"] == "broker,controller"
    for name in ("worker1", "worker2"):
        assert services[name]["command"] == ["worker"]
        assert services[name]["environment"]["HYPERSEG_WEB_ADVERTISE"] == f"http://{name}:8787"
        assert services[name]["environment"]["HYPERSEG_BROKER"] == "kafka://kafka:9092"


def test_only_the_loopback_is_published(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_named_volume_is_declared(compose: dict[str, Any]) -> None:
    used = {volume.split(":")[0] for service in compose["services"].values() for volume in service.get("volumes", [])}
    assert used == set(compose["volumes"])
