"""Reward models of generated and edited images: score, train, benchmark, audit, serve."""

__version__ = "0.1.0"
