"""Parts of the configuration of a training run."""
