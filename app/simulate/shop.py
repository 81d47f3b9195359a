"""The simulated shop: visits of many users, merged into one stream of events in time order. Pure:
the same options give the same events."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from app.domain import limits
from app.simulate.catalog import CATEGORY_NAMES
from app.simulate.chance import Chance, Zipf
from app.simulate.shopper import Shopper, shopper
from app.simulate.visit import Cart, Step, Visit

# Monday 2026-01-05, 08:00 UTC: an hour as busy as the day's mean.
START_DEFAULT_MS = 1_767_600_000_000
BOT_PAUSE_MS = 500  # a bot clicks twice a second, day and night
_EVENTS_PER_VISIT = 9.7  # measured over many seeds; what turns events a second into visits a second
# Visits begun before the start are played too, so that the first minute is as busy as the others;
# not more than a second's work.
_WARM_UP_MS_MAX = 15 * limits.MINUTE_MS
_WARM_UP_EVENTS_MAX = 20_000
_RETURNS = 0.3  # of those who leave a cart behind
_RETURN_MEAN_MS = 10 * limits.HOUR_MS
# Visits by hour of the day (UTC), mean 1: a quiet night, a lunch hill, a busy evening.
_HOURS = (
    0.42,
    0.35,
    0.32,
    0.31,
    0.34,
    0.45,
    0.62,
    0.81,
    0.97,
    1.08,
    1.15,
    1.22,
    1.30,
    1.24,
    1.16,
    1.14,
    1.20,
    1.32,
    1.48,
    1.63,
    1.70,
    1.58,
    1.25,
    0.96,
)
_PEAK = max(_HOURS)


@dataclass(frozen=True, slots=True)
class ShopOptions:
    """`rate` is events a second over a whole day, bots not counted; `start` epoch ms; `hours` None
    goes on without end.

    `rhythm` false makes every hour alike.
    """

    users: int = 1_000
    rate: float = 20.0
    seed: int = 1
    start: int = START_DEFAULT_MS
    hours: float | None = 1.0
    bots: int = 0
    rhythm: bool = True


class ShopEvent(NamedTuple):
    """One event: the stream's name and the flat object as it is sent, reserved keys first."""

    stream: str
    event: dict[str, Any]


class _Due(NamedTuple):
    """The next step of something that goes on; `order` makes ties repeat."""

    ts: int
    order: int
    step: Step
    of: _Ongoing


class _Ongoing(NamedTuple):
    user: str
    steps: Iterator[Step]
    visit: Visit | None
    who: Shopper | None


def events(options: ShopOptions) -> Iterator[ShopEvent]:
    """Every event of the shop from `start` on, in time order; a user's profile comes just before
    their first event."""
    return _Shop(options).events()


class _Shop:
    def __init__(self, options: ShopOptions) -> None:
        self._options = options
        self._chance = Chance(f"{options.seed}/shop")
        self._users = Zipf(options.users)
        self._end = None if options.hours is None else options.start + int(options.hours * limits.HOUR_MS)
        self._due: list[_Due] = []
        self._greeted = bytearray(options.users)
        self._serial = 0
        self._ids = 0
        # Two runs into one broker must not share ids, or the second would be taken for duplicates
        # of the first.
        self._run = f"{_base36(options.start // 1000)}{_base36(options.seed)}"

    def events(self) -> Iterator[ShopEvent]:
        start = self._options.start
        for ongoing, step in self._steps():
            if self._end is not None and step[0] >= self._end:
                return
            if step[0] < start:
                continue
            if ongoing.who is not None and not self._greeted[number := int(ongoing.user[1:])]:
                self._greeted[number] = True
                yield self._event(ongoing.user, (step[0], "profile", ongoing.who.profile()))
            yield self._event(ongoing.user, step)

    def _steps(self) -> Iterator[tuple[_Ongoing, Step]]:
        for bot in range(self._options.bots):
            self._advance(_Ongoing(f"bot{bot}", self._bot(bot), None, None))
        arrivals = self._arrivals()
        arrival = next(arrivals)
        while True:
            if self._due and self._due[0].ts <= arrival:
                due = heapq.heappop(self._due)
                yield due.of, due.step
                self._advance(due.of)
            else:
                self._begin(arrival)
                arrival = next(arrivals)

    def _arrivals(self) -> Iterator[int]:
        """Instants at which a visit begins: a Poisson process whose rate follows the day, by
        thinning."""
        rhythm = self._options.rhythm
        mean_ms = 1000.0 * _EVENTS_PER_VISIT / self._options.rate / (_PEAK if rhythm else 1.0)
        instant = self._options.start - min(_WARM_UP_MS_MAX, 1000.0 * _WARM_UP_EVENTS_MAX / self._options.rate)
        while True:
            instant += self._chance.exponential(mean_ms)
            hour = int(instant) // limits.HOUR_MS % 24
            if not rhythm or self._chance.happens(_HOURS[hour] / _PEAK):
                yield int(instant)

    def _begin(self, at: int) -> None:
        self._serial += 1
        self._visit(
            shopper(self._options.seed, self._users.pick(self._chance)), at, Cart(f"c{self._run}-{self._serial}")
        )

    def _visit(self, who: Shopper, at: int, cart: Cart) -> None:
        visit = Visit(who, at, cart, self._chance)
        self._advance(_Ongoing(who.id, visit.steps(), visit, who))

    def _advance(self, ongoing: _Ongoing) -> None:
        step = next(ongoing.steps, None)
        if step is not None:
            self._serial += 1
            heapq.heappush(self._due, _Due(step[0], self._serial, step, ongoing))
        elif ongoing.visit is not None:
            self._perhaps_return(ongoing.visit)

    def _perhaps_return(self, visit: Visit) -> None:
        seen = visit.end >= self._options.start  # else nobody saw the cart being filled
        if seen and visit.cart.lines and not visit.ordered and self._chance.happens(_RETURNS):
            self._visit(visit.who, visit.end + int(self._chance.exponential(_RETURN_MEAN_MS)), visit.cart)

    def _bot(self, number: int) -> Iterator[Step]:
        at = self._options.start + number * 37
        while True:
            category = self._chance.pick(CATEGORY_NAMES)
            yield (
                at,
                "click",
                {
                    "action": "view",
                    "page": "product",
                    "category": category,
                    "product_id": f"{category}-0",
                    "device": "desktop",
                },
            )
            at += BOT_PAUSE_MS

    def _event(self, user: str, step: Step) -> ShopEvent:
        self._ids += 1
        ts, stream, fields = step
        return ShopEvent(stream, {"event_id": f"{self._run}-{self._ids}", "user_id": user, "ts": ts, **fields})


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
    return digits or "0"
