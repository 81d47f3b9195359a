"""Facts and changes in plain English."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from app.domain.changes import Fact
from app.domain.views import Part
from app.web.highlight import highlight
from app.wording.phrases import duration_words, phrase, show
from app.wording.words import cause_words, change_words, fact_words, headline, readable

ABANDONED = 'any(cart[action == "add"] without purchase within 24h, last 7d)'
SCORE = "3 * count(cart, last 7d) + count(click, last 7d)"
CASES: list[tuple[str, Any, str, dict[str, Any], str]] = [
    (SCORE, 21, ">= 20", {}, "3 × carts + clicks in the last 7 days reached 21 (needs ≥ 20)"),
    (SCORE, 9, "< 10", {"rule": "exit_when"}, "to leave: 3 × carts + clicks in the last 7 days fell to 9 (needs < 10)"),
    (SCORE, 12, ">= 20", {}, "3 × carts + clicks in the last 7 days is 12 (needs ≥ 20)"),
    (ABANDONED, True, "true", {}, "24 h passed without a purchase after a cart add, in the last 7 days"),
    (ABANDONED, False, "false", {}, "no cart add was left without a purchase for 24 h, in the last 7 days"),
    (ABANDONED, False, "true", {}, "no cart add was left without a purchase for 24 h, in the last 7 days (needs one)"),
    ("any(purchase, last 7d)", True, "false", {}, "a purchase in the last 7 days (needs none)"),
    (
        "held(count(click, last 1h) > 3, 3d)",
        False,
        "true",
        {},
        "not for 3 days without a break: clicks in the last hour > 3 (needs yes)",
    ),
    ("any(purchase, last 7d)", False, "false", {}, "no purchase in the last 7 days"),
    ("any(purchase, last 7d)", True, "true", {}, "a purchase in the last 7 days"),
    ("any(cart -> click within 10m)", True, "true", {}, "a cart followed by a click within 10 minutes"),
    (
        "any(cart -> click within 10m, last 1h)",
        False,
        "true",
        {},
        "no cart followed by a click within 10 minutes in the last hour (needs one)",
    ),
    (
        "sum(purchase.amount, last 90d)",
        512.5,
        ">= 500",
        {},
        "total amount of purchases in the last 90 days reached 512.5 (needs ≥ 500)",
    ),
    ("since(purchase)", 90_000_000, "< 30d", {}, "time since the latest purchase is 1 day 1 hour (needs < 30 days)"),
    ("last(click.device)", "mobile", '== "mobile"', {}, "device of the latest click is mobile (needs = mobile)"),
    ("profile.age", None, "between 25 and 34", {}, "profile age is nothing (needs between 25 and 34)"),
    ("count(click, today)", 4, "> 3", {"or_more": True}, "clicks today reached 4 or more (needs > 3)"),
    ("count(click, ever)", 4, "> 3", {"approximate": True}, "clicks reached about 4 (needs > 3)"),
    (
        "since(email)",
        5_000,
        "< since(click)",
        {"against": 1_000},
        "time since the latest email is 5 seconds (needs < time since the latest click, now 1 second)",
    ),
    (
        "time since the entry",
        10_800_000,
        "< 5h",
        {"rule": "min_dwell"},
        "time since the entry is 3 hours (needs < 5 hours)",
    ),
    (
        "place of yoga among the values by recency",
        21,
        "<= 20",
        {"rule": "max_per_user"},
        "place of yoga among the values by recency is 21 (needs ≤ 20)",
    ),
    ('consent("marketing")', True, "true", {}, "consent to marketing: yes"),
    ('segment("engaged")', False, "false", {}, "not in engaged"),
    ("no longer a known ( expression", 1, ">= 1", {}, "no longer a known ( expression reached 1 (needs ≥ 1)"),
]


@pytest.mark.parametrize(("expr", "value", "needs", "more", "said"), CASES)
def test_facts_are_said_in_plain_words(expr: str, value: Any, needs: str, more: dict[str, Any], said: str) -> None:
    assert fact_words(Fact(expr, value, needs, **more)) == said


def test_the_leaving_rule_of_what_was_entered_is_what_keeps_it() -> None:
    facts = [{"expr": "any(click, last 1m)", "value": True, "needs": "true", "rule": "exit_when"}]
    assert change_words({"change": "entered", "segment": "s", "facts": facts})["reasons"] == [
        "stays while: a click in the last minute"
    ]
    gone = [{"expr": "any(*, session)", "value": False, "needs": "true", "rule": "from.when"}]
    assert change_words({"change": "moved", "group": "g", "facts": gone})["reasons"] == [
        "no event in this session (needs one)"
    ]


@pytest.mark.parametrize(
    ("needs", "value", "said"),
    [
        ("true", False, "no purchase"),
        (">= 3", 2, "purchases is 2 (needs not ≥ 3)"),
        ("not null", None, "purchases is nothing (needs nothing)"),
    ],
)
def test_a_not_is_said_with_its_condition(needs: str, value: Any, said: str) -> None:
    expr = "any(purchase)" if needs == "true" else "count(purchase)"
    leaf = Part(expr=expr, holds=False, fact=Fact(expr, value, needs))
    negation = Part(expr=f"not {expr}", holds=True, op="not", parts=[leaf])
    tree = readable(Part(expr="", holds=True, op="and", parts=[negation]))
    assert tree.parts is not UNSET
    (part,) = tree.parts
    assert part.fact is not UNSET
    assert (part.holds, part.parts, fact_words(part.fact)) == (True, UNSET, said)


def test_the_for_each_value_takes_its_place() -> None:
    fact = Fact("count(click[category == each], last 7d)", 4, "> 3")
    assert fact_words(fact, "yoga") == "clicks with category yoga in the last 7 days reached 4 (needs > 3)"
    assert fact_words(fact) == "clicks with category the value in the last 7 days reached 4 (needs > 3)"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"change": "entered", "segment": "engaged"}, "entered engaged"),
        ({"change": "exited", "segment": "interested_in", "value": "yoga"}, "left interested_in:yoga"),
        ({"change": "exited", "segment": "vip", "value": True}, "left vip:true"),
        ({"change": "moved", "group": "lifecycle", "from": None, "to": "active"}, "lifecycle: none → active"),
    ],
)
def test_headlines(change: dict[str, Any], said: str) -> None:
    assert headline(change) == said


@pytest.mark.parametrize(
    ("cause", "late", "said"),
    [
        ({"kind": "event", "stream": "click"}, False, "on a click"),
        ({"kind": "event", "stream": "email_open"}, True, "on an email open, which came late"),
        ({"kind": "timer", "due": 5}, False, "as time passed"),
        ({"kind": "profile"}, False, "on a profile update"),
        ({"kind": "bound", "by": "shoes"}, False, "to make room for shoes"),
        ({"kind": "definition"}, False, "as the definition changed"),
        ({"kind": "something new"}, False, "something new"),
        ({}, False, ""),
    ],
)
def test_causes(cause: dict[str, Any], late: bool, said: str) -> None:
    assert cause_words({"cause": cause, "late": late}) == said


def test_a_change_without_facts_still_has_words() -> None:
    assert change_words({"change": "entered", "segment": "s"}) == {"headline": "entered s", "cause": "", "reasons": []}


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (0, "0 ms"),
        (500, "500 ms"),
        (86_400_000, "24 h"),
        (90_000_000, "1 day 1 hour"),
        (7 * 86_400_000, "7 days"),
        (61_000, "1 minute 1 second"),
        (3_601_000, "1 hour"),
    ],
)
def test_durations(ms: int, said: str) -> None:
    assert duration_words(ms) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "nothing"),
        (True, "yes"),
        (1234, "1,234"),
        (0.83123, "0.8312"),
        (1234.5, "1,234.5"),
        ("a", "a"),
        (["a", 1], "a, 1"),
    ],
)
def test_values(value: Any, said: str) -> None:
    assert show(value) == said


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        (
            'count(click[category == "yoga" and price > 50], last 14d)',
            "clicks with category yoga and price > 50 in the last 14 days",
        ),
        ("decay(purchase.amount, 14d)", "fading amount of purchases (half after 14 days)"),
        ("days(*, this month)", "days with events this month"),
        ("held(count(click, last 1h) > 3, 3d)", "3 days without a break: clicks in the last hour > 3"),
        ('score("purchase_24h")', "score of purchase_24h"),
        ("2 * (count(click) + count(cart))", "2 × (clicks + carts)"),
    ],
)
def test_expressions(expression: str, said: str) -> None:
    assert phrase(expression) == said


def test_highlighting_loses_nothing() -> None:
    for expression in (ABANDONED, SCORE, 'click[a.last == "x\\"y"] <b> & é', '"open'):
        assert "".join([piece for _, piece in highlight(expression)]) == expression
    kinds = {piece: kind for kind, piece in highlight(ABANDONED)}
    assert (kinds["any"], kinds["cart"], kinds["action"], kinds['"add"'], kinds["without"], kinds["24h"]) == (
        "function",
        "stream",
        "field",
        "text",
        "keyword",
        "number",
    )
