"""`hyperseg test`: its files, its notation's errors, its report; and the driver that users' own
tests may use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from app import cli
from app.domain.errors import DefinitionError, InputError
from app.domain.events import Event
from app.domain.options import EngineOptions
from app.streaming.watermark import Clock
from app.testing import (
    CRASH,
    CRASH_BEFORE_STORE,
    DISK_LOST,
    REBALANCE,
    Advance,
    Driver,
    Duplicate,
    Late,
    Raw,
    Switch,
    Unread,
    WorkerOptions,
    notation,
)
from app.testing.cases import CaseError, read_own, read_text
from app.testing.faults import Fault
from app.testing.notation import Fire, NotationError, change, instant, member, spelled, step
from app.testing.options import options_from
from app.testing.running import run_case

ROOT = Path(__file__).resolve().parents[2]
BASE = instant(notation.BASE, 0)
DEFINITIONS = """
segments:
  - {name: keen, when: "count(click, last 1h) >= 2"}
  - {name: likes, for_each: click.category, when: "count(click[category == each], last 1d) >= 2"}
  - {name: rich, when: "profile.income > 100"}
  - {name: rest, when: "since_first(click) >= 1ms"}
groups:
  - {name: tier, segments: [rich, rest]}
"""
PASSING = """
cases:
  - case: two clicks within an hour
    of: [keen]
    steps: [0 click, 10m click]
    until: 2h
    changes: [10m enters keen, 1h leaves keen timer]
    members: {}
