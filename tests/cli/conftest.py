"""Tiny reward models in native folders, pictures, and a way to call the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from typer.testing import CliRunner, Result

from visreward.cli.main import app
from visreward.models.clip.backbone import CLIPBackbone, CLIPBackboneConfig
from visreward.models.clip.hp import HP, ICTHP
from visreward.models.clip.ict import ICT
from visreward.models.clip.inputs import PixelInputs, TextInputs
from visreward.models.facts import ModelFacts
from visreward.training.modeling.tokenizer import train_tokenizer

CONTEXT = 16


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the native models `ict-hp` and `hp`, with random weights."""
    tokenizer = train_tokenizer(["a red ball", "a blue cube"], vocab_size=530)
    tower = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    vision = {**tower, "image_size": 16, "patch_size": 8}
    text = {
        **tower,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": CONTEXT,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    side = {"height": 16, "width": 16}
    pixels = PixelInputs(CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=side))
    ict = ICT(
        ModelFacts(name="tiny-ict", score_range=(-1.0, 1.0), fidelity="paper"),
        CLIPBackbone(CLIPBackboneConfig(vision=vision, text=text, projection_dim=16)),
        pixel_inputs=pixels,
        text_inputs=TextInputs(tokenizer, context=CONTEXT, cleaning="open_clip"),
    )
    hp = HP(
        ModelFacts(name="tiny-hp", needs_prompt=False, score_range=(0.0, 1.0), fidelity="paper"),
        CLIPBackbone(CLIPBackboneConfig(vision=vision, projection_dim=16)),
        pixel_inputs=pixels,
    )
    facts = ModelFacts(
        name="tiny",
        dimensions=("ict", "hp"),
        score_range=(-1.0, 1.0),
        fidelity="paper",
        note="knows nothing at all",
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in [*ict.parameters(), *hp.parameters()]:
            parameter.normal_(std=0.3, generator=generator)
    folder = tmp_path_factory.mktemp("models")
    ICTHP(facts, ict, hp).eval().save(folder / "ict-hp")
    hp.eval().save(folder / "hp")
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Return the paths of three pictures that differ."""
    paths = []
    for name, colour in (("red", (255, 0, 0)), ("green", (0, 255, 0)), ("blue", (0, 0, 255))):
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (20, 20), colour).save(path)
        paths.append(str(path))
    return paths


@pytest.fixture
def call() -> Callable[..., Result]:
    """Return a function that runs the command line on its arguments."""

    def run(*arguments: str | Path) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run
