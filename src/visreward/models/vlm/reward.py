"""Reward models on a vision-language backbone: rating prompts in, Gaussians out.

Shape letters: B samples, K dimensions, S = B * K sequences, P tokens of a tree, D features.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from visreward.models.base import RewardModel
from visreward.models.facts import ModelFacts
from visreward.models.heads import fuse
from visreward.models.output import RewardOutput
from visreward.models.vlm.attention import check_backend, plan_attention
from visreward.models.vlm.backbone import ImageFeatures, VLMBackbone
from visreward.models.vlm.inputs import VLMBatch, VLMInputs
from visreward.models.vlm.packing import Pack, pack_sequences
from visreward.models.vlm.pixels import PatchInputs, PixelBudget, load_processor
from visreward.models.vlm.rating_prompts import ChatInputs, RatingPrompts, load_tokenizer
from visreward.models.vlm.settings import VLMSettings
from visreward.models.vlm.vision_cache import VisionCache

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from visreward.models.loaded import LoadedSample

DEFAULT_IMAGES_PER_PASS: Final = 16
DEFAULT_PACK_TOKENS: Final = 8192
"""Eight candidates of 450 x 450 pixels; longer packs gain nothing, and leave a CPU's caches."""
DEFAULT_CACHE_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class VLMReading:
    """What a batch gives.

    Attributes:
        logits: (B, K, outputs) float32: mu, and log sigma where there are two outputs.
        states: By number of a sequence, (L, D) its last hidden states.
    """

    logits: Tensor
    states: Mapping[int, Tensor]


