"""Training: the one place where models, losses and data meet."""
