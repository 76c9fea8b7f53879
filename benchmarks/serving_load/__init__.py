"""What the serving benchmarks share: a real server, its load, and the library beside it."""
