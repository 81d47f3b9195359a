"""Who visits: each user's lasting traits, a function of (seed, number) so that none have to be
kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from app.simulate.catalog import CATEGORIES, CHANNELS, COUNTRIES, PLANS
from app.simulate.chance import Chance, Weighted

_DEVICES = (("mobile", 55.0), ("desktop", 35.0), ("tablet", 10.0))
_FAVOURITE = 12.0  # a favourite category draws this many times more than its share


@dataclass(frozen=True, slots=True)
class Shopper:
    """One user. `thrift` (0 to 1) is how much a price deters and a discount draws; `resolve` how
    readily browsing becomes buying; `pace_s` the median seconds between two clicks."""

    id: str
    country: str
    age: int
    plan: str
    channel: str
    marketing: bool
    tastes: Weighted[str]
    devices: Weighted[str]
    thrift: float
    resolve: float
    pace_s: float

    def profile(self) -> dict[str, Any]:
        """The fields of the profile event."""
        attributes = {"age": self.age, "country": self.country, "plan": self.plan, "channel": self.channel}
        return {"attributes": attributes, "consent": {"marketing": self.marketing}}


@lru_cache(maxsize=20_000)  # those who come often are few
def shopper(seed: int, number: int) -> Shopper:
    """The user of this number in the shop of this seed."""
    chance = Chance(f"{seed}/shopper/{number}")
    plan = PLANS.pick(chance)
    return Shopper(
        id=f"u{number}",
        country=COUNTRIES.pick(chance),
        age=min(90, 16 + int(chance.lognormal(18.0, 0.5))),
        plan=plan,
        channel=CHANNELS.pick(chance),
        marketing=chance.happens(0.6),
        tastes=_tastes(chance),
        devices=_devices(chance),
        thrift=chance.roll(),
        resolve=chance.between(0.5, 1.3) + (0.3 if plan == "premium" else 0.0),
        pace_s=chance.between(12.0, 40.0),
    )


def _tastes(chance: Chance) -> Weighted[str]:
    everything = Weighted([(name, share) for name, (share, _) in CATEGORIES.items()])
    favourites = {everything.pick(chance) for _ in range(chance.whole(1, 3))}
    return Weighted(
        [(name, share * (_FAVOURITE if name in favourites else 1.0)) for name, (share, _) in CATEGORIES.items()]
    )


def _devices(chance: Chance) -> Weighted[str]:
    usual = Weighted(_DEVICES).pick(chance)
    return Weighted([(name, 85.0 if name == usual else 7.5) for name, _ in _DEVICES])