"""


def folder(tmp_path: Path, tests: str, definitions: str = DEFINITIONS) -> Path:
    (tmp_path / "d.yaml").write_text(definitions)
    (tmp_path / "a.test.yaml").write_text(tests)
    return tmp_path


def event(text: str, options: EngineOptions | None = None) -> Event:
    found = step(text, BASE, options or EngineOptions(), 0)
    assert isinstance(found, Event)
    return found


# --- the command --------------------------------------------------------------------------------


def test_cases_that_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["test", str(folder(tmp_path, PASSING))]) == 0
    assert capsys.readouterr().out == "ok    two clicks within an hour\n1 passed, 0 failed\n"


def test_the_example_segments_are_tested(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["test", str(ROOT / "segments")]) == 0
    assert ", 0 failed" in capsys.readouterr().out


def test_a_failure_shows_the_difference_and_the_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = PASSING.replace("10m enters keen", "5m enters keen").replace("members: {}", "members: {keen: 5m}")
    assert cli.run(["test", str(folder(tmp_path, wrong))]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"FAIL  two clicks within an hour  {tmp_path}/a.test.yaml:3",
        "      --- expected",
        "      +++ got",
        "        -5m enters keen",
        "            because at that instant not in keen: clicks in the last hour is 1 (needs ≥ 2)",
        "        +10m enters keen",
        "            because clicks in the last hour reached 2 or more (needs ≥ 2)",
        "         1h leaves keen timer",
        "        -member keen: 5m",
        "0 passed, 1 failed",
    ]


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["test", "--json", str(folder(tmp_path, PASSING))]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["passed"], answer["failed"]) == (1, 0)
    assert answer["cases"][0]["got"] == ["10m enters keen", "1h leaves keen timer"]
    assert answer["cases"][0]["diff"] == []


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ("[10m enters keen, 10m enters likes:yoga, 1h leaves keen timer]", True),
        ('[10m enters keen, 10m enters likes:"yoga", 1h leaves keen timer]', True),
        ("[10m enters keen, 10m enters likes:shoes, 1h leaves keen timer]", False),
        ("[10m enters keen, 10m enters likes:yoga, 1h leaves keen]", False),
        ("[]", False),
    ],
)
def test_changes_are_exact(tmp_path: Path, changes: str, passes: bool) -> None:
    tests = (
        "cases: [{case: c, of: [keen, likes], steps: [0 click category=yoga, 10m click category=yoga],"
        f" until: 2h, changes: {changes}}}]"
    )
    assert cli.run(["test", str(folder(tmp_path, tests))]) == (0 if passes else 1)


def test_groups_users_and_members(tmp_path: Path) -> None:
    tests = """
    base: 2026-01-01T00:00:00+01:00
    options: {timezone: Europe/Oslo, streams: [email]}
    cases:
      - case: tiers of two people
        of: [tier]
        steps: [0 click, 0 click user=v, 1m profile income=200 user=v, 2m email]
        changes: ["1ms moves tier null -> rest timer", "v@1ms moves tier null -> rest timer",
        "v@1m moves tier rest -> rich profile"]
        members: {rest: 1ms, v@rich: 1m}
    """
    assert cli.run(["test", str(folder(tmp_path, tests))]) == 0


def test_a_record_that_is_refused_fails_its_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tests = (
        "cases: [{case: late, of: [keen], options: {allowed_lateness: 1m}, steps: [1h click, 0 click], changes: []}]"
    )
    assert cli.run(["test", str(folder(tmp_path, tests))]) == 1
    assert "+refused: too_late: 3600000 ms behind the watermark" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        (
            "cases: [{case: c, steps: [5 clicks], changes: []}]",
            'a.test.yaml:1:27: unknown stream; found "clicks"; expected one of profile, click',
        ),
        (
            "cases: [{case: c, steps: [x click], changes: []}]",
            'no instant; found "x"; expected a duration such as 0, 10m',
        ),
        ("cases: [{case: c, steps: [0 click a], changes: []}]", 'no field; found "a"; expected field=value'),
        ("cases: [{case: c, steps: [click], changes: []}]", 'no step; found "click"'),
        (
            "cases: [{case: c, changes: [1h enter keen]}]",
            'a.test.yaml:1:29: no change; found "1h enter keen"; expected 10m enters name',
        ),
        (
            "cases: [{case: c, changes: [1h enters kean]}]",
            'a.test.yaml:1:29: unknown segment; found "kean"; expected the name',
        ),
        ("cases: [{case: c, changes: [1h enters kean]}]", 'did you mean "keen"?'),
        ("cases: [{case: c, of: [teir], changes: []}]", 'did you mean "tier"?'),
        ("cases: [{case: c}]", "a case expects something; found neither changes nor members"),
        ("cases: [{steps: [], changes: []}]", "a case has a name; found no case"),
        ("cases: [{case: c, chnges: []}]", 'unknown key; found "chnges"; expected one of case, base'),
        ("cases: [{case: c, case: d, changes: []}]", "the key stands twice"),
        (
            "cases: [{case: c, steps: [1h click], until: 1m, changes: []}]",
            "found '1m'; expected 1h or later",
        ),
        ("cases: [{case: c, steps: 0 click, changes: []}]", "steps is a list"),
        ("cases: [{case: c, steps: [[0]], changes: []}]", "a line of text is needed here"),
        ("cases: [{case: c, members: [keen], changes: []}]", "members is a mapping"),
        ("base: 1d\ncases: []", 'a.test.yaml:1:7: no instant; found "1d"; expected RFC 3339'),
        ("base: 2026-01-01T00:00:00\ncases: []", "expected RFC 3339 with a zone"),
        ("options: {timezon: UTC}\ncases: []", 'a.test.yaml:1:11: unknown option; found "timezon"'),
        ("options: {timezone: Mars}\ncases: []", "unknown time zone"),
        ("options: {session_gap: long}\ncases: []", "a duration such as 0, 10m"),
        ("options: {max_points: many}\ncases: []", "max_points is a whole number"),
        ("options: {streams: email}\ncases: []", "streams is a list of names"),
        ("options: 3\ncases: []", "options is a mapping"),
        ("- case: c", "a test file is a mapping"),
        ("{}", "a test file has cases"),
        ("", "a test file has cases"),
        ("cases: [", "not YAML"),
    ],
)
def test_errors_say_where_what_and_what_to_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tests: str, said: str
) -> None:
    assert cli.run(["test", str(folder(tmp_path, tests))]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert f"{tmp_path}/a.test.yaml:" in error
    assert error.count("\n") == 1


def test_a_folder_without_tests_or_with_wrong_definitions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["test", str(tmp_path / "none")]) == 1
    assert cli.run(["test", str(tmp_path)]) == 1
    assert cli.run(["test", str(folder(tmp_path, PASSING, "segments: [{name: a, when: any(clik)}]"))]) == 1
    first, second, third = capsys.readouterr().err.splitlines()
    assert "no folder at" in first
    assert "no *.test.yaml in" in second
    assert 'unknown stream; found "clik"' in third


def test_one_file_of_a_folder(tmp_path: Path) -> None:
    (folder(tmp_path, PASSING) / "b.test.yaml").write_text("cases: [{case: c, changes: [0 enters keen]}]")
    assert cli.run(["test", str(tmp_path / "a.test.yaml")]) == 0
    assert cli.run(["test", str(tmp_path)]) == 1


# --- the notation -------------------------------------------------------------------------------


def test_steps() -> None:
    found = event('10m click category=yoga price=5 tags=["a","b"] ship.city=Oslo note="two words" id=x user=v')
    assert (found.user, found.ts - BASE, found.stream, found.id, found.has_id) == ("v", 600_000, "click", "x", True)
    assert found.fields == {
        "category": "yoga",
        "price": 5,
        "tags": ["a", "b"],
        "ship": {"city": "Oslo"},
        "note": "two words",
    }
    assert event("0 click id=null").has_id is False
    assert event("0 profile age=3 consent.mail=true").fields == {"attributes": {"age": 3}, "consent": {"mail": True}}
    assert step("fire 1d", BASE, EngineOptions(), 0) == Fire(BASE + 86_400_000)


@pytest.mark.parametrize("text", ["0 click a=1 a.b=2", "0 click =1", "0"])
def test_steps_that_say_nothing(text: str) -> None:
    with pytest.raises(NotationError):
        step(text, BASE, EngineOptions(), 0)


@pytest.mark.parametrize(
    "text",
    [
        "10m enters s",
        "1d leaves s:yoga timer late",
        's@1h enters s:"a b"',
        '0 enters s:"1"',
        "0 enters s:1 profile",
        "2h moves g a -> null",
        "0 enters s:true",
    ],
)
def test_changes_there_and_back(text: str) -> None:
    assert spelled(change(text, BASE), BASE) == text


def test_members() -> None:
    assert member("v@likes:yoga") == ("v", "likes", '"yoga"')
    with pytest.raises(NotationError):
        member("two words")


def test_options_keep_what_they_do_not_name() -> None:
    base = options_from({"streams": ["email"], "max_points": 8}, EngineOptions(timezone="Asia/Tokyo"))
    assert (base.timezone, base.max_points, base.streams[-1].name) == ("Asia/Tokyo", 8, "email")
    assert options_from({"streams": ["email", "sms"]}, base).streams[4:] == (
        *base.streams[4:],
        options_from({"streams": ["sms"]}, base).streams[-1],
    )


def test_a_case_may_have_its_own_base_and_options() -> None:
    own = "{case: b, base: 2027-01-01T00:00:00Z, options: {timezone: Asia/Tokyo}, changes: []}"
    text = f"base: 2026-01-01T00:00:00Z\ncases: [{{case: a, changes: []}}, {own}]"
    first, second = read_text(text, "f", EngineOptions())
    assert second.base - first.base == 365 * 86_400_000
    assert (first.options.timezone, second.options.timezone) == ("UTC", "Asia/Tokyo")
    with pytest.raises(CaseError):
        read_text("cases: [{case: a, base: soon, changes: []}]", "f", EngineOptions())


OWN = """
- case: two clicks
  when: count(click, last 1h) >= 2
  exit_when: any(cart)
  steps: [0 click, 10m click]
  changes: [10m enters s]
