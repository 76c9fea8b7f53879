"""Reward models on vision-language backbones."""
