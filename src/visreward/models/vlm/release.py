"""Rating prompts and settings from a user's own copy of a release.

The release's Python files are parsed as syntax; nothing in them is executed.
"""

from __future__ import annotations

import ast
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

import yaml

from visreward.core.errors import ModelNotFoundError, UsageError, WeightsError
from visreward.models.heads import Fusion, HeadConfig
from visreward.models.vlm.backbone import FAMILIES
from visreward.models.vlm.pixels import PixelBudget
from visreward.models.vlm.rating_prompts import RatingPrompts
from visreward.models.vlm.settings import VLMSettings

_SUFFIX: Final = "prompt_with_special_token"
_MAX_SOURCE_BYTES: Final = 1 << 20
_HEAD_KEYS: Final = ("num_heads", "num_layers", "hidden_size", "dropout", "bias")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSource:
    """Where a release keeps what.

    Attributes:
        package: Its folder of Python files.
        prompts: By dimension, (file, name of the constant).
        overall: The constants asked by models with one head, by the release's `reward_dim`.
        collators: Files one of which holds the suffix, by model_type of the backbone.
    """

    package: str
    prompts: Mapping[str, tuple[str, str]]
    overall: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    collators: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_PROMPTS_FILE: Final = "dataset/prompts.py"
_COLLATOR: Final = "dataset/data_collator_qwen_edit.py"

