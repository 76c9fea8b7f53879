"""A synthetic world with known right answers."""
