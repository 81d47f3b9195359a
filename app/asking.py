"""Asking a running worker over HTTP: the only place where a command does."""

from __future__ import annotations

from urllib.parse import quote

import httpx
import msgspec

from app.domain.errors import InputError, Unreachable
from app.domain.views import Explanation, Explanations

_SECONDS_MAX = 10.0  # the longest a command waits; a worker answers in milliseconds


def worker_url(host: str, port: int) -> str:
    """Where the worker of these settings listens, seen from this machine."""
    reachable = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - what is bound to all is asked here
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def ask_explanation(
    url: str, user: str, segment: str | None, at: int | None, transport: httpx.BaseTransport | None = None
) -> Explanation | Explanations:
    """`GET /api/users/{user}/explain` of the worker at `url`: of one segment or of all.

    Raises InputError for what it refuses, Unreachable without an answer.
    """
    given = {"segment": segment, "at": at}
    try:
        with httpx.Client(base_url=url, timeout=_SECONDS_MAX, trust_env=False, transport=transport) as client:
            answer = client.get(f"/api/users/{quote(user, safe='')}/explain", params={k: v for k, v in given.items() if v is not None})
            found = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        what = str(error) or type(error).__name__
        raise Unreachable(
            f"worker {url}: no answer ({what}); start one with hyperseg worker, name it with --url, or give --events"
        ) from None
    if answer.is_success and isinstance(found, dict):
        try:
            if "segments" in found:
                return msgspec.convert(found, Explanations)
            return msgspec.convert(found, Explanation)
        except msgspec.ValidationError as error:
            raise InputError(f"worker {url}: no explanation ({error}); is it hyperseg, and of this version?") from None
    detail = found.get("detail") or found.get("title") if isinstance(found, dict) else ""
    kind = Unreachable if answer.status_code >= 500 else InputError
    raise kind(f"worker {url}: {answer.status_code}: {detail or 'no explanation'}")
