"""The vision-language backbones: Qwen2-VL, Qwen2.5-VL (MiMo-VL is one), Qwen3-VL.

The classes are those of transformers, without the language-model head, which a reward never asks.
What differs between them is data: `FAMILIES`.

Shape letters: M images, P tokens of a tree, V tokens that stand for images, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
import transformers
from torch import Tensor, nn

from visreward.core.errors import UsageError
from visreward.models.vlm.attention import (
    TREE_ATTENTION,
    AttentionBackend,
    AttentionPlan,
    WindowAttention,
    tree_attention,
)

Positions = Literal["1d", "multimodal"]

_CODE_KEYS: Final = frozenset({"auto_map", "custom_pipelines", "trust_remote_code"})
_CODE_WORDS: Final = ("implementation", "kernel")
_PRIVATE_KEYS: Final = frozenset({"_name_or_path", "_commit_hash"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What one model_type is.

    Attributes:
        config: Name of the configuration's class in transformers.
        model: Name of the model's class, without language-model head.
        released_positions: Which positions the released reward models were trained with.
        resizes_twice: Whether the releases resize into the training configuration's pixel budget
            before the image processor resizes into its own.
    """

    config: str
    model: str
    released_positions: Positions
    resizes_twice: bool


FAMILIES: Final[Mapping[str, Family]] = {
    "qwen2_vl": Family(
        config="Qwen2VLConfig",
        model="Qwen2VLModel",
        released_positions="1d",
        resizes_twice=True,
    ),
    "qwen2_5_vl": Family(
        config="Qwen2_5_VLConfig",
        model="Qwen2_5_VLModel",
        released_positions="1d",
        resizes_twice=True,
    ),
    "qwen3_vl": Family(
        config="Qwen3VLConfig",
        model="Qwen3VLModel",
        released_positions="multimodal",
        resizes_twice=False,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFeatures:
    """What the vision tower makes of one image.

    Attributes:
        tokens: (V, D) what stands in the image's tokens.
        deep: What is added after the first layers of the language model, (V, D) each; empty but
            for Qwen3-VL.
    """

    tokens: Tensor
    deep: tuple[Tensor, ...] = ()

    @property
    def num_bytes(self) -> int:
        """Return how much memory the features take."""
        return sum(each.numel() * each.element_size() for each in (self.tokens, *self.deep))

    def map(self, change: Callable[[Tensor], Tensor]) -> ImageFeatures:
        """Return the features with a function applied to each tensor."""
        return ImageFeatures(tokens=change(self.tokens), deep=tuple(map(change, self.deep)))


class VLMBackbone(nn.Module):
    """A vision tower and a language model that reads a tree of tokens.

    Args:
        config: A config.json of transformers, as JSON values.

    Raises:
        UsageError: if `config` is of no known model_type, asks for a sliding window, or names
            code.
    """

    def __init__(
        self,
        config: Mapping[str, Any],  # JSON values
    ) -> None:
        super().__init__()
        kind = str(config.get("model_type"))
        if kind not in FAMILIES:
            raise UsageError(
                f"The backbone's model_type is {kind!r}. Known are: {', '.join(FAMILIES)}."
            )
        _refuse_code(config)
        self.family = FAMILIES[kind]
        self.attention: AttentionBackend = "sdpa"
        transformers.AttentionInterface.register(TREE_ATTENTION, tree_attention)
        values = getattr(transformers, self.family.config).from_dict(dict(config))
        values._attn_implementation = {  # transformers' own way to set all three
            "": "sdpa",
            "text_config": TREE_ATTENTION,
            "vision_config": "sdpa",
        }
        if getattr(values.text_config, "use_sliding_window", False):
            raise UsageError(
                "The backbone has use_sliding_window = true, but a reward reads all tokens. Set "
                "it to false in config.json."
            )
        self.model: Any = getattr(transformers, self.family.model)(values)
        for block in self.model.visual.blocks:
            block.attn.__class__ = WindowAttention

    def set_attention(self, backend: AttentionBackend) -> None:
        """Choose the attention back-end of both towers."""
        self.attention = backend
        for block in self.model.visual.blocks:
            block.attn.backend = backend

    def to_dict(self) -> dict[str, Any]:  # JSON values
        """Return the configuration as JSON values."""
        values: dict[str, Any] = self.model.config.to_dict()
        return {key: value for key, value in values.items() if key != "transformers_version"}

    @property
    def width(self) -> int:
        """Return D, the width of the language model."""
        return int(self.model.config.text_config.hidden_size)

    @property
    def merge_size(self) -> int:
        """Return how many patches down and across stand in one token."""
        return int(self.model.config.vision_config.spatial_merge_size)

    @property
    def num_feature_sets(self) -> int:
        """Return L, how many sets of features an image has."""
        config = self.model.config.vision_config
        return 1 + len(getattr(config, "deepstack_visual_indexes", ()))

    def vision_weights(self) -> list[Tensor]:
        """Return every weight that `image_features` reads."""
        return list(self.model.visual.parameters())

    def image_features(self, patches: Tensor, grids: Tensor) -> list[ImageFeatures]:
        """Return what stands for each image; differentiable.

        Args:
            patches: (patches of all images, values of a patch) float32, normalised.
            grids: (M, 3) int64: 1, patches down, patches across.
        """
        visual = self.model.visual
        output = visual(patches.to(visual.dtype), grid_thw=grids)
        sizes = (grids.prod(dim=-1) // self.merge_size**2).tolist()
        deep = [each.split(sizes) for each in getattr(output, "deepstack_features", None) or ()]
        return [
            ImageFeatures(tokens=tokens, deep=tuple(each[number] for each in deep))
            for number, tokens in enumerate(output.pooler_output.split(sizes))
        ]

    def hidden_states(
        self,
        *,
        ids: Tensor,
        positions: Tensor,
        image_places: Tensor,
        images: Sequence[ImageFeatures],
        plan: AttentionPlan,
    ) -> Tensor:
        """Return (P, D) last hidden states of a tree of tokens; differentiable.

        Args:
            ids: (P,) int64 token ids.
            positions: (3, P) int64: in time, down and across.
            image_places: (V,) int64, ascending: which tokens stand for images.
            images: What stands there, in the same order.
            plan: Who sees whom.
        """
        language = self.model.language_model
        embedded = language.embed_tokens(ids)
        extra: dict[str, Any] = {}  # options of Qwen3-VL's language model alone
        if images:
            tokens = torch.cat([each.tokens for each in images]).to(embedded.dtype)
            embedded = embedded.index_copy(0, image_places, tokens)
            if images[0].deep:
                is_image = torch.zeros(1, len(ids), dtype=torch.bool, device=ids.device)
                is_image[0, image_places] = True
                extra = {
                    "visual_pos_masks": is_image,
                    "deepstack_visual_embeds": [
                        torch.cat(layer)
                        for layer in zip(*(each.deep for each in images), strict=True)
                    ],
                }
        output = language(
            inputs_embeds=embedded[None],
            position_ids=positions[:, None],
            use_cache=False,
            plan=plan,
            **extra,
        )
        return output.last_hidden_state[0]  # type: ignore[no-any-return]


def _refuse_code(config: Mapping[str, Any]) -> None:  # JSON values
    """Refuse keys by which transformers has run code of a stranger, at any depth.

    The other keys are sizes and switches, which its classes know by themselves; a release has some
    of older versions that nothing reads, so that unknown ones are no reason to refuse it.
    """
    for key, value in config.items():
        name = str(key)  # numbers of labels among them
        if name in _CODE_KEYS or _names_code(name, value):
            raise UsageError(
                f"The backbone's configuration has unknown keys: {name!r} names code, and no code "
                "of a model is run here. Take it out of config.json if you trust the rest."
            )
        if isinstance(value, Mapping):
            _refuse_code(value)


def _names_code(name: str, value: object) -> bool:
    """Return whether a key can name a kernel on the hub, as `attn_implementation` does."""
    if not isinstance(value, str | Mapping | list):
        return False
    is_private = name.startswith("_") and name not in _PRIVATE_KEYS
    return is_private or any(word in name for word in _CODE_WORDS)
