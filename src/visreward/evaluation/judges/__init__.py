"""Judges: multimodal language models behind an endpoint, chance and people, asked like models."""

from visreward.evaluation.judges.loading import load_judge

__all__ = ["load_judge"]
