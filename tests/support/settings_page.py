"""Writes docs/settings.md from the settings themselves: `python -m tests.support.settings_page`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import SecretStr

from app.domain.time import WRITTEN_UNITS_MS
from app.settings import Settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"
_HEAD = """# Settings

From weakest to strongest: the default, `hyperseg.yaml` (or the file named by `--config` or
`HYPERSEG_CONFIG`), the environment (`HYPERSEG_` and the name in capitals), flags
(`--set name=value` takes any). An unknown name is an error with a suggestion. Durations are written
`500ms`, `30s`, `5m`, `1h`, `7d`, `4w`, or as whole milliseconds.

| name | default | meaning |
|---|---|---|
"""


def page() -> str:
    """The page as it should be."""
    rows = [
        f"| `{name.removesuffix('_ms')}` | `{_default(name, field.default)}` | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return _HEAD + "\n".join(rows) + "\n"


def _default(name: str, value: Any) -> str:
    if isinstance(value, SecretStr):
        return ""
    return _duration(value) if name.endswith("_ms") else str(value).lower() if isinstance(value, bool) else str(value)


def _duration(ms: int) -> str:
    return next(f"{ms // size}{unit}" for unit, size in WRITTEN_UNITS_MS if ms % size == 0)


if __name__ == "__main__":
    PAGE.write_text(page())
