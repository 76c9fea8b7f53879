"""Low-rank adapters, by peft: where they go, what is trained, and the weights without them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final

from torch import Tensor, nn

from visreward.core.errors import UsageError
from visreward.core.extras import require_extra
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.vlm.reward import VLMReward
from visreward.training.config import TrainConfig
from visreward.training.modeling.quantised import (
    BYTES,
    quantise,
    require_bitsandbytes,
    unrounded,
)
from visreward.training.options.freeze_config import FreezeConfig
from visreward.training.options.lora_config import LoRAConfig

VISION: Final = ("visual", "vision_model")
LANGUAGE: Final = ("language_model", "text_model")
ADAPTER: Final = ".lora_"
"""What the names of an adapter's weights have in them."""

ADAPTED: Final = ".base_layer."
"""What the names of the weights under an adapter have in them."""


def check_adapters(config: TrainConfig) -> None:
    """Stop where the adapters of a run do not fit what else it does, or need what is not there.

    Raises:
        UsageError: naming the settings that exclude each other.
        MissingExtraError: as `add_adapters` does.
    """
    if config.lora is None:
        return
    require_extra("lora", "peft")
    require_bitsandbytes(config.lora.base_weights)
    if config.objective.name == "distillation":
        raise UsageError(
            "The objective 'distillation' trains a vision tower whole. Leave out lora."
        )
    if config.lora.base_weights == "bfloat16" and config.precision != "bfloat16":
        raise UsageError(
            f"lora.base_weights is bfloat16, but precision is {config.precision}. "
            "Take precision=bfloat16, or lora.base_weights=float32."
        )
    if config.lora.base_weights in BYTES and config.parallel.strategy != "ddp":
        raise UsageError(
            f"lora.base_weights is {config.lora.base_weights}, but parallel.strategy is "
            f"{config.parallel.strategy}, and rounded weights are not shared out. Take "
            "parallel.strategy=ddp, or lora.base_weights=bfloat16."
        )


def add_adapters(
    model: CLIPRewardModel | VLMReward, config: LoRAConfig, *, freeze: FreezeConfig
) -> None:
    """Put adapters on a model whose parts are frozen as `freeze` says.

    Of a tower with adapters all else is frozen, but for what `freeze` trains by name: token
    embeddings (`freeze.embeddings`) and mergers (`freeze.merger` false).

    Raises:
        UsageError: if `freeze` freezes a tower that gets adapters, or no linear map is left.
        MissingExtraError: if peft is not installed, or bitsandbytes where it is asked for.
    """
    require_extra("lora", "peft")
    _check_towers(config, freeze)
    # peft imports bitsandbytes where it is installed. It warns of kernels that a CPU could have,
    # and in each layer of each pass that 8 bits are fewer than those of the inputs.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    import peft

    root: nn.Module = model.backbone.model if isinstance(model, VLMReward) else model.backbone.clip
    towers = (*(VISION if config.vision else ()), *(LANGUAGE if config.language else ()))
    named = (
        *(("embed_tokens",) if freeze.embeddings is not None else ()),
        *(("merger",) if freeze.merger is False else ()),
    )
    trained = {
        name
        for name, parameter in root.named_parameters()
        if parameter.requires_grad
        and (name.split(".")[0] not in towers or any(part in name for part in named))
    }
    names = _adapted(root, config, towers)
    quantise(root, names, config.base_weights)
    peft.inject_adapter_in_model(
        peft.LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,  # type: ignore[arg-type]  # whole numbers in its type alone
            lora_dropout=config.dropout,
            use_rslora=config.rank_stabilised,
            target_modules=names,
        ),
        root,
    )
    for name, parameter in root.named_parameters():
        parameter.requires_grad_(ADAPTER in name or name in trained)


def _check_towers(config: LoRAConfig, freeze: FreezeConfig) -> None:
    frozen = freeze.model_dump(exclude_defaults=True).keys()
    clashes = {
        "lora.vision": (
            config.vision,
            {"vision", "vision_rate", "vision_layers", "vision_embeddings"},
        ),
        "lora.language": (config.language, {"language", "text", "text_rate"}),
    }
    for name, (is_on, keys) in clashes.items():
        if is_on and frozen & keys:
            raise UsageError(
                f"{name} puts adapters where freeze.{min(frozen & keys)} freezes. Leave out one "
                "of them: the weights under adapters are frozen anyway."
            )


def _adapted(root: nn.Module, config: LoRAConfig, towers: tuple[str, ...]) -> list[str]:
    """Return the names of the linear maps that get an adapter, in the order of the model."""
    names = [
        name
        for name, part in root.named_modules()
        if isinstance(part, nn.Linear)
        and name.split(".")[0] in towers
        and not any(each in name for each in config.exclude)
        and (config.modules is None or name.split(".")[-1] in config.modules)
    ]
    if not names:
        raise UsageError(
            f"lora leaves no linear map to adapt: language={config.language}, "
            f"vision={config.vision}, modules={config.modules}, exclude={config.exclude}. "
            "Choose a tower, and fewer exclusions."
        )
    return names if config.last is None else names[-config.last :]


def _adapted_layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield peft's layers of a model by name."""
    from peft.tuners.lora import LoraLayer

    for name, part in model.named_modules():
        if isinstance(part, LoraLayer):
            yield name, part


def merged_adapters(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a model's weights with its adapters added to what they adapt.

    The model itself keeps its adapters apart, so training goes on with the same bits.

    Args:
        model: Some of whose layers may have adapters.
        weights: Its state dict.
    """
    found = dict(weights)
    if not any(ADAPTER in name for name in found):
        return found
    for name, layer in _adapted_layers(model):
        parts = {key: found.pop(key) for key in list(found) if key.startswith(f"{name}.")}
        base = parts[f"{name}.base_layer.weight"]
        if not base.is_floating_point():
            base = unrounded(layer.base_layer)
        (down,) = (value for key, value in parts.items() if key.startswith(f"{name}.lora_A."))
        (up,) = (value for key, value in parts.items() if key.startswith(f"{name}.lora_B."))
        (factor,) = layer.scaling.values()
        found[f"{name}.weight"] = base.to(up) + factor * (up @ down)
        if f"{name}.base_layer.bias" in parts:
            found[f"{name}.bias"] = parts[f"{name}.base_layer.bias"]
    return found


def kept_names(module: nn.Module) -> set[str]:
    """Return which weights a checkpoint holds: with adapters, all but the frozen ones."""
    names = module.state_dict().keys()
    if not any(ADAPTER in name for name in names):
        return set(names)
    frozen = {name for name, each in module.named_parameters() if not each.requires_grad}
    # What bitsandbytes says of rounded weights stands beside them, or behind their names.
    return {name for name in names if name not in frozen and ADAPTED not in name}


def load_kept_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put the weights that a checkpoint holds back into a module of the same make.

    Raises:
        RuntimeError: if names or shapes differ.
    """
    faults = sorted(kept_names(module) ^ weights.keys())
    if faults:
        raise RuntimeError(f"other weights, such as {', '.join(faults[:4])}")
    module.load_state_dict(weights, strict=False)
