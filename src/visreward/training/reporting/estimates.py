"""How many tokens the rows of a run make, and how much memory a process needs.

Shape letters: h width, i inner width of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from torch import nn

from visreward.models.clip.family import CLIPRewardModel
from visreward.models.vlm.packing import pack_sequences
from visreward.models.vlm.reward import VLMReward
from visreward.training.config import Checkpointing, TrainConfig
from visreward.training.data.batches import Batch
from visreward.training.data.pairs import ordered_pairs
from visreward.training.data.questions import questions_of
from visreward.training.distributed.parallel import shared_layers
from visreward.training.modeling.lora import ADAPTED
from visreward.training.modeling.quantised import BYTES
from visreward.training.objectives.pairwise import row_sequences

_ADAM_MOMENTS: Final = 2
_LIVE: Final = 1_000_000_000  # stage3_max_live_parameters, as DeepSpeed 0.19 has it
_SHARES_WEIGHTS: Final = 3  # stage of ZeRO
_HALF: Final = 2  # bytes of a number in bfloat16
_FULL: Final = 4
_KEPT: Final = {"none": (8, 3), "selective": (5, 2), "full": (1, 0)}
"""Numbers that a layer keeps of a token, in widths and inner widths."""


@dataclass(frozen=True, kw_only=True)
class TokenCounts:
    """Tokens of some rows, by row.

    Attributes:
        packed: With shared beginnings once, as training computes them.
        plain: One sequence for each image and rating prompt.
        pairs: How many pairs of images the row compares.
    """

    packed: tuple[int, ...]
    plain: tuple[int, ...]
    pairs: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Memory of one process at one step, in bytes.

    Attributes:
        weights: What the process keeps of them, as they are kept.
        gathered: Whole weights, which come together while layers compute with them.
        gradients: Of the trained ones, as far as the process keeps them.
        optimizer: Two moments of AdamW for each trained number, likewise; with DeepSpeed another
            copy of the number too.
        activations: What the layers keep for the backward pass, see `activation_bytes`.
    """

    weights: int
    gathered: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """Return the sum."""
        kept = self.weights + self.gathered + self.gradients + self.optimizer
        return kept + self.activations


def count_tokens(model: VLMReward, batch: Batch) -> TokenCounts:
    """Return how many tokens the rows of a batch make."""
    packed, plain, pairs = [], [], []
    for number in range(len(batch.rows)):
        own = batch.part(slice(number, number + 1))
        questions = questions_of(own.rows)
        sequences = row_sequences(model, own, questions, []).sequences
        packs = pack_sequences(sequences, max_tokens=model.max_pack_tokens)
        packed.append(sum(pack.tree.num_tokens for pack in packs))
        plain.append(sum(len(each.ids) for each in sequences))
        pairs.append(len(ordered_pairs([each.known.overall for each in questions])))
    return TokenCounts(packed=tuple(packed), plain=tuple(plain), pairs=tuple(pairs))


def estimate_memory(
    model: CLIPRewardModel | VLMReward,
    config: TrainConfig,
    batch: Batch,
    *,
    num_processes: int = 1,
) -> MemoryEstimate:
    """Return how much memory a process needs, roughly.

    Gradients and moments are of the dtype of the weights.

    Args:
        model: With its frozen parts; not on its device yet, where 8 and 4 bits are rounded.
        config: The run.
        batch: One of its batches, of all processes together.
        num_processes: How many take part; `parallel.strategy` says what they share out.
    """
    sizes = _sizes(model, config)
    weights = sum(sizes.values())
    trained = sum(size for parameter, size in sizes.items() if parameter.requires_grad)
    strategy = config.parallel.strategy if num_processes > 1 else "ddp"
    shares_weights = strategy == "fsdp2" or config.parallel.zero_stage == _SHARES_WEIGHTS
    num_shares = 1 if strategy == "ddp" else num_processes
    kept = weights // num_shares if shares_weights else weights
    part = batch.split(config.optim.accumulation * num_processes)[0]
    width = _HALF if config.precision == "bfloat16" else _FULL
    return MemoryEstimate(
        weights=kept,
        gathered=min(weights, _gathered(model, sizes, strategy)) if kept < weights else 0,
        gradients=trained // num_shares,
        optimizer=(_ADAM_MOMENTS + (strategy == "deepspeed")) * trained // num_shares,
        activations=activation_bytes(
            model, part, num_bytes=width, checkpointing=config.checkpointing
        ),
    )


