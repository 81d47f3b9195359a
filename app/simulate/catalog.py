"""What the shop sells and where its visitors come from: constants, and prices that follow from a
product's number."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from app.simulate.chance import Chance, Weighted

PRODUCTS_PER_CATEGORY = 200

# Category → (how many are drawn to it, median price).
CATEGORIES: dict[str, tuple[float, float]] = {
    "shoes": (14, 80.0),
    "yoga": (9, 35.0),
    "running": (11, 60.0),
    "outdoor": (8, 120.0),
    "cycling": (6, 150.0),
    "kids": (9, 25.0),
    "beauty": (12, 22.0),
    "home": (10, 45.0),
    "kitchen": (7, 40.0),
    "books": (8, 15.0),
    "games": (7, 50.0),
    "electronics": (9, 220.0),
}
CATEGORY_NAMES = tuple(CATEGORIES)
COUNTRIES = Weighted(
    [
        ("DE", 22.0),
        ("US", 20.0),
        ("GB", 16.0),
        ("FR", 12.0),
        ("NL", 8.0),
        ("ES", 8.0),
        ("PL", 7.0),
        ("SE", 4.0),
        ("JP", 3.0),
    ]
)
PLANS = Weighted([("free", 70.0), ("plus", 22.0), ("premium", 8.0)])
CHANNELS = Weighted([("organic", 40.0), ("ads", 25.0), ("email", 15.0), ("social", 12.0), ("referral", 8.0)])
COUPONS = ("WELCOME10", "SPRING15", "COMEBACK20")
_DISCOUNTS = Weighted([(0, 72.0), (10, 14.0), (20, 9.0), (30, 5.0)])


class Product(NamedTuple):
    """One product; `price` before its `discount` (per cent), which depends on the day."""

    id: str
    category: str
    price: float


@lru_cache(maxsize=len(CATEGORIES) * PRODUCTS_PER_CATEGORY)
def product(category: str, number: int) -> Product:
    """The category's product of this number; its price is the same in every run."""
    chance = Chance(f"{category}/{number}")
    price = max(1.0, round(chance.lognormal(CATEGORIES[category][1], 0.6)) - 0.01)
    return Product(f"{category}-{number}", category, round(price, 2))


def discount(chance: Chance) -> int:
    """Per cent off, mostly none."""
    return _DISCOUNTS.pick(chance)