EDITREWARD: Final = ReleaseSource(
    package="EditReward",
    prompts={
        "instruction_following": (_PROMPTS_FILE, "INSTRUCTION_EDIT_FOLLOWING"),
        "visual_quality": (_PROMPTS_FILE, "INSTRUCTION_EDIT_QUALITY"),
    },
    overall={
        "dim1": (_PROMPTS_FILE, "INSTRUCTION_EDIT_FOLLOWING"),
        "dim2": (_PROMPTS_FILE, "INSTRUCTION_EDIT_QUALITY"),
        "overall": (_PROMPTS_FILE, "INSTRUCTION_EDIT_OVERALL"),
        "overall_detail": (_PROMPTS_FILE, "INSTRUCTION_EDIT_OVERALL_DETAILED"),
    },
    collators={
        "qwen2_5_vl": (_COLLATOR,),
        # The published file takes the suffix over from the other one.
        "qwen3_vl": ("dataset/data_collator_qwen3_edit.py", _COLLATOR),
    },
)
HPSV3: Final = ReleaseSource(
    package="hpsv3",
    prompts={"overall": ("dataset/data_collator_qwen.py", "INSTRUCTION")},
    collators={"qwen2_vl": ("dataset/data_collator_qwen.py",)},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPrompts:
    """The digest that rating prompts must have.

    Attributes:
        sha256: As in `RatingPrompts.digest`.
        source: Who says so.
    """

    sha256: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRelease:
    """What a release says about a model.

    Attributes:
        settings: Heads, pooling, fusion and positions.
        prompts: The rating prompts.
        budget: What pictures are resized into.
        files: The files that were read.
    """

    settings: VLMSettings
    prompts: RatingPrompts
    budget: PixelBudget
    files: tuple[str, ...]


class _Files:
    """The text files of a folder or of a zip file such as a wheel."""

    def __init__(self, path: Path, package: str) -> None:
        self.path = path
        self.package = package
        self.read_names: list[str] = []
        if path.is_dir():
            root = path if path.name == package else path / package
            self.names = tuple(
                each.relative_to(root).as_posix() for each in sorted(root.rglob("*.*"))
            )
            self._read: Callable[[str], bytes] = lambda name: (root / name).read_bytes()
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                found = [PurePosixPath(name) for name in archive.namelist()]
            inside = {
                "/".join(name.parts[name.parts.index(package) + 1 :]): str(name)
                for name in found
                if package in name.parts[:-1]
            }
            self.names = tuple(inside)
            self._read = lambda name: _unzipped(path, inside[name])
        else:
            raise ModelNotFoundError(
                f"There is no release at {path}. Give the source tree of the release, or its wheel."
            )

    def text(self, name: str) -> str:
        if name not in self.names:
            raise ModelNotFoundError(
                f"{self.path} has no {self.package}/{name}, which holds the release's rating "
                "prompts. Give the source tree of the release, or its wheel."
            )
        self.read_names.append(f"{self.package}/{name}")
        try:
            return self._read(name).decode("utf-8")
        except UnicodeDecodeError as error:
            raise WeightsError(
                f"{self.path}: {name} is not text: {error}. Get the release again."
            ) from error


def _unzipped(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo(name).file_size > _MAX_SOURCE_BYTES:
            raise WeightsError(f"{path}: {name} is over 1 MB. Give the release as published.")
        try:
            return archive.read(name)
        # RuntimeError: encrypted; NotImplementedError, one of its kind: an unknown compression.
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise WeightsError(
                f"{path}: {name} cannot be unpacked: {error}. Get the release again."
            ) from error


def _constants(text: str, where: str) -> dict[str, str]:
    """Return the string constants that a module's source assigns at its top level."""
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise WeightsError(f"{where} is not Python: {error}. Get the release again.") from error
    found = {}
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                if isinstance(target, ast.Name) and isinstance(node.value.value, str):
                    found[target.id] = node.value.value
    return found


def _constant(files: _Files, names: Sequence[str], constant: str) -> str:
    """Return a text constant from the first of some files that assigns it."""
    found: dict[str, str] = {}
    for name in names:
        found = _constants(files.text(name), f"{files.path}: {name}")
        if constant in found:
            return found[constant]
    raise WeightsError(
        f"{files.path}: {' and '.join(names)} assign no text to {constant}; the last one has "
        f"{', '.join(sorted(found)) or 'no texts'}. Give the release as published."
    )


def read_release(
    path: Path, source: ReleaseSource, *, model_type: str, config_name: str | None = None
) -> ReadRelease:
    """Read a release's rating prompts and training configuration.

    Args:
        path: Its source tree, or a zip file of it such as a wheel.
        source: Where the release keeps what.
        model_type: That of the backbone.
        config_name: Name of the YAML file in the release's `config` folder; None takes the only
            one.

    Raises:
        ModelNotFoundError: if a file is missing.
        WeightsError: if a file does not hold what it should.
        UsageError: if the configuration is not clear, or asks for what the release cannot do.
    """
    if model_type not in source.collators:
        raise UsageError(
            f"{source.package} was not released on {model_type!r}, but on "
            f"{' and '.join(source.collators)}. Give the backbone that belongs to the checkpoint."
        )
    files = _Files(path, source.package)
    values = _training_config(files, config_name)
    settings, num_dimensions = _settings(values, model_type)
    wanted = source.prompts
    if num_dimensions == 1 and len(wanted) > 1:
        dimension = str(values.get("reward_dim", "overall_detail"))
        if dimension not in source.overall:
            raise UsageError(f"reward_dim is {dimension!r}. Known are {', '.join(source.overall)}.")
        wanted = {"overall": source.overall[dimension]}
    prompts = RatingPrompts(
        templates={
            name: _constant(files, (file,), constant) for name, (file, constant) in wanted.items()
        },
        suffix=_constant(files, source.collators[model_type], _SUFFIX),
    )
    budget = PixelBudget(min_pixels=values["min_pixels"], max_pixels=values["max_pixels"])
    return ReadRelease(
        settings=settings,
        prompts=prompts,
        budget=budget,
        files=tuple(dict.fromkeys(files.read_names)),
    )


def _training_config(files: _Files, name: str | None) -> dict[str, Any]:  # YAML values
    there = [
        each.removeprefix("config/")
        for each in files.names
        if each.startswith("config/") and each.endswith((".yaml", ".yml"))
    ]
    if name is None and len(there) != 1:
        raise UsageError(
            f"{files.path} has the configurations {', '.join(there) or '(none)'}. "
            "Name the one that belongs to the checkpoint with --config."
        )
    try:
        values = yaml.safe_load(files.text(f"config/{name or there[0]}"))
    except yaml.YAMLError as error:
        raise WeightsError(
            f"{files.path}: config/{name or there[0]} is not YAML: {error}. Get the release again."
        ) from error
    needed = {"rm_head_type", "min_pixels", "max_pixels", "output_dim"}
    if not isinstance(values, dict) or not needed <= set(values):
        missing = sorted(needed - set(values if isinstance(values, dict) else ()))
        raise WeightsError(
            f"{files.path}: config/{name or there[0]} lacks {', '.join(missing)}. "
            "Give the configuration that the checkpoint was trained with."
        )
    if not values.get("use_special_tokens", False):
        raise UsageError(
            f"{files.path}: config/{name or there[0]} has use_special_tokens = "
            f"{values.get('use_special_tokens')}; only models with the reward token are imported."
        )
    return values


def _settings(
    values: Mapping[str, Any],  # YAML values
    model_type: str,
) -> tuple[VLMSettings, int]:
    """Return the settings in our words, and the number of dimensions."""
    kind = values["rm_head_type"]
    heads = {"default": 1, "ranknet": 1, "ranknet_share_head": 1, "ranknet_multi_head": 2}
    if kind not in heads:
        raise UsageError(f"rm_head_type is {kind!r}. Known are {', '.join(heads)}.")
    kwargs = dict(values.get("rm_head_kwargs") or {})
    unknown = sorted(set(kwargs) - set(_HEAD_KEYS))
    if unknown:
        raise UsageError(f"rm_head_kwargs has unknown keys {unknown}. Known: {_HEAD_KEYS}.")
    kwargs.setdefault("num_heads", heads[kind])
    if kind != "ranknet_multi_head":
        kwargs["num_heads"] = 1
    head = HeadConfig(
        kind="linear" if kind == "default" else "mlp", num_outputs=values["output_dim"], **kwargs
    )
    num_dimensions = 2 if kind in ("ranknet_share_head", "ranknet_multi_head") else 1
    fusion: Fusion = values.get("pooling_strategy") or ("mean" if num_dimensions == 2 else "none")
    # The shared head of the release has no branch for "sum" and averages.
    if kind == "ranknet_share_head" and fusion == "sum":
        fusion = "mean"
    settings = VLMSettings(
        head=head,
        pooling=values.get("reward_token", "last"),
        fusion=fusion if num_dimensions == 2 else "none",
        positions=FAMILIES[model_type].released_positions,
    )
    return settings, num_dimensions
