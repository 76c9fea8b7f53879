"""Reward models on CLIP."""
