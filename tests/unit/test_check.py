"""`hyperseg check`: errors, costs, and names that a sample never shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app import cli
from app.domain.events import Event
from app.domain.options import EngineOptions
from app.engine.build import Machine
from app.engine.engine import Engine
from app.engine.plan_lines import plan_lines
from app.rules.costs import TIMERS, Costs, estimate
from app.rules.definitions import load_text
from app.rules.plan import compile_plan
from tests.support.rows import calls

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = EngineOptions(max_points=64, reorder=False)
HOUR = 3_600_000
BASE = 1_793_577_600_000


def definitions(tmp_path: Path, text: str) -> str:
    (tmp_path / "d.yaml").write_text(text)
    return str(tmp_path)


def costs_of(when: str, more: str = "", options: EngineOptions = OPTIONS) -> Costs:
    found = load_text(f"segments: [{{name: s, when: {json.dumps(when)}{more}}}]", options)
    assert not found.errors, str(found.errors[0])
    return estimate(compile_plan(found, options), options)


# --- the command --------------------------------------------------------------------------------


def test_the_example_segments_are_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", str(ROOT / "segments")]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split() == ["segment", "signals", "shared", "bytes", "shared", "bytes", "timers"]
    assert any(
        line.startswith("cart_abandoner") and line.rstrip().endswith("window exit, absence")
        for line in out.splitlines()
    )
    assert err == ""


def test_a_model_is_warned_of_and_models_are_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    likely = "segments:\n  - {name: likely, when: score('m') > 0.8, exit_when: score('m') < 0.6}\n".replace(
        "'m'", '"m"'
    )
    assert cli.run(["check", definitions(tmp_path, likely)]) == 0
    out, err = capsys.readouterr()
    said = f'{tmp_path}/d.yaml:2: segment likely uses score("m"), which is always null: this version has no models'
    assert err == f"warning: {said}\n"
    assert cli.run(["check", definitions(tmp_path, likely + "models: [{name: m}]\n")]) == 1
    out, err = capsys.readouterr()
    assert f"{tmp_path}/d.yaml:3:1: models are not part of this version" in err
    assert "likely " in out


def test_every_error_is_a_line_that_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = "  - {name: b, when: any(click)}\n", "  - {name: c, when: since(click) > 3}\n  - name: d\n    whan: x\n"
    text = f"segments:\n  - {{name: a, when: any(clik)}}\n{good}{bad}"
    assert cli.run(["check", definitions(tmp_path, text)]) == 1
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert [line.split(": ", 1)[0] for line in lines] == [
        f"{tmp_path}/d.yaml:{place}" for place in ("2:25", "4:21", "6:5")
    ]
    assert 'did you mean "click"?' in lines[0]
    assert "b " in out


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "segments: [{name: a, when: 'any(click, last 1h)'}, {name: b, when: any(clik)}]"
    assert cli.run(["check", "--json", definitions(tmp_path, text)]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["ok"], answer["errors"][0]["line"], answer["errors"][0]["hint"]) == (False, 1, '"click"')
    assert answer["segments"] == [
        {"name": "a", "own": 1, "shared": 0, "own_bytes": 63, "shared_bytes": 0, "timers": ["window exit"]}
    ]
    assert answer["signals"] == [{"text": "any(click, last 1h)", "entries": 1, "bytes": 39, "segments": ["a"]}]
    assert answer["totals"]["user_bytes"] > 60


def test_a_reference_to_a_segment_that_is_off_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    off = "{name: a, when: any(click), enabled: false}, {name: also_off, when: 'segment(\"a\")', enabled: false}"
    on = "{name: b, when: 'segment(\"a\")'}, {name: c, when: 'segment(\"b\")'}, {name: d, when: any(cart)}"
    assert cli.run(["check", "--json", definitions(tmp_path, f"segments: [{off}, {on}]")]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert [error["segment"] for error in answer["errors"]] == ["b", "c"]
    assert "is switched off" in answer["errors"][0]["message"]
    assert [segment["name"] for segment in answer["segments"]] == ["d"]


@pytest.mark.parametrize("arguments", [["nowhere"], []])
def test_no_folder(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", *arguments]) == (1 if arguments else 2)
    assert capsys.readouterr().err


# --- a sample -----------------------------------------------------------------------------------

NAMES = """
segments:
  - name: a
    when: count(click[categroy == "x" and ship.cty == "Oslo"], last 1h) > 1 and sum(purchase.amount, last 1d) > 3
  - name: b
    when: any(cart -> click on sku within 1h) and profile.aeg > 3 and consent("mail")
  - name: c
    when: any(*[device == "phone"]) and any(within_km(click, 1, 2, 3))
    for_each: click.sku
  - name: d
    when: last((cart without click within 1h).page) == "x"
