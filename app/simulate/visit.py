"""One visit to the shop: pages, a cart, a checkout, an order, or leaving on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from app.simulate.catalog import COUPONS, PRODUCTS_PER_CATEGORY, Product, discount, product
from app.simulate.chance import Chance, Zipf
from app.simulate.shopper import Shopper

Step = tuple[int, str, dict[str, Any]]  # instant (ms), stream, fields
_POPULAR = Zipf(PRODUCTS_PER_CATEGORY)
_LEAVES = 0.32  # after each category
_PACE_SIGMA = 0.9
_PAUSE_S_MAX = 600.0  # longer is a new visit


@dataclass(slots=True)
class Cart:
    """What is in a cart: (product, price after discount, quantity) a line."""

    id: str
    lines: list[tuple[Product, float, int]] = field(default_factory=list)

    def amount(self) -> float:
        return round(sum(price * quantity for _, price, quantity in self.lines), 2)

    def quantity(self) -> int:
        return sum(quantity for _, _, quantity in self.lines)


class Visit:
    """One visit of `who` from `start` (ms). `cart` is one left behind earlier, or an empty new one.
    After `steps` is exhausted, `ordered` says whether it ended in an order and `end` when."""

    def __init__(self, who: Shopper, start: int, cart: Cart, chance: Chance) -> None:
        self.who = who
        self.cart = cart
        self.end = start
        self.ordered = False
        self._chance = chance
        self._common = {"device": who.devices.pick(chance), "country": who.country}

    def steps(self) -> Iterator[Step]:
        """What happens, in time order."""
        if self.cart.lines:  # came back for what was left behind
            yield self._click("cart", "view", cart_id=self.cart.id)
        else:
            yield from self._browse()
        if self.cart.lines:
            yield from self._leave_or_buy()

    def _browse(self) -> Iterator[Step]:
        chance = self._chance
        if chance.happens(0.5):
            yield self._click("home", "view")
        while True:
            category = self.who.tastes.pick(chance)
            if chance.happens(0.2):
                yield self._click("search", "search", query=category)
            yield self._click("category", "view", category=category)
            for _ in range(chance.whole(0, 3)):
                yield from self._look(product(category, _POPULAR.pick(chance)))
            if chance.happens(_LEAVES):
                return

    def _look(self, what: Product) -> Iterator[Step]:
        off = discount(self._chance)
        price = round(what.price * (100 - off) / 100, 2)
        seen = {"product_id": what.id, "category": what.category, "price": price, "discount": off}
        yield self._click("product", "view", **seen)
        wants = 0.07 * self.who.resolve * (1.0 - 0.5 * self.who.thrift) * (1.0 + self.who.thrift * off / 15.0)
        if not self._chance.happens(wants):
            return
        quantity = 1 if self._chance.happens(0.85) else self._chance.whole(2, 4)
        self.cart.lines.append((what, price, quantity))
        yield self._at("cart", action="add", cart_id=self.cart.id, quantity=quantity, **seen)
        if self._chance.happens(0.08):
            self.cart.lines.pop()
            yield self._at("cart", action="remove", cart_id=self.cart.id, quantity=quantity, **seen)

    def _leave_or_buy(self) -> Iterator[Step]:
        chance = self._chance
        if not chance.happens(0.75):
            return
        yield self._click("cart", "view", cart_id=self.cart.id)
        if not chance.happens(0.4 + 0.35 * self.who.resolve):
            return
        for step in ("address", "payment"):
            yield self._click("checkout", "view", cart_id=self.cart.id, step=step)
            if chance.happens(0.12 + 0.12 * self.who.thrift):
                return
        yield self._order()

    def _order(self) -> Step:
        coupon = self._chance.pick(COUPONS) if self._chance.happens(0.25 * self.who.thrift) else None
        off = int(coupon[-2:]) if coupon else 0
        dearest, price, _ = max(self.cart.lines, key=lambda line: (line[1], line[0].id))
        self.ordered = True
        return self._at(
            "purchase",
            action="order",
            order_id=f"o{self.cart.id[1:]}",
            cart_id=self.cart.id,
            amount=round(self.cart.amount() * (100 - off) / 100, 2),
            quantity=self.cart.quantity(),
            product_id=dearest.id,
            category=dearest.category,
            price=price,
            products=[line[0].id for line in self.cart.lines],
            coupon=coupon,
        )

    def _click(self, page: str, action: str, **fields: Any) -> Step:
        return self._at("click", action=action, page=page, **fields)

    def _at(self, stream: str, **fields: Any) -> Step:
        pause_s = min(self._chance.lognormal(self.who.pace_s, _PACE_SIGMA), _PAUSE_S_MAX)
        self.end += 1 + int(pause_s * 1000)
        return self.end, stream, fields | self._common
