"""The README cannot go stale: what it shows is what the commands print, of a shop that lives."""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from app.broker.embedded import EmbeddedBroker
from app.broker.publisher import Publisher
from app.domain.decode import decode_event
from app.domain.options import EngineOptions
from app.engine.engine import Engine
from app.engine.state import UserState
from app.rules.definitions import load_folder
from app.rules.plan import compile_plan

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROSE = " ".join(README.split())  # wherever its lines are broken
SHOWN = [
    (command, output)
    for block in re.findall(r"^```console\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
]


pytestmark = pytest.mark.xdist_group("readme")  # the commands are run once


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the definitions beside it, as a clone has them."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "segments", folder / "segments")
    return folder


@pytest.fixture(scope="module")
def printed(clone: Path) -> list[str]:
    """What each command of the `console` blocks prints, run in their order."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}

    def shell(command: str) -> str:
        strict = ["bash", "-euo", "pipefail", "-c", command]
        return subprocess.run(strict, cwd=clone, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout

    return [shell(command) for command, _ in SHOWN]


def shop(clone: Path) -> list[dict[str, Any]]:
    """The events of the example, in the order of time."""
    with zstandard.open(clone / "shop.jsonl.zst", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def by_command(printed: list[str], word: str) -> Iterator[tuple[str, str]]:
    """(shown, printed) of the commands with a word in them."""
    return ((output, out) for (command, output), out in zip(SHOWN, printed, strict=True) if word in command)


def test_the_commands_print_what_is_shown(printed: list[str]) -> None:
    assert len(SHOWN) >= 6
    for (command, output), out in zip(SHOWN, printed, strict=True):
        if not output.startswith("{"):
            assert out == output, command


def test_the_change_is_as_shown(printed: list[str]) -> None:
    (pair,) = by_command(printed, "grep cart_abandoner")
    assert json.loads(pair[0]) == json.loads(pair[1])
    assert json.loads(pair[0])["facts"]


def test_the_example_is_a_shop_that_lives(printed: list[str], clone: Path) -> None:
    """The segments that the page shows have somebody and not everybody, the first of it before
    all."""
    members: dict[str, set[str]] = {}
    for line in (clone / "changes.jsonl").read_text(encoding="utf-8").splitlines():
        change = json.loads(line)
        if change["value"] is None and change["group"] is None:
            of = members.setdefault(change["segment"], set())
            (of.add if change["change"] == "entered" else of.discard)(change["user_id"])
    users = {event["user_id"] for event in shop(clone)}
    shares = {name: len(of) / len(users) for name, of in members.items()}
    assert 0.1 < shares["cart_abandoner"] < 0.25, "about a sixth"
    assert 0.01 < shares["loyal_high_value"] < 0.1
    assert 0.3 < shares["engaged"] < 0.7
    assert 0.2 < shares["mobile_shopper"] < 0.6


def test_a_user_takes_the_bytes_that_are_told(printed: list[str], clone: Path) -> None:
    options = EngineOptions()
    engine = Engine(compile_plan(load_folder(ROOT / "segments", options), options), options)
    streams = {stream.name: stream for stream in options.streams}
    states: dict[str, UserState] = {}
    events = shop(clone)
    for number, record in enumerate(events):
        stream = streams[record.pop("type")]
        event = decode_event(json.dumps(record).encode(), stream, record["user_id"].encode(), str(number))
        engine.apply(states.setdefault(event.user, engine.new_state(event.user)), event, event.ts)
    sizes = [len(engine.encode(state)) for state in states.values()]
    mean, median = statistics.mean(sizes) / 1000, statistics.median(sizes) / 1000
    told = re.search(r"(\d+) events each in that week, take ([\d.]+) kB on average, ([\d.]+) kB in the med", PROSE)
    assert told is not None
    assert told.groups() == (f"{len(events) / len(states):.0f}", f"{mean:.1f}", f"{median:.1f}")


@pytest.mark.parametrize(
    "figure", ["5,317 – 6,425", "157 – 168", "5.3", "p50 170 ms, p99 501 ms", "two cores", "100,000 users"]
)
def test_a_measured_figure_stands_on_the_page_it_is_from(figure: str) -> None:
    assert figure in PROSE
    assert figure in " ".join((ROOT / "docs" / "performance.md").read_text(encoding="utf-8").split())


# --- the walk: what takes a broker and minutes there is shown here on the embedded one ----------


def _change(number: int, at: int) -> bytes:
    return json.dumps({"change_id": f"c{number}", "at": at}).encode()


def _compare(broker: EmbeddedBroker, replayed: Path, until: str) -> tuple[int, str]:
    (script,) = re.findall(r"^python (docs/\S+) 127", README, re.MULTILINE)
    command = [sys.executable, script, broker.bootstrap, str(replayed), until]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False, timeout=60)
    return done.returncode, done.stdout


def test_the_walk_compares_what_was_written_with_what_was_replayed(tmp_path: Path) -> None:
    replayed = tmp_path / "replayed.jsonl"
    replayed.write_bytes(b"".join(_change(number, 1_000) + b"\n" for number in range(50)))
    with EmbeddedBroker() as broker:
        with Publisher(broker.bootstrap) as publisher:
            for number in range(50):
                publisher.put("segment-changes", f"u{number}".encode(), _change(number, 1_000))
            publisher.put("segment-changes", b"u0", _change(50, 61_000))
        told = "{} changes in the topic, 50 in the replay: {} missing, {} too many\n"
        assert _compare(broker, replayed, "1970-01-01T00:01:00Z") == (0, told.format(50, 0, 0))
        assert _compare(broker, replayed, "1970-01-01T00:02:00Z") == (1, told.format(51, 0, 1))
        with Publisher(broker.bootstrap) as publisher:
            publisher.put("segment-changes", b"u7", _change(7, 1_000))
        assert _compare(broker, replayed, "1970-01-01T00:01:00Z") == (1, told.format(51, 0, 1)), "doubled"
        replayed.write_bytes(replayed.read_bytes() + _change(99, 1_000))
        code, said = _compare(broker, replayed, "1970-01-01T00:01:00Z")
        assert (code, "1 missing" in said) == (1, True)


def test_the_walk_says_what_a_comparison_says() -> None:
    (shown,) = re.findall(r"^```text\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert re.fullmatch(r"(\d+) changes in the topic, \1 in the replay: 0 missing, 0 too many\n", shown)
