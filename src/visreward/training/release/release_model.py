"""Heads, freezing and adapters of a released training configuration in our words."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from visreward.core.errors import UsageError

HEADS: Final[Mapping[str, dict[str, Any]]] = {
    "default": {"kind": "linear"},
    "ranknet": {"kind": "mlp"},
    "ranknet_share_head": {"kind": "mlp", "shared": True},
    "ranknet_multi_head": {"kind": "mlp"},
    "ranknet_multi_head_regression": {"kind": "mlp"},
}
_HEAD_KEYS: Final = ("num_layers", "hidden_size", "dropout", "bias")
_NO_LINEAR_MAPS: Final = frozenset({"lm_head", "rm_head", "embed_tokens"})
"""Names that the releases exclude from adapters, and that have none here anyway."""


@dataclass(kw_only=True)
class Given:
    """The options of a file, and which of them were read.

    Attributes:
        values: Option by name.
        taken: Names that were asked for.
    """

    values: Mapping[str, Any]  # YAML values
    taken: set[str] = field(default_factory=set)

    def take(self, name: str, default: Any) -> Any:  # noqa: ANN401  YAML values
        """Return an option, or its default in the released code."""
        self.taken.add(name)
        value = self.values.get(name)
        return default if value is None else value


def heads_section(given: Given, *, is_edit: bool) -> dict[str, Any]:  # YAML values
    """Return `model.vlm.heads`.

    Raises:
        UsageError: if the type or one of its settings is unknown, or does not fit the data.
    """
    kind = given.take("rm_head_type", "default")
    if kind not in HEADS:
        nearest = difflib.get_close_matches(str(kind), HEADS, n=1, cutoff=0)[0]
        raise UsageError(f"rm_head_type is {kind!r}. The nearest known one is {nearest!r}.")
    has_dimensions = kind not in ("default", "ranknet")
    if is_edit != has_dimensions:
        fitting = [name for name in HEADS if (name not in ("default", "ranknet")) == is_edit]
        raise UsageError(
            f"rm_head_type is {kind!r}, but {'edits have' if is_edit else 'images have not'} two "
            f"dimensions. Take {' or '.join(fitting[:2])}."
        )
    settings = dict(given.take("rm_head_kwargs", {}))
    num_heads = settings.pop("num_heads", None)
    if num_heads not in (None, 2 if kind.startswith("ranknet_multi_head") else 1):
        raise UsageError(
            f"rm_head_kwargs has num_heads: {num_heads}. There is one head for each of "
            "model.vlm.rating_prompts.templates, or one for all with model.vlm.heads.shared."
        )
    unknown = sorted(settings.keys() - set(_HEAD_KEYS))
    if unknown:
        raise UsageError(
            f"rm_head_kwargs has the unknown key {unknown[0]!r}. Known are {', '.join(_HEAD_KEYS)}."
        )
    if given.take("disable_dropout", False):
        settings["dropout"] = 0.0
    return {**HEADS[kind], "num_outputs": given.take("output_dim", 1), **settings}


def read_pooling(given: Given) -> str:
    """Return `model.vlm.pooling`.

    Raises:
        UsageError: if the reward token is read that the prompts do not have.
    """
    pooling = str(given.take("reward_token", "last"))
    if pooling == "special" and not given.take("use_special_tokens", False):
        raise UsageError(
            "reward_token is special, but use_special_tokens is false: there is no reward token "
            "to read. Set use_special_tokens to true, or reward_token to last."
        )
    return pooling


def freeze_section(given: Given) -> dict[str, Any]:  # YAML values
    """Return `freeze`, as far as adapters leave something to say.

    Token embeddings are frozen in every released training, but for the reward token.
    """
    has_adapters = bool(given.take("lora_enable", False))
    is_vision_adapted = has_adapters and bool(given.take("vision_lora", False))
    is_tuned = bool(given.take("tune_merger", False))
    is_vision_frozen = bool(given.take("freeze_vision_tower", False))
    num_layers = given.take("trainable_visual_layers", -1)
    is_language_frozen = bool(given.take("freeze_llm", False))
    if has_adapters and is_language_frozen:
        raise UsageError(
            "lora_enable and freeze_llm are both true, which the released code refuses too. "
            "lora.language=false trains a frozen language model without adapters."
        )
    frozen: dict[str, Any] = {}
    if not is_vision_adapted:
        if is_vision_frozen:
            frozen["vision"] = True
        frozen["merger"] = not is_tuned
        if num_layers > 0:
            frozen["vision_layers"] = num_layers
    if is_language_frozen:
        frozen["language"] = True
    has_token = bool(given.take("use_special_tokens", False))
    return {**frozen, "embeddings": "reward-token" if has_token else "none"}


def lora_section(given: Given) -> dict[str, Any]:  # YAML values
    """Return `lora` under its name, or nothing where the release has no adapters.

    Raises:
        UsageError: if weights are to have 8 or 4 bits without adapters.
    """
    names = given.take("lora_namespan_exclude", [])
    excluded = {names} if isinstance(names, str) else set(names)
    last = given.take("num_lora_modules", -1)
    by_bits = {"8-bit": given.take("load_in_8bit", False), "4-bit": given.take("load_in_4bit", 0)}
    bits = [name for name, is_on in by_bits.items() if is_on]
    lora = {
        "rank": given.take("lora_rank", given.take("lora_r", 16)),
        "alpha": given.take("lora_alpha", 32),
        "dropout": given.take("lora_dropout", 0.05),
        "rank_stabilised": given.take("use_rslora", False),
        "vision": given.take("vision_lora", False) and "visual" not in excluded,
    }
    if not given.take("lora_enable", False):
        if bits:
            raise UsageError(
                f"Base weights of {bits[0]} are frozen, so that only adapters can be trained. Set "
                "lora_enable to true; here the option is lora.base_weights."
            )
        return {}
    excluded -= _NO_LINEAR_MAPS | {"visual"}
    if excluded:
        lora["exclude"] = sorted(excluded)
    if last > 0:
        lora["last"] = last
    if bits:
        lora["base_weights"] = bits[0]
    return {"lora": lora}


def parallel_section(given: Given) -> dict[str, Any]:  # YAML values
    """Return `parallel` in a mapping, or none of it where the release gives no ZeRO.

    A file of DeepSpeed is not read: the stage is the 3 in its name, such as `zero3.json`, or 2.
    Rounded base weights are not shared out.
    """
    file = given.take("deepspeed", None)
    is_rounded = given.take("load_in_4bit", False) or given.take("load_in_8bit", False)
    if not file or is_rounded:
        return {}
    stage = 3 if "3" in Path(str(file)).stem else 2
    return {"parallel": {"strategy": "deepspeed", "zero_stage": stage}}
