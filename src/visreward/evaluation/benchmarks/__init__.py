"""Benchmarks of reward models: one file each, and what they share."""
