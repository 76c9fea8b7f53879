"""Metrics on arrays: no torch, the same numbers on every machine, intervals beside values."""
