"""What every request passes before a route sees it: the host it names, its rate, its body's size;
and the headers every answer gets.

Plain ASGI, so that streams pass through untouched.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from urllib.parse import unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.web import limits
from app.web.problems import Problem

HOPS_HEADER = "hyperseg-hops"

# No inline script or style, nothing from elsewhere, no framing; the console needs no more than its
# own files and its own stream.
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
        "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """The outermost layer. `hosts` are the names besides `localhost` and literal addresses under
    which the server may be addressed.

    A page of another site that points its own name at the loopback address is refused by that (the
    name is not ours), and it cannot read answers across origins, since none of ours allows it.
    """

    def __init__(
        self, app: ASGIApp, hosts: Iterable[str] = (), monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._hosts = {"localhost", *hosts}
        self._monotonic = monotonic
        self._clients = Throttle(limits.REQUESTS_PER_SECOND_MAX, limits.REQUESTS_BURST_MAX)
        self._peers = Throttle(limits.PEER_REQUESTS_PER_SECOND_MAX, limits.PEER_REQUESTS_BURST_MAX)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        _keep_slashes(scope)
        guarded = _with_headers(send)
        problem = self._refusal(scope, headers)
        if problem is not None:
            await problem.response(scope["path"])(scope, receive, guarded)
            return
        await self._app(scope, _bounded(receive), guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> Problem | None:
        if not self._known_host(headers.get("host", "")):
            return Problem(
                421, "wrong-host", "Address this server by localhost, by its address, or by a name from its settings."
            )
        if _declared_length(headers) > limits.BODY_BYTES_MAX:
            return too_large()
        address = (scope.get("client") or ("", 0))[0]
        throttle = self._peers if HOPS_HEADER in headers else self._clients
        seconds = throttle.wait(address, self._monotonic())
        if seconds:
            retry = str(math.ceil(seconds))
            return Problem(
                429, "too-many-requests", f"Wait {seconds:.1f} s before the next request.", {"Retry-After": retry}
            )
        return None

    def _known_host(self, host: str) -> bool:
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if name.lower() in self._hosts:
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` is reached from its own machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def too_large() -> Problem:
    """A body above the limit."""
    return Problem(413, "too-large", f"A body may have at most {limits.BODY_BYTES_MAX} bytes.")


def _declared_length(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    return int(text) if text.isascii() and text.isdigit() else 0


def _keep_slashes(scope: Scope) -> None:
    """Leave %2F and %25 of the path encoded, so that an id with a slash is one segment of the path;
    routes decode them (`path_text`).
    """
    raw = scope.get("raw_path")
    if raw and b"%" in raw:
        text = raw.split(b"?", 1)[0].decode("ascii", "replace")
        kept = text.replace("%25", "%2525").replace("%2F", "%252F").replace("%2f", "%252F")
        scope["path"] = unquote(kept)


def path_text(text: str) -> str:
    """A path parameter as the client meant it (see `_keep_slashes`)."""
    return unquote(text) if "%" in text else text


def _bounded(receive: Receive) -> Receive:
    """The request's body, refused once it is larger than allowed (a length is not always
    declared)."""
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limits.BODY_BYTES_MAX:
            raise too_large()
        return message

    return bounded


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return guarded


class Throttle:
    """How many requests an address may make: one token bucket each, the addresses bounded.

    `rate` requests a second for each key, `burst` at once. Time is an argument, in seconds of a
    clock that never goes back.
    """

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
