"""visreward data label: build the labels E1, E2, R1, R2 of triplets from a CLIP model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Labelled(StrEnum):
    """Data sets whose labels come from a CLIP model."""

    PICK_HIGH = "pick-high"


def label(
    dataset: Annotated[Labelled, typer.Argument(help="The data set's kind.")],  # noqa: ARG001
    path: Annotated[Path, typer.Argument(help="Its folder.")],
    model: Annotated[
        str, typer.Option(help="CLIP model: a built-in, a catalog name or a native folder.")
    ] = "clip-mini",
    theta: Annotated[
        float | None,
        typer.Option(
            help="Cosine that counts as fully contained. "
            "Default: the 95th percentile of the winning images of the training split."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")] = "auto",
) -> None:
    """Build the labels E1, E2, R1, R2 from a CLIP model and write them beside the tables."""
    from visreward.core.extras import require_extra

    require_extra("train", "accelerate", "pydantic", "pyarrow")
    from rich.console import Console

    from visreward.core.errors import UsageError
    from visreward.models.clip.similarity import CLIPSimilarity
    from visreward.models.loading import load_model
    from visreward.training.data.labels import label_pick_high
    from visreward.training.reporting.journal import shown

    loaded = load_model(model, device=device)
    if not isinstance(loaded, CLIPSimilarity):
        raise UsageError(
            f"'{model}' is a '{loaded.kind}', but labels need the cosine of images and prompts. "
            "Choose a CLIP model, such as clip-mini or clipscore."
        )
    console = Console(stderr=True)
    with shown(console, "labels") as progress:
        used = label_pick_high(path, loaded, theta=theta, progress=progress)
    console.print(f"Labels written beside the tables of {path}, theta {used:.4f}.", highlight=False)
