"""The simulated shop: the same bytes for a seed, sensible people, the rate asked for, and the noise
asked for."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter, defaultdict
from itertools import islice
from pathlib import Path

import orjson
import pytest

from app import cli
from app.domain.decode import decode_event
from app.domain.errors import Refused
from app.domain.streams import DEFAULT_STREAMS
from app.offline.eventfiles import read_lines
from app.simulate.noise import NoiseOptions, Record, records
from app.simulate.run import to_broker, typed
from app.simulate.shop import START_DEFAULT_MS, ShopEvent, ShopOptions, events

STREAMS = {stream.name: stream for stream in DEFAULT_STREAMS}
TOPICS = {stream.name: stream.topic for stream in DEFAULT_STREAMS}
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def day() -> list[ShopEvent]:
    return list(events(ShopOptions(users=500, rate=1.0, seed=3, hours=24)))


def _lines(seed: int, **noise: float) -> bytes:
    shop = events(ShopOptions(users=200, rate=2.0, seed=seed, hours=1, bots=1))
    return b"\n".join(typed(record) for record in records(shop, NoiseOptions(**noise), seed))


def test_a_seed_repeats_to_the_byte() -> None:
    noise = {"duplicates": 0.05, "late": 0.05, "malformed": 0.05}
    assert _lines(7, **noise) == _lines(7, **noise)
    assert _lines(7) != _lines(8)


def test_events_are_in_time_order_with_ids_of_their_own(day: list[ShopEvent]) -> None:
    instants = [event["ts"] for _, event in day]
    assert instants == sorted(instants)
    assert instants[0] >= START_DEFAULT_MS
    assert instants[-1] < START_DEFAULT_MS + 24 * HOUR_MS
    assert len({event["event_id"] for _, event in day}) == len(day)


def test_every_event_fits(day: list[ShopEvent]) -> None:
    for stream, event in day:
        decoded = decode_event(orjson.dumps(event), STREAMS[stream], event["user_id"].encode(), "x")
        assert decoded.user == event["user_id"]


@pytest.mark.parametrize("rhythm", [True, False])
def test_the_rate_is_the_one_asked_for(rhythm: bool) -> None:
    shop = ShopOptions(users=2_000, rate=2.0, seed=11, hours=24, rhythm=rhythm)
    made = sum(1 for stream, _ in events(shop) if stream != "profile")
    assert made == pytest.approx(2.0 * 24 * 3600, rel=0.08)


def test_the_first_minute_is_as_busy_as_the_others() -> None:
    shop = ShopOptions(users=1_000, rate=20.0, seed=2, hours=0.05, rhythm=False)
    minutes = Counter((event["ts"] - shop.start) // 60_000 for stream, event in events(shop) if stream != "profile")
    assert minutes[0] == pytest.approx(1_200, rel=0.2)


def test_nights_are_quiet_and_evenings_busy(day: list[ShopEvent]) -> None:
    hours = Counter(event["ts"] // HOUR_MS % 24 for _, event in day)
    assert sum(hours[hour] for hour in range(1, 5)) < 0.4 * sum(hours[hour] for hour in range(18, 22))


def test_few_users_come_often(day: list[ShopEvent]) -> None:
    visits = Counter(event["user_id"] for _, event in day)
    top = sum(count for _, count in visits.most_common(len(visits) // 10))
    assert 0.2 < top / len(day) < 0.7


def test_a_profile_comes_once_and_first(day: list[ShopEvent]) -> None:
    seen: dict[str, str] = {}
    for stream, event in day:
        assert (stream == "profile") == (event["user_id"] not in seen)
        seen.setdefault(event["user_id"], stream)


def test_orders_follow_checkouts_which_follow_carts(day: list[ShopEvent]) -> None:
    begun = {
        event["cart_id"] for _, event in day if "cart_id" in event and event["ts"] < START_DEFAULT_MS + HOUR_MS
    }  # perhaps before the start
    added = begun | {event["cart_id"] for stream, event in day if stream == "cart" and event["action"] == "add"}
    checked_out = {event["cart_id"] for _, event in day if event.get("page") == "checkout"}
    bought = Counter(event["cart_id"] for stream, event in day if stream == "purchase")
    assert checked_out - added == set()
    assert bought.keys() - checked_out <= begun
    assert 0 < len(bought) < len(checked_out) < len(added)
    assert set(bought.values()) == {1}


def test_an_order_is_the_sum_of_its_cart(day: list[ShopEvent]) -> None:
    lines: dict[str, list[float]] = defaultdict(list)
    for stream, event in day:
        if stream == "cart":
            sign = 1 if event["action"] == "add" else -1
            lines[event["cart_id"]].append(sign * event["price"] * event["quantity"])
    begun = {event["cart_id"] for _, event in day if "cart_id" in event and event["ts"] < START_DEFAULT_MS + HOUR_MS}
    orders = [event for stream, event in day if stream == "purchase" and event["cart_id"] not in begun]
    assert len(orders) > 100
    for order in orders:
        off = int(order["coupon"][-2:]) if order["coupon"] else 0
        assert order["amount"] == pytest.approx(sum(lines[order["cart_id"]]) * (100 - off) / 100, abs=0.02)


def test_bots_click_day_and_night() -> None:
    made = list(events(ShopOptions(users=10, rate=0.1, seed=1, hours=1, bots=2)))
    clicks = Counter(event["user_id"] for _, event in made)
    assert clicks["bot0"] == clicks["bot1"] == 7_200


def test_two_starts_share_no_event_id() -> None:
    first = {event["event_id"] for _, event in islice(events(ShopOptions(hours=None)), 500)}
    second = {
        event["event_id"] for _, event in islice(events(ShopOptions(hours=None, start=START_DEFAULT_MS + 5_000)), 500)
    }
    assert not first & second


def _noisy(day: list[ShopEvent], **noise: float) -> list[Record]:
    return list(records(day, NoiseOptions(**noise), 5))


def test_without_noise_every_event_is_delivered_at_its_time(day: list[ShopEvent]) -> None:
    made = _noisy(day)
    assert [orjson.loads(record.value) for record in made] == [event for _, event in day]
    assert all(record.due == event["ts"] for record, (_, event) in zip(made, day, strict=True))


def test_duplicates_are_the_same_bytes_a_little_later(day: list[ShopEvent]) -> None:
    made = _noisy(day, duplicates=0.1)
    counts = Counter(record.value for record in made)
    assert set(counts.values()) == {1, 2}
    assert len(made) == pytest.approx(len(day) * 1.1, rel=0.02)
    assert [record.due for record in made] == sorted(record.due for record in made)


def test_late_events_keep_their_ts(day: list[ShopEvent]) -> None:
    made = _noisy(day, late=0.1)
    late = [record for record in made if record.due > orjson.loads(record.value)["ts"]]
    assert len(late) == pytest.approx(len(day) * 0.1, rel=0.1)
    assert len(made) == len(day)
    assert max(record.due - orjson.loads(record.value)["ts"] for record in late) <= 30 * 60_000


def test_malformed_records_are_refused_and_take_no_event_away(day: list[ShopEvent]) -> None:
    made = _noisy(day, malformed=0.1)
    refused: Counter[str] = Counter()
    for record in made:
        try:
            decode_event(record.value, STREAMS[record.stream], record.user.encode(), "x")
        except Refused as error:
            refused[error.reason] += 1
    assert len(made) - sum(refused.values()) == len(day)
    assert {"not_json", "bad_field", "no_user", "bad_ts"} <= set(refused)


class _Sink:
    def __init__(self) -> None:
        self.put_: list[tuple[str, bytes | None, bytes]] = []

    def put(self, topic: str, key: bytes | None, value: bytes) -> None:
        self.put_.append((topic, key, value))


def test_records_go_to_their_topics_under_their_users(day: list[ShopEvent]) -> None:
    sink = _Sink()
    counts = to_broker(_noisy(day[:200]), sink, TOPICS)
    assert counts == Counter(stream for stream, _ in day[:200])
    assert [topic for topic, _, _ in sink.put_] == [TOPICS[stream] for stream, _ in day[:200]]
    assert [key for _, key, _ in sink.put_] == [event["user_id"].encode() for _, event in day[:200]]


def test_real_time_keeps_the_pace_and_can_be_stopped() -> None:
    made = [Record(1_000 + due, "click", "u", b"{}") for due in (0, 10, 150, 3_600_000)]
    stop, sink = threading.Event(), _Sink()
    threading.Timer(0.4, stop.set).start()
    began = time.monotonic()
    assert to_broker(made, sink, TOPICS, paced_from=1_000, stop=stop) == {"click": 3}
    assert 0.35 < time.monotonic() - began < 5


@pytest.mark.parametrize("name", ["e.jsonl", "e.jsonl.zst"])
def test_the_command_writes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    path = tmp_path / name
    assert (
        cli.run(["simulate", "--users", "50", "--rate", "1", "--seed", "4", "--hours", "0.5", "--to", str(path)]) == 0
    )
    made = [orjson.loads(line) for line in read_lines(path)]
    assert {event["type"] for event in made} <= set(STREAMS)
    assert f"{len(made)} events: " in capsys.readouterr().err


def test_a_shop_that_ends_now_has_its_hours_behind_it(tmp_path: Path) -> None:
    """What is sent of it to a worker whose clock is the wall's is recent, and nothing of it is in
    the future."""
    path = tmp_path / "e.jsonl"
    before = int(time.time() * 1000)
    assert cli.run(["simulate", "--users", "50", "--rate", "1", "--hours", "2", "--end", "now", "--to", str(path)]) == 0
    instants = [orjson.loads(line)["ts"] for line in read_lines(path)]
    assert before - 2 * HOUR_MS <= instants[0] < before - HOUR_MS
    assert before - HOUR_MS < instants[-1] <= int(time.time() * 1000)


def test_a_shop_that_ends_at_an_instant_is_the_one_that_starts_its_hours_before(tmp_path: Path) -> None:
    ends, starts = tmp_path / "ends.jsonl", tmp_path / "starts.jsonl"
    shop = ["simulate", "--users", "50", "--rate", "1", "--hours", "0.5"]
    assert cli.run([*shop, "--end", "2026-03-01T12:00:00Z", "--to", str(ends)]) == 0
    assert cli.run([*shop, "--start", "2026-03-01T11:30:00Z", "--to", str(starts)]) == 0
    assert ends.read_bytes() == starts.read_bytes() != b""


def test_the_bytes_of_one_seed_stay_what_they_were() -> None:
    """A changed digest means that every recorded seed now names another shop: say so in the
    changelog."""
    assert hashlib.sha256(_lines(1, duplicates=0.02, late=0.02, malformed=0.02)).hexdigest()[:16] == "aa7f7b7a0b40b70f"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--realtime"], "--realtime: only the broker"),
        (["--start", "yesterday"], "--start yesterday: expected epoch milliseconds or RFC 3339"),
        (["--to", "kafka"], "name a broker with --broker"),
        (["--users", "0"], "--users"),
        (["--end", "tomorrow"], "--end tomorrow: expected epoch milliseconds or RFC 3339"),
        (["--end", "now", "--start", "0"], "--end now: the shop has a --start too; give one of them"),
        (
            ["--end", "now", "--to", "kafka", "--broker", "kafka://127.0.0.1:1"],
            "--end now: a live shop begins now; add --fast",
        ),
    ],
)
def test_what_cannot_be_is_a_usage_error(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["simulate", *arguments]) == 2
    assert said in capsys.readouterr().err
