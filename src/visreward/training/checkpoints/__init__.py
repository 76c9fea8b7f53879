"""What outlives a process: checkpoints, signals, and the record of a run."""
