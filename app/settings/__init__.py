"""The settings of a process: names, defaults, sources (`settings`) and what is said of a wrong
value (`errors`)."""

from app.settings.settings import Settings, load_settings, parse_set

__all__ = ["Settings", "load_settings", "parse_set"]
