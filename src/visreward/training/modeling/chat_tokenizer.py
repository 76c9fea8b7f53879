"""A small byte-level BPE tokenizer in Qwen's format, with our own chat template."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AddedToken, Qwen2Tokenizer

from visreward.models.vlm.rating_prompts import REWARD_TOKEN

END: Final = "<|endoftext|>"
IMAGE: Final = "<|image_pad|>"
VIDEO: Final = "<|video_pad|>"
VISION_START: Final = "<|vision_start|>"
VISION_END: Final = "<|vision_end|>"
SPECIAL_TOKENS: Final = (
    *(END, "<|im_start|>", "<|im_end|>", VISION_START, VISION_END),
    *(IMAGE, VIDEO, REWARD_TOKEN),
)

CHAT_TEMPLATE: Final = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def train_chat_tokenizer(texts: Iterable[str], *, vocab_size: int) -> Qwen2Tokenizer:
    """Return a Qwen tokenizer whose merges come from some texts.

    Every byte is in the vocabulary, so any text can be encoded. Deterministic.

    Args:
        texts: Text to learn merges from.
        vocab_size: Largest number of tokens, special tokens included; the 264 that every text
            needs are there in any case.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    reference = Qwen2Tokenizer().backend_tokenizer
    trained = Tokenizer(models.BPE())
    trained.normalizer = reference.normalizer
    trained.pre_tokenizer = reference.pre_tokenizer
    trained.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=max(vocab_size - len(SPECIAL_TOKENS), len(alphabet)),
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    found = json.loads(trained.to_str())["model"]
    tokens = sorted(found["vocab"], key=found["vocab"].__getitem__)
    vocab = {token: number for number, token in enumerate([*tokens, *SPECIAL_TOKENS])}
    merges = [tuple(merge) for merge in found["merges"]]
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=merges)  # type: ignore[arg-type]  # pairs are what the backend takes
    tokenizer.add_tokens(
        [AddedToken(token, special=True) for token in SPECIAL_TOKENS], special_tokens=True
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