class VLMReward(RewardModel):
    """A reward model that asks a vision-language backbone for one rating per dimension.

    Attributes:
        max_pack_tokens: How many tokens go through the backbone at once, at most.
        images_per_pass: How many images go through the vision tower at once, at most.
        vision_cache: Features of recent images; used while no gradient is asked for.
    """

    float32_parts = ("heads.",)

    def __init__(self, facts: ModelFacts, backbone: VLMBackbone, *, inputs: VLMInputs) -> None:
        super().__init__(facts)
        self.backbone = backbone
        self.inputs = inputs
        head = inputs.settings.head
        self.heads = nn.ModuleList([head.build(backbone.width) for _ in range(head.num_heads)])
        self.max_pack_tokens = DEFAULT_PACK_TOKENS
        self.images_per_pass = DEFAULT_IMAGES_PER_PASS
        self.vision_cache = VisionCache(DEFAULT_CACHE_BYTES)

    def set_attention(self, backend: str) -> None:
        """Choose the attention back-end: sdpa, eager or flash_attention_2.

        Raises:
            UsageError: if there is no such back-end.
            MissingExtraError: if its package is not installed.
        """
        self.backbone.set_attention(check_backend(backend))

    def pass_once(self) -> None:
        """Send all images and all tokens of a batch through their towers at once, from now on."""
        self.max_pack_tokens = self.images_per_pass = sys.maxsize

    def prepare(self, image: Image.Image) -> Image.Image:
        """Resize the picture into the model's pixel budget."""
        return self.inputs.patches.resized(image)

    def preprocess(self, samples: Sequence[LoadedSample]) -> VLMBatch:
        """Collect the distinct images of some samples and line up their tokens.

        Raises:
            PromptError: if a prompt is too long.
        """
        return self.inputs.collect(samples)

    def tensor_batch(
        self, images: Tensor, prompts: Sequence[str], source_images: Tensor | None
    ) -> VLMBatch:
        """Turn checked image tensors into a batch, with gradients to the pixels."""
        given = None if source_images is None else source_images.to(self.device)
        return self.inputs.collect_tensors(images.to(self.device), prompts, given)

    def forward(self, batch: VLMBatch) -> RewardOutput:
        """Score one batch; differentiable, keeps the samples' order."""
        logits = self.logits(batch)
        fused = self.fuse(logits)
        has_sigma = logits.shape[-1] == 2
        is_named = bool(self.facts.dimensions)
        return RewardOutput(
            mu=fused[:, 0],
            log_sigma=fused[:, 1] if has_sigma else None,
            dimensions=logits[..., 0] if is_named else None,
            dimension_log_sigmas=logits[..., 1] if is_named and has_sigma else None,
        )

    def fuse(self, logits: Tensor) -> Tensor:
        """Return (B, outputs) of (B, K, outputs): one Gaussian of those of all dimensions."""
        return fuse(logits, self.inputs.settings.fusion, self.facts.fidelity)

    def logits(self, batch: VLMBatch) -> Tensor:
        """Return (B, K, outputs) float32: mu, and log sigma where there are two outputs.

        Where a pack of sequences does not fit into memory, its halves are tried.
        """
        return self.read(batch).logits

    def read(self, batch: VLMBatch, *, keep: Collection[int] = ()) -> VLMReading:
        """Return the logits of a batch, and the last hidden states of some of its sequences.

        Args:
            batch: B samples.
            keep: Numbers of the sequences whose states are returned.
        """
        features = self._features(batch)
        num_dimensions = len(self.inputs.dimensions)
        packs = pack_sequences(
            batch.sequences,
            max_tokens=self.max_pack_tokens,
            per_pack=num_dimensions if self.batch_invariant else None,
        )
        rows: dict[int, Tensor] = {}
        kept: dict[int, Tensor] = {}
        while packs:
            pack = packs.pop(0)
            try:
                states = self._states(pack, batch, features)
            except torch.OutOfMemoryError:
                if torch.is_grad_enabled() or len(pack.members) == 1:
                    raise
                packs = [*pack.halves(batch.sequences), *packs]
                continue
            for path, member in zip(pack.tree.paths, pack.members, strict=True):
                places = torch.from_numpy(path).to(self.device)
                rows[member] = self._pooled(states, places, member)
                if member in keep:
                    kept[member] = states[places]
        logits = torch.stack([rows[number] for number in range(len(batch.sequences))])
        return VLMReading(
            logits=logits.view(-1, num_dimensions, logits.shape[-1]),
            states=kept,
        )

    def _states(self, pack: Pack, batch: VLMBatch, features: Sequence[ImageFeatures]) -> Tensor:
        """Return (P, D) last hidden states of a pack's tree."""
        tree, device = pack.tree, self.device
        members = [batch.sequences[member] for member in pack.members]
        starts = np.cumsum([0, *(len(each.ids) for each in members[:-1])])
        taken = starts[tree.sequence] + tree.offset
        image, offset = (
            np.concatenate([getattr(each, name) for each in members])[taken]
            for name in ("image", "offset")
        )
        first_tokens = np.flatnonzero((image >= 0) & (offset == 0))

        def on_device(values: NDArray[np.int64]) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device)

        return self.backbone.hidden_states(
            ids=on_device(np.concatenate([each.ids for each in members])[taken]),
            positions=on_device(
                np.concatenate([each.positions for each in members], axis=1)[:, taken]
            ),
            image_places=on_device(np.flatnonzero(image >= 0)),
            images=[features[number] for number in image[first_tokens]],
            plan=plan_attention(tree, backend=self.backbone.attention, device=device),
        )

    def _pooled(self, states: Tensor, path: Tensor, member: int) -> Tensor:
        """Return (outputs,) logits of the sequence that takes a path through a tree.

        They are float32, whatever training computes in, or float64 where the whole model is.
        """
        head = self.heads[member % len(self.heads)]
        dtype = next(head.parameters()).dtype
        with torch.autocast(states.device.type, enabled=False):
            if self.inputs.settings.pooling == "mean":
                found: Tensor = head(states[path[:-1]].to(dtype))
                return found.mean(dim=0)
            return head(states[path[-1]].to(dtype))  # type: ignore[no-any-return]

    def image_features(self, images: Sequence[Tensor]) -> list[ImageFeatures]:
        """Return what the vision tower makes of (3, H, W) pictures that `prepare` has resized."""
        patches = self.inputs.patches.patches(images)
        return self.backbone.image_features(
            patches.values.to(self.device), patches.grids.to(self.device)
        )

    def _features(self, batch: VLMBatch) -> list[ImageFeatures]:
        """Return the features of a batch's images; each distinct one is encoded once."""
        uses_cache = not torch.is_grad_enabled() and any(batch.keys)
        settings = self._vision_settings()
        found = dict(batch.features)
        if uses_cache:
            self.vision_cache.check(self.backbone.vision_weights())
            for number, key in enumerate(batch.keys):
                known = self.vision_cache.find((key, *settings)) if key else None
                if known is not None:
                    found[number] = known
        missing = [number for number in range(len(batch.images)) if number not in found]
        step = 1 if self.batch_invariant else self.images_per_pass
        for start in range(0, len(missing), step):
            part = missing[start : start + step]
            fresh = self.image_features([batch.images[number] for number in part])
            for number, features in zip(part, fresh, strict=True):
                found[number] = features
                if uses_cache and batch.keys[number]:
                    self.vision_cache.keep((batch.keys[number], *settings), features)
        return [found[number] for number in range(len(batch.images))]

    def _vision_settings(self) -> tuple[object, ...]:
        """Return what an image's features depend on beside its content."""
        weight = next(self.backbone.parameters())
        return (self.inputs.patches.budgets, weight.dtype, weight.device, self.batch_invariant)

    def config(self) -> dict[str, Any]:  # JSON values
        """Return what is needed, beside the weights, to build the model again."""
        return {
            "backbone": self.backbone.to_dict(),
            "settings": asdict(self.inputs.settings),
            "budgets": [asdict(budget) for budget in self.inputs.patches.budgets],
            "rating_prompts": self.inputs.chat.prompts.to_dict(),
        }

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],  # JSON values
        facts: ModelFacts,
        folder: Path,
    ) -> Self:
        """Build the model without weights; `folder` holds the processor files."""
        budgets = [PixelBudget(**budget) for budget in config["budgets"]]
        prompts = RatingPrompts.from_dict(config["rating_prompts"])
        inputs = VLMInputs(
            patches=PatchInputs(load_processor(folder), budgets=budgets),
            chat=ChatInputs(load_tokenizer(folder), prompts),
            settings=VLMSettings.from_dict(config["settings"]),
        )
        return cls(facts, VLMBackbone(config["backbone"]), inputs=inputs)

    def save_processors(self, folder: Path) -> None:
        """Write tokenizer and image processor files into a native folder."""
        self.inputs.patches.processor.save_pretrained(folder)
        self.inputs.chat.tokenizer.save_pretrained(folder)
