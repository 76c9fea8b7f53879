"""Readers of preference data, and the synthetic world."""
