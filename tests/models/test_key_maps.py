"""Key maps in both directions, and open_clip's names against its arithmetic."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from visreward.models.clip.backbone import CLIPBackbone, CLIPBackboneConfig
from visreward.models.key_maps import CLIP, HEAD, OPEN_CLIP, KeyMap, Rule, to_ours, to_released

HEADS, WIDTH, PATCH = 3, 24, 8
TOWER = {
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "hidden_act": "gelu",
}


def make_backbone() -> CLIPBackbone:
    torch.manual_seed(0)
    backbone = CLIPBackbone(
        CLIPBackboneConfig(
            vision={**TOWER, "image_size": 16, "patch_size": PATCH},
            text={**TOWER, "vocab_size": 50, "max_position_embeddings": 12, "eos_token_id": 49},
            projection_dim=10,
        )
    )
    for parameter in backbone.parameters():
        nn.init.normal_(parameter, std=0.3)
    return backbone.eval()


def our_tensors(backbone: CLIPBackbone) -> dict[str, Tensor]:
    return {f"backbone.{name}": value for name, value in backbone.state_dict().items()}


def open_clip_block(
    hidden: Tensor, weights: dict[str, Tensor], prefix: str, mask: Tensor
) -> Tensor:
    """Run one residual block on (B, L, WIDTH) with torch's own attention, as open_clip does."""

    def normed(name: str) -> Tensor:
        return functional.layer_norm(
            hidden,
            (WIDTH,),
            weights[f"{prefix}{name}.weight"],
            weights[f"{prefix}{name}.bias"],
        )

    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    attention.load_state_dict(
        {
            name: weights[f"{prefix}attn.{name}"]
            for name in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
        }
    )
    queries = normed("ln_1")
    hidden = hidden + attention(queries, queries, queries, attn_mask=mask, need_weights=False)[0]
    inner = functional.linear(
        normed("ln_2"), weights[f"{prefix}mlp.c_fc.weight"], weights[f"{prefix}mlp.c_fc.bias"]
    )
    outer = functional.linear(
        functional.gelu(inner),
        weights[f"{prefix}mlp.c_proj.weight"],
        weights[f"{prefix}mlp.c_proj.bias"],
    )
    return hidden + outer


def norm(hidden: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    return functional.layer_norm(
        hidden, (WIDTH,), weights[f"{name}.weight"], weights[f"{name}.bias"]
    )


def open_clip_image(weights: dict[str, Tensor], pixels: Tensor) -> Tensor:
    patches = functional.conv2d(pixels, weights["visual.conv1.weight"], stride=PATCH)
    hidden = patches.flatten(2).transpose(1, 2)
    first = weights["visual.class_embedding"].expand(len(hidden), 1, WIDTH)
    hidden = torch.cat([first, hidden], dim=1) + weights["visual.positional_embedding"]
    hidden = norm(hidden, weights, "visual.ln_pre")
    mask = torch.zeros(hidden.shape[1], hidden.shape[1])
    for number in range(2):
        prefix = f"visual.transformer.resblocks.{number}."
        hidden = open_clip_block(hidden, weights, prefix, mask)
    return norm(hidden[:, 0], weights, "visual.ln_post") @ weights["visual.proj"]


def open_clip_text(weights: dict[str, Tensor], ids: Tensor) -> Tensor:
    length = ids.shape[1]
    hidden = weights["token_embedding.weight"][ids] + weights["positional_embedding"][:length]
    mask = torch.full((length, length), float("-inf")).triu(1)
    for number in range(2):
        hidden = open_clip_block(hidden, weights, f"transformer.resblocks.{number}.", mask)
    hidden = norm(hidden, weights, "ln_final")
    return hidden[torch.arange(len(ids)), ids.argmax(dim=1)] @ weights["text_projection"]


@torch.inference_mode()
def test_open_clip_names_give_open_clip_image_features() -> None:
    backbone = make_backbone()
    weights = to_released(our_tensors(backbone), OPEN_CLIP)
    pixels = torch.randn(2, 3, 16, 16)
    expected = open_clip_image(weights, pixels)
    torch.testing.assert_close(backbone.image_features(pixels), expected, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_open_clip_names_give_open_clip_text_features() -> None:
    backbone = make_backbone()
    weights = to_released(our_tensors(backbone), OPEN_CLIP)
    ids = torch.tensor([[48, 5, 7, 49, 0, 0], [48, 3, 9, 11, 2, 49]])
    expected = open_clip_text(weights, ids)
    torch.testing.assert_close(backbone.text_features(ids), expected, atol=1e-4, rtol=1e-4)


def test_key_maps_released_and_back_is_the_same() -> None:
    ours = our_tensors(make_backbone())
    for key_map in (CLIP, OPEN_CLIP):
        back = to_ours(to_released(ours, key_map), key_map)
        assert back.tensors.keys() == ours.keys()
        assert all(torch.equal(back.tensors[name], value) for name, value in ours.items())
        assert back.left_out == ()


def test_key_map_head_names_follow_the_release() -> None:
    ours = {"head.layers.7.weight": torch.ones(1, 16)}
    assert list(to_released(ours, HEAD)) == ["layers.7.weight"]


def test_key_map_old_buffers_are_left_out_by_name() -> None:
    released = {
        "logit_scale": torch.tensor(1.0),
        "text_model.embeddings.position_ids": torch.arange(3),
    }
    translated = to_ours(released, CLIP)
    assert list(translated.tensors) == ["backbone.clip.logit_scale"]
    assert translated.left_out == ("text_model.embeddings.position_ids",)


def test_key_map_unwanted_tower_is_left_out_by_its_released_name() -> None:
    ours = our_tensors(make_backbone())
    released = to_released(ours, OPEN_CLIP)
    translated = to_ours(released, OPEN_CLIP, without=("backbone.clip.text_model.",))
    assert not [name for name in translated.tensors if "text_model" in name]
    assert "transformer.resblocks.1.attn.in_proj_weight" in translated.left_out
    assert "visual.transformer.resblocks.1.attn.in_proj_weight" not in translated.left_out


def test_key_map_unknown_name_stays_as_it_is() -> None:
    assert list(to_ours({"surplus.weight": torch.ones(1)}, CLIP).tensors) == ["surplus.weight"]


def test_key_map_transposes_only_matrices() -> None:
    key_map = KeyMap(rules=(Rule(released="a", ours=("b",), transpose=True),))
    assert to_ours({"a": torch.ones(2, 3)}, key_map).tensors["b"].shape == (3, 2)
    assert to_ours({"a": torch.ones(4)}, key_map).tensors["b"].shape == (4,)
