"""Bytes from a topic or a file → one checked `Event`, or `Refused` with the exact reason.

The shape of an event (scalar fields, lists of scalars, nested objects to a bounded depth, string
and field counts) is one msgspec type, so the whole check runs in the decoder's C code at a fraction
of a microsecond; only what it cannot say (which id, which timestamp form) is Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args

import msgspec
from msgspec import Meta

from app.domain import limits
from app.domain.errors import RefusalReason, Refused, nearest
from app.domain.events import Event
from app.domain.streams import Stream
from app.domain.time import instant_ms

_Text = Annotated[str, Meta(max_length=limits.EVENT_STRING_BYTES_MAX)]
_Scalar = _Text | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float | bool | None
_List = list[_Scalar]


def _object_type(depth: int) -> Any:
    """An object whose values go `depth` levels deep."""
    return Annotated[dict[str, _value_type(depth)], Meta(max_length=limits.EVENT_FIELDS_MAX)]  # type: ignore[misc]  # a type computed at run time


def _value_type(depth: int) -> Any:
    """What may stand at one level of an event: a scalar, a list of scalars, or an object one level
    deeper."""
    if depth == 1:
        return _Scalar | _List
    return _Scalar | _List | _object_type(depth - 1)


_decode = msgspec.json.Decoder(_object_type(limits.EVENT_DEPTH_MAX)).decode

REASONS: tuple[RefusalReason, ...] = get_args(RefusalReason)
"""Every reason a record is refused for."""


def decode_event(raw: bytes, stream: Stream, key: bytes | None, origin: str) -> Event:
    """The event in `raw`, which came from `stream` under `key` (None: not keyed, as in files).

    `origin` ("clicks-0-42") names the record where it has no event_id. Raises Refused.
    """
    return event_from(decode_fields(raw), stream, key, origin)


def event_of_line(raw: bytes, streams: Mapping[str, Stream], place: str) -> Event:
    """The event in a line of an event file, whose `type` names one of `streams` (name → stream).

    `place` ("shop.jsonl:7") names the line where it has no event_id. Raises Refused: as
    `decode_event` does, and with `unknown_type` for a type that no stream has.
    """
    fields = decode_fields(raw)
    kind = fields.pop("type", None)
    stream = stream_of_type(kind, streams)
    if stream is None:
        hint = nearest(str(kind), streams)
        detail = f"type is {kind!r}, expected one of {', '.join(streams)}" + (f"; did you mean {hint}?" if hint else "")
        raise Refused("unknown_type", detail)
    return event_from(fields, stream, None, place)


def stream_of_type(kind: object, streams: Mapping[str, Stream]) -> Stream | None:
    """The stream that the `type` of a line names; None for what is no stream's name."""
    return streams.get(kind) if isinstance(kind, str) else None


def decode_fields(raw: bytes) -> dict[str, Any]:
    """The record as a JSON object within every limit, reserved keys still in it. Raises Refused."""
    if len(raw) > limits.EVENT_BYTES_MAX:
        raise Refused(
            "too_large",
            f"{len(raw)} bytes, at most {limits.EVENT_BYTES_MAX} (EVENT_BYTES_MAX): send references instead "
            "of documents",
        )
    if b"\\u0000" in raw or b"\x00" in raw:
        raise Refused("bad_field", "a null character (\\u0000) in the record: remove it at the producer")
    try:
        fields: dict[str, Any] = _decode(raw)
    except msgspec.ValidationError as error:
        raise Refused("bad_field", _explained(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused("not_json", f"{error}: send one JSON object in UTF-8") from None
    except RecursionError:
        raise Refused("bad_field", f"nested deeper than {limits.EVENT_DEPTH_MAX} (EVENT_DEPTH_MAX)") from None
    return fields


def event_from(fields: dict[str, Any], stream: Stream, key: bytes | None, origin: str) -> Event:
    """The event of decoded `fields`, which are taken over: reserved keys are moved out of the dict.
    Raises Refused."""
    pop = fields.pop
    user = pop("user_id", None)
    anonymous = pop("anonymous_id", None)
    if user is None:
        user = anonymous
    if type(user) is not str or not 0 < len(user) <= limits.USER_ID_CHARS_MAX:
        raise _bad_user(user)
    if key is not None and key != user.encode():
        raise Refused(
            "key_mismatch",
            f"the record's key {_shown(key)} differs from its user {_shown(user)}: key every record by its user id",
        )
    ts = pop("ts", None)
    if type(ts) is not int:
        ts = _timestamp(ts)
    if not limits.TS_MIN_MS <= ts <= limits.TS_MAX_MS:
        raise Refused(
            "bad_ts",
            f"ts is {ts}, expected epoch milliseconds (13 digits "
            f"today){': this looks like seconds' if 0 < ts < limits.TS_MIN_MS else ''}",
        )
    event_id = pop("event_id", None)
    if event_id is None:
        return Event(user, ts, stream.name, stream.rank, origin, False, _content(fields, stream))
    if type(event_id) is not str or not 0 < len(event_id) <= limits.EVENT_ID_CHARS_MAX:
        raise Refused(
            "bad_field",
            f"event_id is {_shown(event_id)}, expected a text of 1 to {limits.EVENT_ID_CHARS_MAX} characters",
        )
    return Event(user, ts, stream.name, stream.rank, event_id, True, _content(fields, stream))


def _content(fields: dict[str, Any], stream: Stream) -> dict[str, Any]:
    if stream.behaviour:
        return fields
    attributes, consent = fields.get("attributes"), fields.get("consent")
    for name, value in (("attributes", attributes), ("consent", consent)):
        if value is not None and not isinstance(value, dict):
            raise Refused("bad_field", f"{name} is {_shown(value)}, expected an object")
    if attributes is None and consent is None:
        raise Refused("bad_field", 'a profile carries nothing, expected "attributes" or "consent"')
    for name, value in (consent or {}).items():
        if value is not None and type(value) is not bool:
            raise Refused("bad_field", f"consent.{name} is {_shown(value)}, expected true, false or null")
    return {"attributes": attributes or {}, "consent": consent or {}}


def _bad_user(user: Any) -> Refused:
    if user is None or user == "":
        return Refused("no_user", "no user_id and no anonymous_id: send one of them")
    return Refused(
        "bad_field", f"user_id is {_shown(user)}, expected a text of 1 to {limits.USER_ID_CHARS_MAX} characters"
    )


def _timestamp(ts: Any) -> int:
    if isinstance(ts, str):
        ms = instant_ms(ts)
        if ms is not None:
            return ms
    elif type(ts) is float and ts.is_integer() and abs(ts) < 2**53:
        return int(ts)
    raise Refused(
        "bad_ts",
        f"ts is {_shown(ts)}, expected epoch milliseconds or RFC 3339 with a zone such as 2026-11-22T10:00:00Z",
    )


def _explained(message: str) -> str:
    if "length <=" in message and "`str`" in message:
        return f"{message}: texts have at most {limits.EVENT_STRING_BYTES_MAX} characters (EVENT_STRING_BYTES_MAX)"
    if "length <=" in message:
        return f"{message}: an object has at most {limits.EVENT_FIELDS_MAX} fields (EVENT_FIELDS_MAX)"
    return (
        f"{message}: fields are texts, numbers, booleans, null, lists of those, or objects at most "
        f"{limits.EVENT_DEPTH_MAX} deep"
    )


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "…"