"""
EVENTS: list[dict[str, Any]] = [
    {
        "type": "click",
        "user_id": "u",
        "ts": BASE,
        "category": "x",
        "ship": {"city": "Oslo"},
        "sku": 3,
        "lat": 1,
        "lon": 1,
    },
    {"type": "profile", "user_id": "u", "ts": BASE, "attributes": {"age": 3}, "consent": {"email": True}},
    {"type": "purchase", "user_id": "u", "ts": BASE, "amount": 3},
    {"type": "carts", "user_id": "u", "ts": BASE},
]


def sample(tmp_path: Path, events: list[dict[str, Any]], name: str = "events.jsonl") -> str:
    (tmp_path / name).write_text("".join(json.dumps(event) + "\n" for event in events))
    return str(tmp_path / name)


def test_names_that_no_event_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", definitions(tmp_path, NAMES), "--sample", sample(tmp_path, EVENTS)]) == 0
    told = [
        line.removeprefix("warning: ").removeprefix(f"{tmp_path}/") for line in capsys.readouterr().err.splitlines()
    ]
    assert told[0].startswith("the sample has lines that are refused: unknown_type 1; the first is")
    assert told[1:] == [
        'd.yaml:3: segment a: the field "categroy" is in no click of the sample; did you mean "category"?',
        'd.yaml:3: segment a: the field "ship.cty" is in no click of the sample; did you mean "ship.city"?',
        'd.yaml:5: segment b: no event of "cart" is in the sample',
        'd.yaml:5: segment b: the field "aeg" is in no profile of the sample; did you mean "age"?',
        'd.yaml:5: segment b: the field "consent.mail" is in no profile of the sample; did you mean "consent.email"?',
        'd.yaml:7: segment c: the field "device" is in no event of the sample',
        'd.yaml:10: segment d: no event of "cart" is in the sample',
    ]


def test_more_files_follow_a_sample_as_the_shell_expands_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = sample(tmp_path, EVENTS[:1], "1.jsonl"), sample(tmp_path, [{**EVENTS[0], "categroy": 1}], "2.jsonl")
    assert cli.run(["check", definitions(tmp_path, NAMES), "--sample", first, second]) == 0
    assert "categroy" not in capsys.readouterr().err
    assert cli.run(["check", definitions(tmp_path, NAMES), first]) == 2
    assert "name event files with --sample" in capsys.readouterr().err
    assert cli.run(["check", definitions(tmp_path, NAMES), "--sample", str(tmp_path / "none")]) == 1


# --- costs --------------------------------------------------------------------------------------

TIMED = {
    "any(click, last 1h)": ["window exit"],
    "any(click)": [],
    'any(click, from "2026-01-01" to "2027-01-01")': [],
    "any(cart without click within 1h)": ["absence"],
    "held(any(click, session), 1h)": ["held", "session"],
    "count(click, today) > 1 and hour() > 3": ["calendar"],
    "since(click) > 1h": ["age"],
    "decay(click, 1h) > 1": ["decay"],
}


@pytest.mark.parametrize(("when", "timers"), TIMED.items())
def test_timers(when: str, timers: list[str]) -> None:
    assert list(costs_of(when).segments[0].timers) == timers


def test_dwell_and_cooldown_are_timers_too() -> None:
    assert costs_of("any(click)", ", min_dwell: 1h, cooldown: 1h").segments[0].timers == ("dwell", "cooldown")
    every = " and ".join(f"({when})" for when in TIMED)
    assert costs_of(every, ", min_dwell: 1h, cooldown: 1h").segments[0].timers == TIMERS


def test_what_several_segments_use_is_counted_once() -> None:
    text = (
        "segments: [{name: a, when: 'count(click, last 1d) > 3'}, {name: b, when: 'count(click, last 1d) "
        "> 5 and any(cart)'}]"
    )
    costs = estimate(compile_plan(load_text(text, OPTIONS), OPTIONS), OPTIONS)
    assert [(c.own, c.shared) for c in costs.segments] == [(0, 1), (1, 1)]
    assert costs.segments[0].shared_bytes == costs.segments[1].shared_bytes
    assert costs.signals[0].entries == 6
    assert costs.signals[0].segments == ("a", "b")


@pytest.mark.parametrize(
    ("when", "entries"),
    [
        ("count(click, last 1d) >= 3", 3),
        ("count(click, last 1d) > count(cart)", 64),
        ("count(click, last 1d) >= 300", 64),
        ("count(click) > count(cart)", 1),
        ("days(click, last 4w) > days(cart)", 30),
        ("distinct(click.c, last 4w) > 2", 3),
        ("session_count(click, session) > 3", 1),
        ("sum(click.n, today) > 3", 1),
        ("first(click.c, last 1d) == 3", 64),
        ("decay(click, 1d) > 3", 1_101),
    ],
)
def test_no_more_entries_than_a_definition_needs(when: str, entries: int) -> None:
    assert costs_of(when).signals[0].entries == entries


WINDOWS = ("", "last 30d", "today", "this month", "session")
CHAINS = ("click -> cart within 1h", "click -> cart on c within 1h")
SELECTORS = ("click", *CHAINS, "click without purchase within 1h", "click without cart on c within 1h")


def every_signal() -> list[str]:
    """Each function of the language over each window and each kind of selector."""
    return [call for selector in SELECTORS for call in calls(selector, {"number": "n", "key": "c"}, WINDOWS)]


def flood(each: int) -> list[Event]:
    """Clicks and carts half an hour apart, with an amount and one of `each` categories: more than
    64 points."""
    found = []
    for i in range(210):
        cart = i % 3 == 2
        fields = {"n": 19.99 + i, "c": f"category-of-{i % each:06d}"}
        found.append(
            Event(
                "u",
                BASE + i * HOUR // 2,
                "cart" if cart else "click",
                2 if cart else 1,
                f"event-number-{i:06d}",
                True,
                fields,
            )
        )
    return found


@pytest.mark.parametrize("options", [OPTIONS], ids=["64 points"])
def test_the_engine_keeps_no_more_than_a_signal_is_said_to_cost(options: EngineOptions) -> None:
    """The bound holds for every signal after a flood of events, and is not far away from what some
    users reach."""
    texts = every_signal()
    text = "segments:\n" + "".join(
        f"  - {{name: s{i}, when: {json.dumps(f'({t}) is not null')}}}\n" for i, t in enumerate(texts)
    )
    found = load_text(text, options)
    assert not found.errors, str(found.errors[0])
    plan = compile_plan(found, options)
    engine = Engine(plan, options)
    bounds = {cost.text: cost.bytes for cost in estimate(plan, options).signals}
    state = engine.new_state("u")
    largest: dict[str, int] = {}
    for i, event in enumerate(flood(200)):
        engine.apply(state, event, event.ts)
        if i % 50 == 49:
            for key, cell in state.signals.items():
                name = engine.signals[key].text
                largest[name] = max(largest.get(name, 0), 9 + packed(cell))
    over = {name: (size, bounds[name]) for name, size in largest.items() if size > bounds[name]}
    assert over == {}
    assert set(largest) == set(bounds)
    sliding = [f"{fn}, last 30d)" for fn in ("sum(click.n", "top(click.c", "first(click.c", "distinct(click.c")]
    assert all(bounds[name] < 3 * largest[name] for name in sliding)


def packed(cell: Any) -> int:
    import msgspec

    return len(msgspec.msgpack.encode(cell))


def test_a_user_of_a_for_each_segment_stays_below_the_bound() -> None:
    when = (
        "count(click[c == each], last 30d) > 3 or any(cart[c == each] without purchase within 1d) or "
        "held(any(click[c == each]), 1d)"
    )
    more = ", for_each: click.c, max_per_user: 5, cooldown: 1h"
    costs = costs_of(when, more)
    options = OPTIONS
    engine = Engine(
        compile_plan(load_text(f"segments: [{{name: s, when: {json.dumps(when)}{more}}}]", options), options), options
    )
    state = engine.new_state("u")
    for event in flood(20):
        engine.apply(state, event, event.ts)
    assert len(engine.encode(state)) <= costs.user_bytes + costs.ids_bytes


PLANNED = """
segments:
  - {name: lately, when: 'any(click, last 7d)'}
  - name: keen
    when: count(click[kind == "a" and price > 3], last 7d) >= 3 and held(segment("lately"), 1d)
    exit_when: since(click) >= 30d
    min_dwell: 1h
  - {name: likes, for_each: click.category, when: 'count(click[category == each], today) > 1'}
  - {name: left, when: 'any(cart without purchase on id within 2h) and profile.age > 18'}
  - {name: early, when: 'hour() < 6'}
