"""What a step computes: a model and its loss."""
