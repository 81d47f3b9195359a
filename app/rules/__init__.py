"""The segment language: text → tree → types → plan. Pure."""
