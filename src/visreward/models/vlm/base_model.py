"""A base Qwen-VL model as transformers saves it: what a new reward model starts from.

Shape letters: T tokens of the vocabulary, D features.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from visreward.core.errors import ModelNotFoundError
from visreward.models.key_maps import VLM
from visreward.models.layouts import Layout, WeightsFile
from visreward.models.native_config import is_native_folder
from visreward.models.released_files import find_weights, read_json, read_weights
from visreward.models.tensors import fill, without_weights
from visreward.models.vlm.backbone import FAMILIES, VLMBackbone
from visreward.models.vlm.pixels import load_processor
from visreward.models.vlm.rating_prompts import load_tokenizer
from visreward.models.vlm.released import EMBEDDINGS, with_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

_WEIGHTS: Final = WeightsFile(
    names=("model.safetensors", "model.safetensors.index.json"), key_map=VLM, place="backbone"
)
_LAYOUT: Final = Layout(kind="base vision-language model", files=(_WEIGHTS,))
_PREFIX: Final = "backbone."


@dataclass(frozen=True, kw_only=True)
class BaseVLM:
    """A model without reward heads.

    Attributes:
        backbone: Both towers, float32.
        tokenizer: With the reward token.
        processor: What makes patches of pictures.
    """

    backbone: VLMBackbone
    tokenizer: PreTrainedTokenizerBase
    processor: Qwen2VLImageProcessorPil


def is_base_folder(folder: Path) -> bool:
    """Return whether a folder holds a Qwen-VL model of transformers, and no reward model."""
    path = folder / "config.json"
    if not path.is_file() or is_native_folder(folder):
        return False
    return read_json(path).get("model_type") in FAMILIES


def load_base(folder: Path) -> BaseVLM:
    """Load a base model; its language-model head is left out.

    The embeddings get as many rows as the tokenizer has tokens: rows that only pad them are cut
    off, as the releases do, and a reward token without a row begins as the mean of all others.

    Args:
        folder: What `save_pretrained` writes for model and processor: config.json, safetensors,
            preprocessor_config.json, tokenizer and chat template.

    Raises:
        ModelNotFoundError: if a file is missing.
        WeightsError: if the weights are damaged or do not fit.
    """
    for name in ("preprocessor_config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise ModelNotFoundError(
                f"The base model {folder} has no {name}. Download all files of the model, or save "
                "its processor there too."
            )
    tokenizer = load_tokenizer(folder)
    paths = find_weights(_LAYOUT, checkpoint=folder, backbone=folder)[_WEIGHTS]
    with tempfile.TemporaryDirectory() as scratch:
        tensors = dict(read_weights(_WEIGHTS, paths, scratch=Path(scratch)).tensors)
    if EMBEDDINGS in tensors:
        tensors[EMBEDDINGS] = _with_rows(tensors[EMBEDDINGS], len(tokenizer))
    described: dict[str, Any] = read_json(folder / "config.json")  # JSON values
    with without_weights():
        backbone = VLMBackbone(with_tokens(described, tensors, folder))
    _fill(backbone, tensors, source=str(folder))
    return BaseVLM(backbone=backbone, tokenizer=tokenizer, processor=load_processor(folder))


def _with_rows(embeddings: Tensor, num_rows: int) -> Tensor:
    """Return (T, D) embeddings with another number of rows; new ones are the mean of the known."""
    missing = num_rows - len(embeddings)
    if missing <= 0:
        return embeddings[:num_rows]
    mean = embeddings.float().mean(dim=0, keepdim=True).to(embeddings.dtype)
    return torch.cat([embeddings, mean.expand(missing, -1)])


def _fill(backbone: VLMBackbone, tensors: Mapping[str, Tensor], *, source: str) -> None:
    named = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}
    fill(
        backbone,
        shapes={name: tuple(tensor.shape) for name, tensor in named.items()},
        read=named.__getitem__,
        source=source,
        dtype=torch.float32,
    )
