"""Attention over a tree of tokens, and over the windows of an image.

Nothing is padded and no score is computed that a mask would throw away.

Shape letters: H heads, P tokens, G segments of one size, q/k own and visible tokens, D features.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.bias import causal_lower_right
from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_rotary_pos_emb_vision

from visreward.core.errors import MissingExtraError, UsageError
from visreward.models.vlm.tree import SegmentGroup, TokenTree

AttentionBackend = Literal["sdpa", "eager", "flash_attention_2"]

TREE_ATTENTION: Final = "visreward_tree"
"""The name under which transformers finds `tree_attention`."""

BACKENDS: Final[tuple[AttentionBackend, ...]] = ("sdpa", "eager", "flash_attention_2")


def check_backend(name: str) -> AttentionBackend:
    """Return a back-end's name once it is known to be at hand; nothing takes its place silently.

    Raises:
        UsageError: if there is no such back-end.
        MissingExtraError: if its package is not installed.
    """
    found = next((backend for backend in BACKENDS if backend == name), None)
    if found is None:
        raise UsageError(f"The attention back-end is {name!r}. Give one of {', '.join(BACKENDS)}.")
    if found == "flash_attention_2":
        try:
            import flash_attn  # noqa: F401  whether it is there
        except ImportError as error:
            raise MissingExtraError(
                "The attention back-end 'flash_attention_2' needs the package 'flash-attn', which "
                "is not installed. Install it, or take attention='sdpa'."
            ) from error
    return found


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: float,
    backend: str,
    is_causal: bool,
    mask: Any = None,  # noqa: ANN401  a class of torch without a public type
) -> Tensor:
    """Return attention's output for a batch of equally long sequences; differentiable.

    Args:
        query: (G, H, q, D).
        key: (G, H or fewer, k, D) with k >= q; a query head shares the key head of its part.
        value: Like `key`.
        scale: What the products are multiplied with.
        backend: One of `BACKENDS`.
        is_causal: Whether a token sees none behind it, queries being the last q tokens.
        mask: What `causal_mask` returned, where `is_causal`.

    Returns:
        (G, H, q, D).
    """
    # Under autocast, rotated queries and keys are float32; torch casts plain tensors, but not
    # those that meet a `causal_lower_right`, and flash-attn casts none.
    query, key = (each.to(value.dtype) for each in (query, key))
    if backend == "flash_attention_2":
        from flash_attn import flash_attn_func

        swapped = (each.transpose(1, 2) for each in (query, key, value))
        out: Tensor = flash_attn_func(*swapped, softmax_scale=scale, causal=is_causal)
        return out.transpose(1, 2)
    num_queries, num_keys = query.shape[2], key.shape[2]
    shared = query.shape[1] // key.shape[1]
    if backend == "eager":
        key, value = (each.repeat_interleave(shared, dim=1) for each in (key, value))
        products = query @ key.transpose(2, 3) * scale
        if is_causal:
            ones = torch.ones(num_queries, num_keys, dtype=torch.bool, device=query.device)
            hidden = ones.triu(num_keys - num_queries + 1)
            products = products.masked_fill(hidden, float("-inf"))
        return products.softmax(dim=-1, dtype=torch.float32).to(value.dtype) @ value
    return functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=is_causal and mask is None,
        scale=scale,
        enable_gqa=shared > 1,
    )


def causal_mask(num_queries: int, num_keys: int, *, backend: str) -> Any:  # noqa: ANN401  see above
    """Return what `attend` needs for causal attention beside its numbers of tokens, or None.

    It is made before the layers run: torch makes no such tensor while it records what selective
    checkpointing keeps.
    """
    if backend != "sdpa" or num_queries == num_keys:
        return None
    return causal_lower_right(num_queries, num_keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionPlan:
    """How attention goes through a tree.

    Attributes:
        groups: The tree's segments, by size.
        masks: What `causal_mask` says of each group.
        order: (P,) int64, where each token's result stands in those of the groups.
        backend: What computes a group.
    """

    groups: Sequence[SegmentGroup]
    masks: Sequence[Any]
    order: Tensor
    backend: AttentionBackend


def plan_attention(
    tree: TokenTree, *, backend: AttentionBackend, device: torch.device
) -> AttentionPlan:
    """Return the plan of a tree, its tensors on a device."""
    places = torch.cat([group.queries.flatten() for group in tree.groups])
    groups = [
        SegmentGroup(queries=group.queries.to(device), keys=group.keys.to(device))
        for group in tree.groups
    ]
    return AttentionPlan(
        groups=groups,
        masks=[
            causal_mask(group.queries.shape[1], group.keys.shape[1], backend=backend)
            for group in groups
        ],
        order=places.argsort().to(device),
        backend=backend,
    )


def tree_attention(
    module: nn.Module,  # noqa: ARG001  the interface of transformers
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001  the interface of transformers
    *,
    scaling: float,
    plan: AttentionPlan,
    **_: Any,  # noqa: ANN401  what transformers hands to every attention
) -> tuple[Tensor, None]:
    """Return (1, P, H, D): each token's attention to those before it in its own sequences.

    Args:
        module: The layer's attention, unused.
        query: (1, H, P, D).
        key: (1, H or fewer, P, D).
        value: Like `key`.
        attention_mask: Unused: the plan says what is visible.
        scaling: What the products are multiplied with.
        plan: The way through the tree.
    """
    query, key, value = (each[0].transpose(0, 1) for each in (query, key, value))
    parts = []
    for group, mask in zip(plan.groups, plan.masks, strict=True):
        seen = attend(
            _rows(query, group.queries),
            _rows(key, group.keys),
            _rows(value, group.keys),
            scale=scaling,
            backend=plan.backend,
            is_causal=True,
            mask=mask,
        )
        parts.append(seen.transpose(1, 2).flatten(0, 1))
    ordered = torch.cat(parts).flatten(1).index_select(0, plan.order)
    return ordered.unflatten(1, query.shape[1:]).unsqueeze(0), None


def _rows(states: Tensor, index: Tensor) -> Tensor:
    """Return (G, H, k, D), the rows of (P, H, D) states that a (G, k) index names.

    Selecting whole rows takes a fifth of the time that indexing each head takes, both ways.
    """
    chosen = states.flatten(1).index_select(0, index.flatten())
    return chosen.view(*index.shape, *states.shape[1:]).transpose(1, 2)


class WindowAttention(nn.Module):
    """Attention of a vision tower: all windows of one size as one batch.

    transformers runs the windows of images one by one, unless flash-attn is installed. This class
    is put in the place of a tower's own; it reads that one's attributes.
    """

    backend: AttentionBackend = "sdpa"

    def forward(
        self,
        hidden_states: Tensor,
        cu_seqlens: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        **_: Any,  # noqa: ANN401  what transformers hands to every attention
    ) -> Tensor:
        """Return (P, D) from (P, D) patches, `cu_seqlens` being the borders of the windows."""
        layer: Any = self  # the attributes are those of transformers' class
        num = len(hidden_states)
        joined = layer.qkv(hidden_states).reshape(num, 3, layer.num_heads, -1)
        query, key, value = joined.permute(1, 0, 2, 3).unbind(0)
        query, key = apply_rotary_pos_emb_vision(query, key, *position_embeddings)
        borders = cu_seqlens.tolist()
        by_size: dict[int, list[int]] = defaultdict(list)
        for start, stop in pairwise(borders):
            by_size[stop - start].append(start)
        parts, places = [], []
        for size, starts in by_size.items():
            index = torch.tensor(starts)[:, None] + torch.arange(size)
            index = index.to(hidden_states.device)
            seen = attend(
                *(_rows(each, index) for each in (query, key, value)),
                scale=layer.scaling,
                backend=self.backend,
                is_causal=False,
            )
            parts.append(seen.transpose(1, 2).flatten(0, 1).flatten(1))
            places.append(index.flatten())
        order = torch.cat(places).argsort()
        return layer.proj(torch.cat(parts).index_select(0, order))  # type: ignore[no-any-return]
