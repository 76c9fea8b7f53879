"""A small byte-level BPE tokenizer in CLIP's format, trained on a data set's prompts."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"


def train_tokenizer(prompts: Iterable[str], *, vocab_size: int) -> CLIPTokenizer:
    """Return a CLIP tokenizer whose merges come from the prompts.

    Every byte is in the vocabulary, so any text can be encoded; the end-of-text token has the
    highest id, as CLIP's pooling expects. Deterministic.

    Args:
        prompts: Text to learn merges from.
        vocab_size: Largest number of tokens, special tokens included; the 514 that every text
            needs are there in any case.
    """
    reference = CLIPTokenizer().backend_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    base = alphabet + [character + END_OF_WORD for character in alphabet]
    trained = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    trained.normalizer = reference.normalizer
    trained.pre_tokenizer = reference.pre_tokenizer
    trained.decoder = decoders.ByteLevel()
    trained.train_from_iterator(
        prompts,
        trainers.BpeTrainer(
            vocab_size=max(vocab_size - 2, len(base)),
            initial_alphabet=alphabet,
            end_of_word_suffix=END_OF_WORD,
            show_progress=False,
        ),
    )
    found = json.loads(trained.to_str())["model"]["merges"]
    merges = [tuple(merge) for merge in found[: max(vocab_size - len(base) - 2, 0)]]
    tokens = dict.fromkeys([*base, *("".join(merge) for merge in merges)])
    vocab = {token: number for number, token in enumerate([*tokens, START, END])}
    return CLIPTokenizer(vocab=vocab, merges=merges)  # type: ignore[arg-type]  # pairs are what the backend takes
