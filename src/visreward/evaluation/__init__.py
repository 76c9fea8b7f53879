"""Metrics, benchmark runs and reports."""
