"""Records, errors and image reading that need neither torch nor a network."""
