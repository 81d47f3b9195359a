"""What is said of a setting that does not fit: one line with the source, the name, what was found
and the nearest valid name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from app.domain.errors import UsageError, nearest

Fields = Mapping[str, FieldInfo]


def refuse_unknown(given: Mapping[str, str], fields: Fields, prefix: str = "") -> None:
    """Raises UsageError for the first name in `given` (name → how its source calls it) that is no
    setting."""
    for name in sorted(given.keys() - fields.keys() - _spellings(fields)):
        raise UsageError(f"{given[name]}: no such setting{_suggest(name, fields, prefix)}")


def explain(error: ValidationError, fields: Fields, flags: Mapping[str, Any], env: Mapping[str, str], file: str) -> str:
    """The first complaint of `error` as one line. `env` maps setting → variable; a secret's value
    is left out."""
    first = error.errors(include_url=False, include_context=False)[0]
    name = ".".join(str(part) for part in first["loc"]) or "settings"
    top = str(first["loc"][0]).removesuffix("_ms") if first["loc"] else ""
    where = _source(top, flags, env, file)
    if first["type"] == "extra_forbidden":
        return f"{where}: {name} is no setting{_suggest(name, fields)}"
    found = "" if _is_secret(top, fields) else f"; found {first['input']!r:.80}"
    return f"{where}: {name} is wrong: {first['msg'].removeprefix('Value error, ')}{found}"


def _spellings(fields: Fields) -> set[str]:
    return {name.removesuffix("_ms") for name in fields}


def _suggest(name: str, fields: Fields, prefix: str = "") -> str:
    close = nearest(name, sorted(_spellings(fields))).strip('"')
    return f"; did you mean {prefix + close.upper() if prefix else close}?" if close else ""


def _is_secret(top: str, fields: Fields) -> bool:
    field = fields.get(top) or fields.get(f"{top}_ms")
    return field is None or field.annotation is SecretStr


def _source(top: str, flags: Mapping[str, Any], env: Mapping[str, str], file: str) -> str:
    """Which source gave the value that is complained about: the strongest that names it."""
    for spelled in (top, f"{top}_ms"):
        if spelled in flags:
            return f"flag {spelled}"
        if spelled in env:
            return f"environment variable {env[spelled]}"
    return file
