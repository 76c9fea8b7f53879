"""HPSv3: how much people like a generated image, and how well it fits its prompt."""

from __future__ import annotations

from visreward.models.vlm.reward import VLMReward


class HPSv3(VLMReward):
    """One Gaussian for a generated image and its prompt.

    Paper: HPSv3: Towards Wide-Spectrum Human Preference Score (ICCV 2025, arXiv 2508.03789),
    section 4. The score is mu; the release returns mu and log sigma side by side.
    """

    kind = "hpsv3"
