"""Conditions: trees → functions that answer (truth, until), and how answers combine."""
