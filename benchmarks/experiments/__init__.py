"""Small trainings that show what a loss, a head, ties, noise or a filter do to a reward model."""
