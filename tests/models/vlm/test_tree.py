"""Sequences as one tree: nothing lost, nothing twice, attention as in each sequence alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from visreward.core.errors import MissingExtraError, UsageError
from visreward.models.vlm.attention import (
    AttentionBackend,
    attend,
    causal_mask,
    check_backend,
    plan_attention,
    tree_attention,
)
from visreward.models.vlm.tree import plant

SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=7)


def arrays(sequences: list[list[int]]) -> list[NDArray[np.int64]]:
    return [np.array(sequence, dtype=np.int64) for sequence in sequences]


@given(SEQUENCES)
def test_paths_give_the_sequences_back(sequences: list[list[int]]) -> None:
    keys = arrays(sequences)
    tree = plant(keys)
    taken = np.array(
        [
            keys[owner][offset]
            for owner, offset in zip(tree.sequence.tolist(), tree.offset.tolist(), strict=True)
        ]
    )
    for path, sequence in zip(tree.paths, sequences, strict=True):
        assert taken[path].tolist() == sequence
        assert tree.offset[path].tolist() == list(range(len(sequence)))


@given(SEQUENCES)
def test_each_distinct_beginning_is_one_token(sequences: list[list[int]]) -> None:
    beginnings = {
        tuple(sequence[: stop + 1]) for sequence in sequences for stop in range(len(sequence))
    }
    assert plant(arrays(sequences)).num_tokens == len(beginnings)


@given(SEQUENCES)
def test_groups_hold_every_token_once_and_see_their_own_beginnings(
    sequences: list[list[int]],
) -> None:
    tree = plant(arrays(sequences))
    owned = torch.cat([group.queries.flatten() for group in tree.groups])
    assert sorted(owned.tolist()) == list(range(tree.num_tokens))
    seen = {tuple(path[: stop + 1].tolist()) for path in tree.paths for stop in range(len(path))}
    for group in tree.groups:
        own = group.queries.shape[1]
        assert torch.equal(group.keys[:, -own:], group.queries)
        assert all(tuple(row) in seen for row in group.keys.tolist())


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@given(sequences=SEQUENCES, seed=st.integers(0, 9))
def test_tree_attention_is_that_of_each_sequence_alone(
    backend: AttentionBackend, sequences: list[list[int]], seed: int
) -> None:
    tree = plant(arrays(sequences))
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(1, 4, tree.num_tokens, 8, generator=generator, dtype=torch.float64)
    key, value = (
        torch.randn(1, 2, tree.num_tokens, 8, generator=generator, dtype=torch.float64)
        for _ in "kv"
    )
    plan = plan_attention(tree, backend=backend, device=torch.device("cpu"))
    found, _ = tree_attention(torch.nn.Identity(), query, key, value, None, scaling=0.3, plan=plan)
    for path in map(torch.from_numpy, tree.paths):
        alone_key, alone_value = (
            each[:, :, path].repeat_interleave(2, dim=1) for each in (key, value)
        )
        products = 0.3 * query[:, :, path] @ alone_key.transpose(2, 3)
        hidden = torch.ones(len(path), len(path), dtype=torch.bool).triu(1)
        weights = products.masked_fill(hidden, float("-inf")).softmax(dim=-1)
        expected = (weights @ alone_value).transpose(1, 2)
        # The eager back-end takes its softmax in float32, as transformers does.
        torch.testing.assert_close(
            found[:, path], expected, atol=1e-6 if backend == "eager" else 1e-12, rtol=0
        )


def by_both(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> list[Tensor]:
    """Return what sdpa and eager make of the same."""
    return [
        attend(
            query,
            key,
            value,
            scale=0.5,
            backend=backend,
            is_causal=is_causal,
            mask=causal_mask(query.shape[2], key.shape[2], backend=backend) if is_causal else None,
        )
        for backend in ("sdpa", "eager")
    ]


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("num_keys", [5, 9])
def test_backends_agree(is_causal: bool, num_keys: int) -> None:
    query = torch.randn(2, 4, 5, 8)
    key, value = torch.randn(2, 2, num_keys, 8), torch.randn(2, 2, num_keys, 8)
    one, other = by_both(query, key, value, is_causal=is_causal)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_keys", [5, 9])
def test_backends_agree_under_autocast_where_queries_and_keys_are_float32(num_keys: int) -> None:
    query, key = torch.randn(2, 4, 5, 8), torch.randn(2, 2, num_keys, 8)
    value = torch.randn(2, 2, num_keys, 8, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        one, other = by_both(query, key, value, is_causal=True)
    assert one.dtype == other.dtype == torch.bfloat16
    torch.testing.assert_close(one, other, atol=0.05, rtol=0.05)


def test_unknown_backend_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'flash'.*sdpa, eager, flash_attention_2"):
        check_backend("flash")


def test_absent_flash_attention_is_an_error_and_not_another_backend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "flash_attn", None)
    with pytest.raises(MissingExtraError, match="flash-attn"):
        check_backend("flash_attention_2")
    assert check_backend("sdpa") == "sdpa"
