"""Tensor names of the released layouts and ours: one table per layout, read in both directions.

A rule's `{n}` stands for a number and its `{rest}` for the rest of a name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How one kind of tensor is called in a release and here.

    Attributes:
        released: Its released name.
        ours: Its name here; several names split the tensor into equal parts, in this order.
        transpose: Whether the release stores the matrix transposed.
    """

    released: str
    ours: tuple[str, ...]
    transpose: bool = False


@dataclass(frozen=True, kw_only=True)
class KeyMap:
    """All rules of one layout.

    Attributes:
        rules: At most one of them fits a name.
        buffers: Regular expression of the released names that old files hold beside the weights.
    """

    rules: tuple[Rule, ...]
    buffers: str = "(?!)"


@dataclass(frozen=True, kw_only=True)
class Translated:
    """Tensors under our names.

    Attributes:
        tensors: A name that no rule knows stays as it is.
        left_out: Released names of what was not taken over, in alphabetical order.
    """

    tensors: Mapping[str, Tensor]
    left_out: tuple[str, ...]


def to_ours(
    released: Mapping[str, Tensor], key_map: KeyMap, *, without: Sequence[str] = ()
) -> Translated:
    """Rename, split and transpose released tensors.

    Args:
        released: Tensors under their released names.
        key_map: The table of the layout.
        without: Beginnings of our names of what the model does not have; these are left out.
    """
    tensors: dict[str, Tensor] = {}
    left_out = []
    for name, tensor in released.items():
        if re.fullmatch(key_map.buffers, name):
            left_out.append(name)
            continue
        taken = {
            ours: part
            for ours, part in _translate(name, tensor, key_map)
            if not ours.startswith(tuple(without))
        }
        if not taken:
            left_out.append(name)
        tensors.update(taken)
    return Translated(tensors=tensors, left_out=tuple(sorted(left_out)))


def to_released(ours: Mapping[str, Tensor], key_map: KeyMap) -> dict[str, Tensor]:
    """Rename, join and transpose tensors of ours back; names that no rule knows are left out."""
    released = {}
    for rule in key_map.rules:
        pattern = _pattern(rule.ours[0])
        for name in ours:
            match = pattern.fullmatch(name)
            if match is None:
                continue
            parts = [ours[other.format(**match.groupdict())] for other in rule.ours]
            joined = torch.cat(parts) if len(parts) > 1 else parts[0]
            released[rule.released.format(**match.groupdict())] = (
                joined.T.contiguous() if rule.transpose else joined
            )
    return released


def _translate(name: str, tensor: Tensor, key_map: KeyMap) -> list[tuple[str, Tensor]]:
    for rule in key_map.rules:
        match = _pattern(rule.released).fullmatch(name)
        if match is None:
            continue
        whole = tensor.T if rule.transpose and tensor.ndim == 2 else tensor
        parts = whole.tensor_split(len(rule.ours)) if len(rule.ours) > 1 else (whole,)
        names = [ours.format(**match.groupdict()) for ours in rule.ours]
        return [(ours, part.contiguous()) for ours, part in zip(names, parts, strict=True)]
    return [(name, tensor)]


def _pattern(template: str) -> re.Pattern[str]:
    pattern = re.escape(template).replace(r"\{n\}", r"(?P<n>\d+)")
    return re.compile(pattern.replace(r"\{rest\}", "(?P<rest>.+)"))


def _same(names: Sequence[str], prefix: str) -> tuple[Rule, ...]:
    return tuple(Rule(released=name, ours=(prefix + name,)) for name in names)


def _open_clip_tower(released: str, ours: str) -> tuple[Rule, ...]:
    blocks = f"{released}transformer.resblocks.{{n}}."
    layers = f"backbone.clip.{ours}.encoder.layers.{{n}}."
    joined = tuple(
        Rule(
            released=f"{blocks}attn.in_proj_{kind}",
            ours=tuple(f"{layers}self_attn.{letter}_proj.{kind}" for letter in "qkv"),
        )
        for kind in ("weight", "bias")
    )
    names = {
        "attn.out_proj": "self_attn.out_proj",
        "ln_1": "layer_norm1",
        "ln_2": "layer_norm2",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
    }
    return joined + tuple(
        Rule(released=f"{blocks}{theirs}.{{rest}}", ours=(f"{layers}{mine}.{{rest}}",))
        for theirs, mine in names.items()
    )


