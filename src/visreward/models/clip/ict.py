"""ICT: how far an image contains the text, saturating at 1 instead of punishing richness."""

from __future__ import annotations

from visreward.models.clip.similarity import CLIPSimilarity


class ICT(CLIPSimilarity):
    """Cosine of the ICT towers, no logit scale, in [-1, 1].

    Paper: Enhancing Reward Models for High-quality Image Generation (ICCV 2025, arXiv
    2507.19002), section 3. The released eval.py prints the same number.
    """

    kind = "ict"
