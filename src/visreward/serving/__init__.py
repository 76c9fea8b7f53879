"""The reward server and its clients."""
