"""A tiny CLIP and tiny made-up releases in every layout, written once for all tests here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from visreward.core.types import Sample
from visreward.models.clip.backbone import CLIPBackbone, CLIPBackboneConfig
from visreward.models.clip.hp import HP, ICTHP
from visreward.models.clip.ict import ICT
from visreward.models.clip.inputs import load_pixel_inputs, load_text_inputs
from visreward.models.facts import ModelFacts
from visreward.models.heads import LinearStack
from visreward.models.key_maps import CLIP, OPEN_CLIP, to_ours, to_released
from visreward.training.tokenizer import train_tokenizer

SIZE, WIDTH = 32, 24


@dataclass(frozen=True)
class TinyRelease:
    """Folders and tensors of one made-up release.

    Attributes:
        backbone: A transformers CLIP folder with random weights.
        checkpoint: Every released layout, with other random weights than the backbone.
        clip: The tensors of the checkpoint's CLIP, by transformers' names.
        head: The tensors of its head.
    """

    backbone: Path
    checkpoint: Path
    clip: dict[str, Tensor]
    head: dict[str, Tensor]


def random_clip(config: CLIPConfig, seed: int) -> dict[str, Tensor]:
    """Return random CLIP weights by transformers' names, large enough to tell images apart."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in CLIPModel(config).state_dict().items()}
    return {
        name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()
    } | {"logit_scale": torch.tensor(4.6052)}


def random_head(seed: int) -> dict[str, Tensor]:
    """Return random weights of the linear stack by the released names."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: value.shape for name, value in LinearStack(WIDTH).state_dict().items()}
    return {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in shapes.items()}


def write_backbone(folder: Path) -> CLIPConfig:
    """Write a tiny CLIP folder without weights."""
    tokenizer = train_tokenizer(["a red cube", "a blue ball on a table"], vocab_size=530)
    towers = {
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "hidden_act": "gelu",
    }
    config = CLIPConfig(
        text_config={
            **towers,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 20,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={**towers, "image_size": SIZE, "patch_size": 8},
        projection_dim=WIDTH,
    )
    folder.mkdir(parents=True)
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}
    ).save_pretrained(folder)
    return config


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    """Write a tiny backbone and a made-up release in every layout."""
    root = tmp_path_factory.mktemp("release")
    backbone, checkpoint = root / "backbone", root / "checkpoint"
    config = write_backbone(backbone)
    save_file(random_clip(config, seed=1), backbone / "model.safetensors")
    clip, head = random_clip(config, seed=2), random_head(seed=3)
    for folder in ("ICT", "HP/hp_backbone", "HP/hp_scorer"):
        (checkpoint / folder).mkdir(parents=True)
    old_buffers = {"vision_model.embeddings.position_ids": torch.arange(17)[None]}
    torch.save(clip | old_buffers, checkpoint / "ICT/pytorch_model.bin")
    torch.save(clip, checkpoint / "HP/hp_backbone/pytorch_model.bin")
    torch.save(head, checkpoint / "HP/hp_scorer/mlp_pytorch_model.bin")
    torch.save(head, checkpoint / "sac+logos+ava1-l14-linearMSE.pth")
    save_file(clip, checkpoint / "model.safetensors")
    open_clip = to_released(to_ours(clip, CLIP).tensors, OPEN_CLIP)
    torch.save({"epoch": 3, "state_dict": open_clip}, checkpoint / "HPS_v2_compressed.pt")
    return TinyRelease(backbone=backbone, checkpoint=checkpoint, clip=clip, head=head)


def make_ict(release: TinyRelease) -> ICT:
    """Build ICT with the weights of the release, without any file of weights."""
    config = CLIPBackboneConfig.from_clip(CLIPConfig.from_pretrained(release.backbone))
    model = ICT(
        ModelFacts(name="tiny-ict", score_range=(-1.0, 1.0), note="tiny"),
        CLIPBackbone(config),
        pixel_inputs=load_pixel_inputs(release.backbone),
        text_inputs=load_text_inputs(release.backbone, context=20, cleaning="open_clip"),
    )
    model.backbone.clip.load_state_dict(release.clip)
    return model.eval()


def make_hp(release: TinyRelease) -> HP:
    """Build HP with the weights of the release, without any file of weights."""
    config = CLIPBackboneConfig.from_clip(
        CLIPConfig.from_pretrained(release.backbone), image_only=True
    )
    model = HP(
        ModelFacts(name="tiny-hp", needs_prompt=False, score_range=(0.0, 1.0)),
        CLIPBackbone(config),
        pixel_inputs=load_pixel_inputs(release.backbone),
    )
    known = model.backbone.clip.state_dict()
    model.backbone.clip.load_state_dict({name: release.clip[name] for name in known})
    model.head.load_state_dict(release.head)
    return model.eval()


@pytest.fixture
def ict(release: TinyRelease) -> ICT:
    """Return a tiny ICT."""
    return make_ict(release)


@pytest.fixture
def hp(release: TinyRelease) -> HP:
    """Return a tiny HP."""
    return make_hp(release)


@pytest.fixture
def ict_hp(release: TinyRelease) -> ICTHP:
    """Return a tiny ICT x HP."""
    facts = ModelFacts(name="tiny", dimensions=("ict", "hp"), score_range=(-1.0, 1.0))
    return ICTHP(facts, make_ict(release), make_hp(release)).eval()


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    """Return three samples: a square, a wide and a tall picture."""
    generator = torch.Generator().manual_seed(4)
    shapes = {"a red cube": (40, 40), "a ball": (36, 90), "a table, a ball": (90, 36)}
    return [
        Sample(
            prompt=prompt,
            image=Image.fromarray(
                torch.randint(0, 256, (*shape, 3), generator=generator, dtype=torch.uint8).numpy()
            ),
        )
        for prompt, shape in shapes.items()
    ]
