"""Where every run begins: a vision tower that sees, and a language model that knows nothing yet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from visreward import load_model
from visreward.core.errors import UsageError
from visreward.models.vlm.backbone import VLMBackbone
from visreward.models.vlm.reward import VLMReward

CONFIG: Final = "config.json"


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a run begins with.

    Attributes:
        init: Folder or name of a model of edits, whose vision tower is taken.
        num_layers: How many layers the language model has.
        folder: Where the models of all seeds are kept.
    """

    init: str
    num_layers: int
    folder: Path

    def of_seed(self, seed: int) -> Path:
        """Return the folder of the model that runs of a seed begin with; made once.

        Raises:
            UsageError: if `init` is no vision-language model.
        """
        name = "".join(letter if letter.isalnum() else "-" for letter in self.init)
        found = self.folder / f"{name}-{self.num_layers}-{seed}"
        if not (found / CONFIG).is_file():
            _save(self.init, found, num_layers=self.num_layers, seed=seed)
        return found


def _save(init: str, folder: Path, *, num_layers: int, seed: int) -> None:
    """Save the model with its own vision tower and a new language model."""
    model = load_model(init)
    if not isinstance(model, VLMReward):
        raise UsageError(
            f"--init '{init}' is a '{model.kind}'. Give a model of edits, such as editreward-mini."
        )
    seen = model.backbone.model.visual.state_dict()
    config = model.backbone.to_dict()
    config["text_config"] = {**config["text_config"], "num_hidden_layers": num_layers}
    torch.manual_seed(seed)
    model.backbone = VLMBackbone(config)
    model.backbone.model.visual.load_state_dict(seen, strict=True)
    model.save(folder)