def _sizes(model: nn.Module, config: TrainConfig) -> dict[nn.Parameter, int]:
    """Return how many bytes each parameter takes, rounded ones as they will be."""
    bits = None if config.lora is None else BYTES.get(config.lora.base_weights)
    found = {}
    for name, parameter in model.named_parameters():
        is_rounded = bits is not None and name.endswith(f"{ADAPTED}weight")
        width = bits if bits is not None and is_rounded else parameter.element_size()
        found[parameter] = round(parameter.numel() * width)
    return found


def _gathered(model: nn.Module, sizes: Mapping[nn.Parameter, int], strategy: str) -> int:
    """Return how many bytes of weights come together at once, where they are shared out.

    FSDP2 holds one layer, and what belongs to no layer; DeepSpeed as many numbers as it may.
    """
    if strategy == "deepspeed":
        return _LIVE * _FULL
    layers = [sum(sizes[each] for each in layer.parameters()) for layer in shared_layers(model)]
    return sum(sizes.values()) - sum(layers) + max(layers, default=0)


def activation_bytes(
    model: CLIPRewardModel | VLMReward,
    batch: Batch,
    *,
    num_bytes: int,
    checkpointing: Checkpointing = "none",
) -> int:
    """Return what the layers of both towers keep for the backward pass, roughly.

    A layer keeps for each of its tokens the inputs of its two norms and two linear blocks, the
    queries, keys, values and output of attention (8 h numbers), and what the MLP makes (3 i).
    Attention is taken to keep no matrix of scores, as fused attention does. With selective
    checkpointing these are the outputs of linear maps alone (5 h, 2 i), with full checkpointing
    the layer's input (h).
    A tower whose weights are all frozen keeps nothing.
    """
    found = 0
    outer, inner = _KEPT[checkpointing]
    for tower, tokens in _towers(model, batch):
        if not any(parameter.requires_grad for parameter in tower.parameters()):
            continue
        for layer in _layers(tower):
            widths = [m.in_features for m in layer.modules() if isinstance(m, nn.Linear)]
            found += tokens * (outer * min(widths) + inner * max(widths)) * num_bytes
    return found


def _towers(model: CLIPRewardModel | VLMReward, batch: Batch) -> list[tuple[nn.Module, int]]:
    """Return both towers, and how many tokens of a batch go through each."""
    assert batch.pixels is not None
    pixels = [image for row in batch.pixels for image in row]
    if isinstance(model, VLMReward):
        side = model.inputs.patches.patch_size
        patches = sum(image.shape[1] * image.shape[2] // side**2 for image in pixels)
        backbone = model.backbone.model
        tokens = sum(count_tokens(model, batch).packed)
        return [(backbone.visual, patches), (backbone.language_model, tokens)]
    clip = model.backbone.clip
    positions = clip.vision_model.embeddings.position_embedding.num_embeddings
    towers: list[tuple[nn.Module, int]] = [(clip.vision_model, len(pixels) * positions)]
    if model.backbone.has_text and model.text_inputs is not None:
        num_prompts = sum(len(row.prompts) for row in batch.rows)
        towers.append((clip.text_model, num_prompts * model.text_inputs.context))
    return towers


def _layers(tower: nn.Module) -> list[nn.Module]:
    """Return the blocks of a tower: its longest list of modules."""
    lists = [list(each) for each in tower.modules() if isinstance(each, nn.ModuleList)]
    return max(lists, key=len)