- case: a group
  segments: [{name: a, when: any(click)}, {name: b, when: any(cart)}]
  groups: [{name: g, segments: [a, b]}]
  changes: []
- case: a mistake
  yaml: "segments: [{name: a, when: any(clik)}]"
  fails: [unknown stream, clik]
"""


def test_cases_that_bring_their_definitions() -> None:
    one, grouped, mistaken = read_own(OWN, "f", EngineOptions())
    assert yaml.safe_load(one.definitions)["segments"] == [
        {"name": "s", "when": "count(click, last 1h) >= 2", "exit_when": "any(cart)"},
    ]
    assert [(change.at - BASE, change.name) for change in one.changes] == [(600_000, "s")]
    assert run_case(Driver.of_text(one.definitions).plan, one).passed
    assert Driver.of_text(grouped.definitions).plan.groups[0].name == "g"
    assert (mistaken.definitions, mistaken.fails) == (
        "segments: [{name: a, when: any(clik)}]",
        ("unknown stream", "clik"),
    )
    alone = read_own("when: any(click)\nchanges: []", "the page", EngineOptions())
    assert [case.name for case in alone] == ["the page"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {case: c, wen: any(click), changes: []}", 'f:1:13: unknown key; found "wen"; expected one of case, base'),
        ("- {case: c, steps: [0 clik], changes: []}", 'f:1:21: unknown stream; found "clik"'),
        ("- {when: any(click), changes: []}", "f:1:3: a case has a name; found no case"),
        ("- {case: c, when: any(click)}", "f:1:3: a case expects something"),
    ],
)
def test_errors_of_own_cases_say_where(text: str, said: str) -> None:
    with pytest.raises(CaseError) as raised:
        read_own(text, "f", EngineOptions())
    assert said in str(raised.value)


# --- the driver ---------------------------------------------------------------------------------

CLICK = {"type": "click", "user_id": "u", "ts": "2026-11-02T10:00:00Z", "category": "yoga"}
LATER = {**CLICK, "ts": "2026-11-02T10:10:00Z"}


def driver() -> Driver:
    return Driver.of_text(DEFINITIONS)


def names(changes: Any) -> list[str]:
    return [f"{c.change} {c.segment or c.group}" for c in changes]


def test_events_in_changes_out() -> None:
    run = driver()
    assert names(run.feed(CLICK)) == []
    assert names(run.feed(json.dumps(LATER).encode())) == ["moved tier", "entered keen", "entered likes"]
    assert run.members("u") == {"keen": LATER_MS, "likes:yoga": LATER_MS, "rest": LATER_MS - 599_999}
    assert names(run.advance("50m")) == ["exited keen"]
    assert names(run.advance(to=LATER_MS + 10 * 86_400_000)) == ["exited likes"]
    assert run.members("nobody") == {}
    assert run.describe("u").memberships[0].segment == "rest"
    assert run.explain("u", "keen").answers[0].in_ is False
    assert [json.loads(line)["seq"] for line in run.lines().splitlines()] == [1, 2, 3, 4, 5]


LATER_MS = instant(LATER["ts"], 0)


def test_the_watermark_of_one_user_fires_the_timers_of_another() -> None:
    run = driver()
    run.feed(CLICK, LATER)
    assert names(run.feed({**CLICK, "user_id": "v", "ts": LATER_MS + 3_600_000})) == ["exited keen"]


def test_faults_change_nothing() -> None:
    plain, troubled = driver(), driver()
    first, second = {**CLICK, "event_id": "a"}, {**LATER, "event_id": "b"}
    plain.feed(first, second)
    troubled.feed(first, CRASH, Duplicate(first), second, REBALANCE, Duplicate(second))
    assert troubled.lines() == plain.lines()
    assert names(troubled.advance("1h")) == names(plain.advance("1h")) == ["exited keen"]


@pytest.mark.parametrize("fault", [CRASH, CRASH_BEFORE_STORE, REBALANCE, DISK_LOST])
@pytest.mark.parametrize("transactional", [True, False])
def test_what_was_not_committed_is_read_again(fault: Fault, transactional: bool) -> None:
    plain = driver()
    troubled = Driver.of_text(DEFINITIONS, worker=WorkerOptions(commit_every=100, transactional=transactional))
    first, second = {**CLICK, "event_id": "a"}, {**LATER, "event_id": "b"}
    plain.feed(first, second)
    assert names(troubled.feed(first, second, fault)) == names(plain.changes)
    assert troubled.lines() == plain.lines()
    assert troubled.members("u") == plain.members("u")


def test_silence_is_an_item_too() -> None:
    run = driver()
    assert names(run.feed(CLICK, LATER, Advance("49m"), Late(CLICK))) == ["moved tier", "entered keen", "entered likes"]
    assert run.watermark == LATER_MS + 49 * 60_000
    assert names(run.feed(Unread("carts", 1), Advance(60_000))) == [], "a topic behind its end keeps time where it is"
    assert names(run.feed(Unread("carts", 0))) == ["exited keen"]
    assert run.watermark == LATER_MS + 50 * 60_000


def test_bytes_as_a_producer_sent_them() -> None:
    run = driver()
    record = Raw("clicks", json.dumps({"event_id": "a", "ts": CLICK["ts"], "user_id": "u"}).encode(), b"u")
    foreign = Raw("clicks", record.value, b"v")
    run.feed(record, Duplicate(record), foreign, {**LATER, "event_id": "b"})
    assert [(reason, given) for reason, _, given in run.refused] == [("key_mismatch", foreign)]
    assert "keen" in run.members("u")


def test_other_definitions_take_over() -> None:
    run = driver()
    run.feed(CLICK, LATER)
    other = Driver.of_text(
        "segments: [{name: keen, when: any(cart)}, {name: eager, when: 'count(click, last 1h) >= 2'}]"
    )
    changes = run.feed(Switch(other.engine))
    assert names(changes) == ["moved tier", "exited likes", "entered eager", "exited keen"]
    assert {change.cause.kind for change in changes} == {"definition"}
    assert run.plan is other.plan
    assert names(run.feed(REBALANCE, Advance("50m"))) == ["exited eager"]


def test_a_wall_clock_where_one_is_given() -> None:
    run = Driver.of_text(DEFINITIONS, worker=WorkerOptions(clock=Clock(max_future_ms=1_000), now=LATER_MS))
    run.feed({**LATER, "ts": LATER_MS + 1_000}, {**LATER, "ts": LATER_MS + 1_001})
    assert [reason for reason, _, _ in run.refused] == ["in_future"]
    with pytest.raises(ValueError, match="only events move time"):
        Driver.of_text(DEFINITIONS, worker=WorkerOptions(clock=Clock(wall=False))).advance("1h")


def test_what_cannot_be_fed() -> None:
    with pytest.raises(TypeError, match=r"found \[\{'type': 'click'.*spread a list with \*"):
        driver().feed([CLICK])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'email' is not read; expected one of profile, click"):
        driver().feed(Event("u", LATER_MS, "email", 4, "e", True, {}))
    with pytest.raises(ValueError, match="'cart' is not read; expected one of profiles, clicks"):
        driver().feed(Unread("cart", 1))


def test_records_that_do_not_fit_are_refused_and_stop_nothing() -> None:
    run = driver()
    run.feed(
        b"{", {**CLICK, "type": "clik"}, {**CLICK, "user_id": ""}, LATER, {**CLICK, "ts": LATER_MS - 3_600_001}, CLICK
    )
    assert [reason for reason, _, _ in run.refused] == ["not_json", "unknown_type", "no_user", "too_late"]
    assert "did you mean" in run.refused[1][1]
    assert "keen" in run.members("u")


def test_definitions_come_from_a_folder_or_a_text(tmp_path: Path) -> None:
    assert Driver.of_folder(folder(tmp_path, PASSING)).plan.digest == driver().plan.digest
    with pytest.raises(DefinitionError):
        Driver.of_text("segments: [{name: a, when: any(clik)}]")
    with pytest.raises(InputError):
        Driver.of_folder(tmp_path / "none")
