"""The trained tokenizer: every text round-trips, and CLIP's pooling finds the end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from visreward.models.clip.inputs import TextInputs
from visreward.training.modeling.tokenizer import train_tokenizer

PROMPTS = [
    f"a {size} {colour} {shape}, photographed in soft light"
    for size in ("small", "large")
    for colour in ("red", "green", "blue")
    for shape in ("ball", "cube", "cone")
]


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return train_tokenizer(PROMPTS, vocab_size=530)


def without_spaces(text: str | list[str]) -> str:
    assert isinstance(text, str)
    return re.sub(r"\s+", "", text)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=40))
def test_tokenizer_any_text_round_trips_up_to_case_and_spaces(
    tokenizer: CLIPTokenizer, text: str
) -> None:
    ids = tokenizer(text, split_special_tokens=True)["input_ids"]
    assert tokenizer.unk_token_id not in ids[1:-1]
    decoded = tokenizer.decode(ids[1:-1], clean_up_tokenization_spaces=False)
    expected = tokenizer.backend_tokenizer.normalizer.normalize_str(text)
    assert without_spaces(decoded) == without_spaces(expected)


def test_tokenizer_known_words_become_single_tokens(tokenizer: CLIPTokenizer) -> None:
    merged = train_tokenizer(PROMPTS, vocab_size=2000)
    assert merged.tokenize("a large red ball") == ["a</w>", "large</w>", "red</w>", "ball</w>"]
    assert len(tokenizer("photographed")["input_ids"]) > len(merged("photographed")["input_ids"])


def test_tokenizer_same_prompts_give_the_same_tokens(tokenizer: CLIPTokenizer) -> None:
    again = train_tokenizer(iter(PROMPTS), vocab_size=530)
    assert again.get_vocab() == tokenizer.get_vocab()
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


@pytest.mark.parametrize("vocab_size", [514, 515, 530])
def test_tokenizer_size_is_what_was_asked_for(vocab_size: int) -> None:
    assert len(train_tokenizer(PROMPTS, vocab_size=vocab_size)) == vocab_size


def test_tokenizer_size_is_smaller_where_prompts_have_no_more_merges() -> None:
    assert 530 < len(train_tokenizer(PROMPTS, vocab_size=5000)) < 700


def test_tokenizer_end_of_text_has_the_highest_id(tokenizer: CLIPTokenizer) -> None:
    assert tokenizer.eos_token_id == len(tokenizer) - 1 == max(tokenizer.get_vocab().values())
    assert tokenizer.bos_token_id == len(tokenizer) - 2
    ids = tokenizer("a red ball")["input_ids"]
    assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)


@pytest.mark.parametrize("special", ["<|endoftext|>", "<|startoftext|>"])
def test_tokenizer_special_token_in_a_prompt_is_plain_text(
    tokenizer: CLIPTokenizer, special: str
) -> None:
    inputs = TextInputs(tokenizer, context=40, cleaning="open_clip")
    ids, counts = inputs.token_ids([f"red {special} ball"])
    inside = ids[0, 1 : counts[0] - 1].tolist()
    assert max(inside) < tokenizer.bos_token_id
    assert without_spaces(tokenizer.decode(inside)) == f"red{special}ball"


def test_tokenizer_saved_and_loaded_gives_the_same_ids(
    tokenizer: CLIPTokenizer, tmp_path: Path
) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = CLIPTokenizer.from_pretrained(tmp_path)
    texts = [*PROMPTS, "Ein grünes Ei!", "猫 <|endoftext|>", ""]
    assert (
        loaded(texts, split_special_tokens=True)["input_ids"]
        == tokenizer(texts, split_special_tokens=True)["input_ids"]
    )
    assert loaded.eos_token_id == tokenizer.eos_token_id
    assert loaded.pad_token_id == tokenizer.pad_token_id


def test_tokenizer_without_prompts_still_encodes() -> None:
    bare = train_tokenizer([], vocab_size=600)
    assert len(bare) == 514
    assert without_spaces(bare.decode(bare("red ball")["input_ids"][1:-1])) == "redball"
