"""Small modules trained on a backbone's features.

Shape letters: M images, D features.
"""

from __future__ import annotations

from torch import Tensor, nn


class LinearStack(nn.Module):
    """Five linear layers to one number, as in HP and in LAION's aesthetic predictor.

    There is no activation between the layers, in both releases, so the head is one linear map at
    inference; dropout makes the difference in training only.
    Source: ICT & HP release, trainer/models/icthp_model.py; sizes D-1024-128-64-16-1.
    """

    def __init__(self, input_dim: int, hidden_dim: int = 1024) -> None:
        super().__init__()
        # The released keys are layers.{0,2,4,6,7}: dropouts take the places in between.
        self.layers = nn.Sequential(
            nn.Linear(input_dim, hidden_dim),
            nn.Dropout(0.2),
            nn.Linear(hidden_dim, 128),
            nn.Dropout(0.2),
            nn.Linear(128, 64),
            nn.Dropout(0.1),
            nn.Linear(64, 16),
            nn.Linear(16, 1),
        )

    def reset(self) -> None:
        """Draw new weights: N(0, 1 / (D + 1)) and zero biases, as the release does."""
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=1 / (first.in_features + 1))
                nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return (M,) logits from (M, D) features."""
        return self.layers(features).squeeze(-1)  # type: ignore[no-any-return]
