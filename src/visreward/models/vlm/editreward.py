"""EditReward: how well an edit follows its instruction, and how good it looks."""

from __future__ import annotations

from visreward.models.vlm.reward import VLMReward


class EditReward(VLMReward):
    """Two Gaussians for an edited image beside its source, fused into one.

    Paper: EditReward (ICLR 2026, arXiv 2509.26346), section 4. Each dimension has a rating prompt
    and a head of its own; the released models average mu and log sigma.
    """

    kind = "editreward"