CLIP: Final = KeyMap(
    rules=_same(
        (
            "text_model.{rest}",
            "vision_model.{rest}",
            "text_projection.weight",
            "visual_projection.weight",
            "logit_scale",
        ),
        "backbone.clip.",
    ),
    buffers=r"(text|vision)_model\.embeddings\.position_ids",
)
"""transformers' CLIPModel."""

HEAD: Final = KeyMap(rules=_same(("layers.{rest}",), "head."))
"""The five linear layers of HP and of LAION's aesthetic predictor."""

OPEN_CLIP: Final = KeyMap(
    rules=(
        *_open_clip_tower("visual.", "vision_model"),
        *_open_clip_tower("", "text_model"),
        *(
            Rule(released=theirs, ours=(f"backbone.clip.{mine}",))
            for theirs, mine in {
                "logit_scale": "logit_scale",
                "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
                "positional_embedding": "text_model.embeddings.position_embedding.weight",
                "ln_final.{rest}": "text_model.final_layer_norm.{rest}",
                "visual.class_embedding": "vision_model.embeddings.class_embedding",
                "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
                "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
                "visual.ln_pre.{rest}": "vision_model.pre_layrnorm.{rest}",
                "visual.ln_post.{rest}": "vision_model.post_layernorm.{rest}",
            }.items()
        ),
        *(
            Rule(released=theirs, ours=(f"backbone.clip.{mine}.weight",), transpose=True)
            for theirs, mine in {
                "text_projection": "text_projection",
                "visual.proj": "visual_projection",
            }.items()
        ),
    ),
    buffers="attn_mask",
)
"""open_clip's CLIP, in which HPSv2 is released."""

_MAX_HEAD_LAYERS: Final = 16
_LANGUAGE: Final = "backbone.model.language_model."

VLM: Final = KeyMap(
    rules=tuple(
        Rule(released=theirs, ours=(mine,))
        for theirs, mine in {
            "model.visual.{rest}": "backbone.model.visual.{rest}",
            "model.language_model.{rest}": f"{_LANGUAGE}{{rest}}",
            # Names from before transformers 4.52:
            "visual.{rest}": "backbone.model.visual.{rest}",
            "model.embed_tokens.{rest}": f"{_LANGUAGE}embed_tokens.{{rest}}",
            "model.layers.{rest}": f"{_LANGUAGE}layers.{{rest}}",
            "model.norm.{rest}": f"{_LANGUAGE}norm.{{rest}}",
            # HPSv3 names the layers of a head with settings of its own, EditReward numbers them:
            **{
                f"rm_head.layer_{number}.0.{{rest}}": f"heads.0.{3 * number}.{{rest}}"
                for number in range(1, _MAX_HEAD_LAYERS)
            },
            # One head for all dimensions, or one for each:
            "rm_head.{n}.{rest}": "heads.0.{n}.{rest}",
            "rm_head.weight": "heads.0.weight",
            "rm_heads.head_{n}.{rest}": "heads.{n}.{rest}",
        }.items()
    ),
    buffers=r"lm_head\.weight|.*rotary_emb\.inv_freq|.*rotary_pos_emb\.inv_freq",
)
"""transformers' Qwen-VL classes with the heads of HPSv3 and EditReward; no language-model head."""


def place_output_layer(tensors: Mapping[str, Tensor], num_layers: int | None) -> dict[str, Tensor]:
    """Give the last layer of an HPSv3 head with settings of its own the number that it has here.

    Args:
        tensors: Weights under our names.
        num_layers: Linear maps of the head, or None for the released default, which is numbered.
    """
    if num_layers is None:
        return dict(tensors)
    named, numbered = "rm_head.output_layer.", f"heads.0.{3 * (num_layers - 1)}."
    return {
        numbered + name.removeprefix(named) if name.startswith(named) else name: tensor
        for name, tensor in tensors.items()
    }
