"""How many requests an address may make: one token bucket each, the addresses bounded."""

from __future__ import annotations

from collections import OrderedDict

from app.web import limits


class Throttle:
    """`rate` requests a second for each key, `burst` at once. Time is an argument, in seconds of a clock that never goes back."""

    def __init__(self, rate: float, burst: int, keys_max: int = limits.CLIENT_ADDRESSES_MAX) -> None:
        self._rate = rate
        self._burst = burst
        self._keys_max = keys_max
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, key: str, now: float) -> float:
        """0.0 and the request is counted, or the seconds after which it would be let through."""
        tokens, at = self._buckets.pop(key, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - at) * self._rate)
        allowed = tokens >= 1.0
        self._buckets[key] = (tokens - 1.0 if allowed else tokens, now)
        if len(self._buckets) > self._keys_max:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - tokens) / self._rate
