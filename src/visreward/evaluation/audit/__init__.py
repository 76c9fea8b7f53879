"""Is a reward model sound? Probes, one file per family, and what they share."""
