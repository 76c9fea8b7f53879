"""EditReward at a given size with random weights: our model, and the way of the released code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from visreward.core.images import read_image
from visreward.core.types import Sample
from visreward.models.facts import ModelFacts
from visreward.models.heads import HeadConfig
from visreward.models.vlm.backbone import VLMBackbone
from visreward.models.vlm.editreward import EditReward
from visreward.models.vlm.inputs import VLMInputs
from visreward.models.vlm.pixels import PatchInputs, PixelBudget, pixels_of
from visreward.models.vlm.rating_prompts import ChatInputs, RatingPrompts
from visreward.models.vlm.sequences import line_up
from visreward.models.vlm.settings import VLMSettings
from visreward.training.modeling.chat_tokenizer import (
    IMAGE,
    VIDEO,
    VISION_START,
    train_chat_tokenizer,
)

PIXELS = 256 * 28 * 28
"""What the released models see of an image: 256 tokens of 28 x 28 pixels."""

COMMON = "Judge the edit below, "
_CRITERIA = "weigh every visible change against the request; "
INSTRUCTION = "add a green bowl on the branch, keep all"
SUFFIX = "\nRating: <|Reward|>\n\nEND\n"


def rating_prompts(num_tokens: tuple[int, int]) -> RatingPrompts:
    """Return two rating prompts that make so many tokens of one byte up to the reward token."""
    texts = []
    for name, wanted in zip(("following: ", "quality: "), num_tokens, strict=True):
        head = COMMON + name
        tail = "\nRequest: {text_prompt}"
        filler = wanted - len(head) - len("\nRequest: ") - len(INSTRUCTION) - len("\nRating: ")
        texts.append(head + (_CRITERIA * 30)[:filler] + tail)
    return RatingPrompts(
        templates={"instruction_following": texts[0], "visual_quality": texts[1]}, suffix=SUFFIX
    )


@dataclass(frozen=True, kw_only=True)
class Size:
    """The shape of a Qwen2.5-VL.

    Attributes:
        vision: Width, layers, heads, inner width, of the vision tower.
        language: The same of the language model.
        num_key_heads: Of the language model.
    """

    vision: tuple[int, int, int, int]
    language: tuple[int, int, int, int]
    num_key_heads: int

    def config(self, vocab_size: int, ids: dict[str, int]) -> dict[str, Any]:
        """Return the configuration for transformers."""
        width, layers, heads, inner = self.language
        half = width // heads // 2
        section = [half - 2 * (3 * half // 8), 3 * half // 8, 3 * half // 8]
        v_width, v_layers, v_heads, v_inner = self.vision
        return {
            "model_type": "qwen2_5_vl",
            "image_token_id": ids[IMAGE],
            "video_token_id": ids[VIDEO],
            "vision_start_token_id": ids[VISION_START],
            "text_config": {
                "model_type": "qwen2_5_vl_text",
                "hidden_size": width,
                "num_hidden_layers": layers,
                "num_attention_heads": heads,
                "num_key_value_heads": self.num_key_heads,
                "intermediate_size": inner,
                "vocab_size": vocab_size,
                "bos_token_id": None,
                "eos_token_id": None,
                "rms_norm_eps": 1e-6,
                "rope_parameters": {
                    "rope_type": "default",
                    "mrope_section": section,
                    "rope_theta": 1e6,
                },
            },
            "vision_config": {
                "model_type": "qwen2_5_vl",
                "depth": v_layers,
                "hidden_size": v_width,
                "num_heads": v_heads,
                "intermediate_size": v_inner,
                "out_hidden_size": width,
                "fullatt_block_indexes": [v_layers // 2 - 1, v_layers - 1],
                "window_size": 112,
                "patch_size": 14,
                "spatial_merge_size": 2,
                "temporal_patch_size": 2,
                "in_channels": 3,
            },
        }

    def language_flops(self) -> float:
        """Return the operations of one token in the language model, attention aside."""
        width, layers, heads, inner = self.language
        keys = width // heads * self.num_key_heads
        return 2.0 * layers * (2 * width * width + 2 * width * keys + 3 * width * inner)

    def vision_flops(self, patches: int) -> float:
        """Return the operations of one image in the vision tower, attention aside."""
        width, layers, _, inner = self.vision
        block = 4 * width * width + 3 * width * inner
        merger = (4 * width) ** 2 + 4 * width * self.language[0]
        embedding = 3 * 2 * 14 * 14 * width
        return 2.0 * (patches * (layers * block + embedding) + patches // 4 * merger)


SIZES = {
    "tiny": Size(vision=(32, 2, 2, 64), language=(64, 2, 4, 128), num_key_heads=2),
    "mid": Size(vision=(320, 8, 5, 856), language=(896, 11, 14, 2432), num_key_heads=2),
    "7b": Size(vision=(1280, 32, 16, 3420), language=(3584, 28, 28, 18944), num_key_heads=4),
}


def make_pictures(folder: Path, num: int) -> list[Path]:
    """Write pictures of 512 px, each its own."""
    rng = np.random.default_rng(3)
    paths = []
    for number in range(num):
        small = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
        path = folder / f"{number}.png"
        small.resize((512, 512), Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    return paths


def edits(source: Path, images: Sequence[Path]) -> list[Sample]:
    """Return candidate edits of one source image."""
    return [Sample(prompt=INSTRUCTION, image=each, source_image=source) for each in images]


def build_ours(size: Size, *, device: torch.device, dtype: torch.dtype) -> EditReward:
    """Return our model with random weights; token counts are those of the released prompts."""
    tokenizer = train_chat_tokenizer([], vocab_size=0)
    processor = Qwen2VLImageProcessorPil()
    ids = tokenizer.get_vocab()
    torch.manual_seed(0)
    with device:
        previous = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            backbone = VLMBackbone(size.config(len(tokenizer), ids))
        finally:
            torch.set_default_dtype(previous)
        model = EditReward(
            ModelFacts(
                name="random",
                needs_source=True,
                dimensions=("instruction_following", "visual_quality"),
            ),
            backbone,
            inputs=VLMInputs(
                patches=PatchInputs(
                    processor, budgets=[PixelBudget(min_pixels=PIXELS, max_pixels=PIXELS)]
                ),
                chat=ChatInputs(tokenizer, rating_prompts((376, 351))),
                settings=VLMSettings(head=HeadConfig(num_heads=2), positions="1d"),
            ),
        )
    return model.eval()


class Released:
    """Each candidate, each rating prompt: both images encoded, the whole prompt run, padded.

    transformers' own classes on the weights of ours; 1-D positions, as the release calls them.
    """

    def __init__(self, ours: EditReward, config: dict[str, Any]) -> None:
        self.ours = ours
        values = transformers.Qwen2_5_VLConfig.from_dict(config)
        values._attn_implementation = "sdpa"
        with torch.device("meta"):
            self.model: Any = transformers.Qwen2_5_VLModel(values)
        self.model.load_state_dict(ours.backbone.model.state_dict(), assign=True)
        self.model.visual.rotary_pos_emb = ours.backbone.model.visual.rotary_pos_emb
        self.model.language_model.rotary_emb = ours.backbone.model.language_model.rotary_emb
        self.model.train(mode=False)

    @torch.inference_mode()
    def score(self, samples: Sequence[Sample], *, batch_size: int) -> list[float]:
        """Return the fused scores of some samples."""
        fused = []
        for start in range(0, len(samples), batch_size):
            logits = []
            for number in (0, 1):
                batch = [(each.prompt, self.pixels(each)) for each in samples[start:][:batch_size]]
                logits.append(self.logits(batch, number))
            fused += torch.stack(logits).mean(dim=0)[:, 0].tolist()
        return fused

    def pixels(self, sample: Sample) -> list[Tensor]:
        """Return (3, H, W) uint8 of a sample's images, decoded and resized."""
        inputs = self.ours.inputs.patches
        shown = (*sample.sources, sample.image)
        return [pixels_of(inputs.resized(read_image(each))) for each in shown]

    def logits(self, samples: Sequence[tuple[str, list[Tensor]]], number: int) -> Tensor:
        """Return (B, 2) logits of one dimension, of prompts and pictures; differentiable."""
        ours, device = self.ours, self.ours.device
        name = list(ours.inputs.chat.prompts.templates)[number]
        rows, images = [], []
        for prompt, shown in samples:
            placed = [
                ours.inputs.placed(place, image.shape[1:]) for place, image in enumerate(shown)
            ]
            pieces = ours.inputs.chat.tokens(name, prompt, num_images=2)
            rows.append(line_up(pieces, placed, image_id=ours.inputs.chat.image_id, positions="1d"))
            images += shown
        patches = ours.inputs.patches.patches(images)
        features = self.model.get_image_features(
            patches.values.to(device), patches.grids.to(device)
        ).pooler_output
        ids = pad_sequence([torch.from_numpy(row.ids) for row in rows], batch_first=True)
        lengths = torch.tensor([len(row.ids) for row in rows])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long().to(device)
        embedded = self.model.language_model.embed_tokens(ids.to(device))
        is_image = (ids == ours.inputs.chat.image_id).to(device).unsqueeze(-1)
        embedded = embedded.masked_scatter(is_image, torch.cat(features).to(embedded.dtype))
        positions = (mask.cumsum(dim=-1) - 1).clamp(min=0).expand(3, -1, -1)
        states = self.model.language_model(
            inputs_embeds=embedded, attention_mask=mask, position_ids=positions, use_cache=False
        ).last_hidden_state
        logits = ours.heads[number](states.float())
        places = torch.tensor([row.reward_at for row in rows], device=device)
        return logits[torch.arange(len(rows), device=device), places]  # type: ignore[no-any-return]