groups:
  - {name: mood, segments: [early, lately]}
"""

PLAN = """\
routes: what an event of each stream feeds
  click
    every event: any(click, last 7d)
    every event: since(click)
    kind == "a": count(click[kind == "a" and price > 3], last 7d) if the rest of its filter holds
    each category: a value of likes
    each category: count(click[category == each], today)
  cart
    every event: any(cart without purchase on id within 2h)
  purchase
    every event: any(cart without purchase on id within 2h)

signals: what is kept of each for a user
  any(cart without purchase on id within 2h)
    matches of a pattern; its value; read by left
  any(click, last 7d)
    events; its value; read by lately
  count(click[category == each], today)
    events, for each value; its value, evaluated at 2; read by likes
  count(click[kind == "a" and price > 3], last 7d)
    events; at most 3 entries, evaluated at 3; read by keen
  since(click)
    events; its value, evaluated past 30d; read by keen
"""


def test_the_plan_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", "--plan", definitions(tmp_path, PLANNED)]) == 0
    printed, _ = capsys.readouterr()
    assert PLAN in printed
    units = [line.split(maxsplit=1)[1] for line in printed.partition("order of evaluation\n")[2].splitlines()]
    name = next(unit for unit in units if unit.startswith("held")).split("(")[1].split(")")[0]
    assert units == [
        "segment early: in the group mood; evaluated at a user's first event; read by mood",
        "segment lately: 1 signal; in the group mood; read by mood",
        "segment left: 1 signal; profile",
        "segment likes: 1 signal; for each value; out until something is known of the value",
        f"group mood: after early, lately; read by {name}",
        f'held of any segment ({name}): segment("lately"); after mood; read by keen',
        f"segment keen: 2 signals; after {name}; min_dwell 1h; leaves by exit_when",
    ]


@pytest.mark.parametrize(
    ("when", "kept"),
    [
        ("count(click) >= 3", "its value"),
        ("count(click, last 7d) >= 3", "at most 3 entries"),
        ("2 * count(click, last 7d) >= 3", "at most 1,024 entries"),
        ("sum(click.price, last 7d) > 3", "at most 1,024 entries"),
        ("sum(click.price, today) > 3", "its value"),
        ("median(click.price, last 7d) > 3", "at most 1,024 entries"),
        ("median(click.price) > 3", "at most 1,024 entries"),
        ('top(click.page) == "a"', "at most 1,024 entries"),
        ("distinct(click.page) >= 2", "at most 2 entries"),
        ("decay(click, 3d) > 1", "at most 1,101 entries"),
        ("since(click) > 3d", "its value"),
    ],
)
def test_the_plan_says_how_much_is_kept(when: str, kept: str) -> None:
    options = EngineOptions()
    plan = compile_plan(load_text(f"segments: [{{name: s, when: {json.dumps(when)}}}]", options), options)
    line = next(line for line in plan_lines(Machine(plan, options)) if line.startswith("    events; "))
    assert line.split("; ")[1].partition(", evaluated")[0] == kept
