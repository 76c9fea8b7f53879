"""The typed configuration of a training run: recipe YAML plus `key=value` overrides.

Unknown keys are refused with the nearest known name.
"""

from __future__ import annotations

import copy
import difflib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError
from pydantic_core import ErrorDetails

from visreward.core.errors import UnknownNameError, UsageError
from visreward.core.types import Fidelity


class Strict(BaseModel):
    """A configuration section: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TokenizerConfig(Strict):
    """A tokenizer of our own, trained on the prompts of the training split."""

    vocab_size: int = Field(default=1200, ge=514)
    context: PositiveInt = 77


class ModelConfig(Strict):
    """What is trained.

    Attributes:
        kind: Registry name of the model class.
        name: Name beside the scores of the finished model.
        init: Native folder, built-in or catalog name to start from; None starts from nothing.
        backbone: CLIP backbone configuration, needed where `init` is None.
        image_size: Side of the square that the model sees, in pixels; needed where `init` is None.
        tokenizer: Tokenizer to train, needed where `init` is None and the model reads prompts.
        note: One sentence to print beside the scores.
    """

    kind: Literal["clipscore", "ict", "hp"]
    name: str
    init: str | None = None
    backbone: dict[str, Any] | None = None  # fields of CLIPBackboneConfig
    image_size: PositiveInt | None = None
    tokenizer: TokenizerConfig | None = None
    note: str = ""


class FreezeConfig(Strict):
    """Which parts keep their weights.

    Attributes:
        vision_rate: Share of the vision layers, from the bottom, that is frozen.
        vision_embeddings: Whether embeddings and first layer norm are frozen too. The release
            leaves them trainable below frozen layers, which costs a full backward pass.
        text_rate: Share of the text layers, from the bottom, that is frozen.
        text: Whether the text tower is frozen whole.
        projections: Whether both projections are frozen.
    """

    vision_rate: float = Field(default=0.0, ge=0, le=1)
    vision_embeddings: bool = False
    text_rate: float = Field(default=0.0, ge=0, le=1)
    text: bool = False
    projections: bool = False


class DataConfig(Strict):
    """What it is trained on.

    Attributes:
        format: `captions` (families of images with prompts) or `pick-high` (triplets).
        path: Folder of the data set.
        num_train: How many rows of the training split to use; None uses all.
        num_validation: How many rows of the validation split to use.
        cache_pixels: Keep the resized pixels of every image on disk, so that each is decoded once.
        num_workers: Processes that decode images where pixels are not cached.
        max_skip_fraction: Share of unreadable rows above which the run stops.
    """

    format: Literal["captions", "pick-high"]
    path: Path
    num_train: PositiveInt | None = None
    num_validation: PositiveInt = 1000
    cache_pixels: bool = True
    num_workers: int = Field(default=0, ge=0)
    max_skip_fraction: float = Field(default=0.01, ge=0, le=1)


class ContrastiveConfig(Strict):
    """Symmetric InfoNCE over all pairs of the batch."""

    name: Literal["contrastive"]
    max_logit_scale: PositiveFloat = 100.0


class ICTConfig(Strict):
    """The ICT loss; `beta` None takes the fidelity's own."""

    name: Literal["ict"]
    fidelity: Fidelity = "released"
    negative_weight: float = Field(default=0.5, ge=0)
    alpha: float = 20.0
    beta: float | None = None


class HPConfig(Strict):
    """Margin ranking on HP, and on ICT x HP with a frozen ICT model.

    Attributes:
        ict: Native folder, built-in or catalog name of the frozen ICT model; None drops the
            ICT x HP loss.
        cache_frozen: Compute what is frozen once and keep it: the ICT scores, and the hidden
            states below the first trained layer where nothing below it is trained.
        max_cache_gb: Hidden states that would need more disk than this are not cached.
    """

    name: Literal["hp"]
    fidelity: Fidelity = "released"
    ict: str | None = None
    hp_weight: float = Field(default=1.0, ge=0)
    ict_hp_weight: float = Field(default=1.0, ge=0)
    margin: float = 0.3
    cache_frozen: bool = True
    max_cache_gb: float = Field(default=20.0, ge=0)


class OptimConfig(Strict):
    """Optimizer and schedule.

    Attributes:
        batch_size: Rows per step over all processes and accumulation steps.
        accumulation: Into how many parts a process splits its share of a batch. In-batch
            negatives see one part at a time.
        schedule: After a linear warm-up: constant, linear to zero, or half a cosine to zero.
        grad_clip: Largest gradient norm; None does not clip.
    """

    steps: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    accumulation: PositiveInt = 1
    warmup_steps: int = Field(default=0, ge=0)
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    weight_decay: float = Field(default=0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    grad_clip: PositiveFloat | None = 1.0


class TrainConfig(Strict):
    """One training run."""

    output: Path
    model: ModelConfig
    data: DataConfig
    objective: Annotated[ContrastiveConfig | ICTConfig | HPConfig, Field(discriminator="name")]
    optim: OptimConfig
    freeze: FreezeConfig = FreezeConfig()
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    weights_dtype: Literal["float32", "float16"] = "float32"
    seed: int = 42
    validate_every: PositiveInt = 1000
    save_every: PositiveInt = 1000
    log_every: PositiveInt = 20
    device: Literal["auto", "cpu", "cuda"] = "auto"


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship with the package."""
    folder = resources.files("visreward.training") / "recipes"
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def read_recipe(recipe: str) -> dict[str, Any]:  # YAML values
    """Read a recipe file, or a recipe of the package by name.

    Raises:
        UnknownNameError: if there is neither such a file nor such a recipe.
        UsageError: if the file is not a YAML mapping.
    """
    path = Path(recipe)
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    elif recipe.removesuffix(".yaml") in recipe_names():
        name = f"{recipe.removesuffix('.yaml')}.yaml"
        entry = resources.files("visreward.training") / "recipes" / name
        text = entry.read_text(encoding="utf-8")
    else:
        raise UnknownNameError(
            f"No recipe file '{recipe}', and no recipe of that name. "
            f"Give a YAML file or one of: {', '.join(recipe_names())}."
        )
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"Recipe '{recipe}' is not valid YAML: {error}. Correct it.") from error
    if not isinstance(values, dict):
        raise UsageError(
            f"Recipe '{recipe}' holds a {type(values).__name__}, expected keys and values."
        )
    return values


def with_overrides(
    values: dict[str, Any],  # YAML values
    overrides: list[str],
) -> dict[str, Any]:
    """Return the recipe with `section.key=value` entries put in; values are read as YAML.

    Raises:
        UsageError: if an entry has no '=' or goes through something that is not a section.
    """
    merged = copy.deepcopy(values)
    for override in overrides:
        name, separator, text = override.partition("=")
        if not separator or not name:
            raise UsageError(f"Override '{override}' is not key=value, such as optim.steps=100.")
        *sections, key = name.split(".")
        place = merged
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise UsageError(f"Override '{override}': '{section}' holds a value, no keys.")
        try:
            place[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"Override '{override}' is not YAML after '=': {error}.") from error
    return merged


def parse_config(values: dict[str, Any]) -> TrainConfig:  # YAML values
    """Check a recipe and return it typed.

    Raises:
        UsageError: if a key is unknown (the nearest name is given), missing, or has a value of
            the wrong kind; all problems are listed.
    """
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        lines = [_problem(detail, values) for detail in error.errors()]
        raise UsageError("The recipe cannot be used:\n" + "\n".join(lines)) from error


def load_config(recipe: str, overrides: list[str]) -> TrainConfig:
    """Read a recipe, put the overrides in, and check it."""
    return parse_config(with_overrides(read_recipe(recipe), overrides))


def _problem(detail: ErrorDetails, values: dict[str, Any]) -> str:  # YAML values
    """Say one validation problem in words."""
    location = [str(part) for part in detail["loc"]]
    # The discriminated section carries its own name in the location: objective.hp.margin.
    if len(location) > 1 and location[0] == "objective":
        location = [location[0], *location[2:]]
    name = ".".join(location)
    if detail["type"] == "extra_forbidden":
        known = _known_keys(location[:-1], values)
        nearest = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.4)
        hint = f"Did you mean '{nearest[0]}'?" if nearest else f"Known: {', '.join(known)}."
        return f"  unknown key '{name}'. {hint}"
    if detail["type"] == "missing":
        return f"  '{name}' is missing. Give it in the recipe or as {name}=VALUE."
    return f"  '{name}' is {detail['input']!r}: {detail['msg']}."


def _known_keys(sections: list[str], values: dict[str, Any]) -> list[str]:
    """Return the keys that a section knows."""
    if not sections:
        return sorted(TrainConfig.model_fields)
    if sections == ["objective"]:
        chosen = values.get("objective", {}).get("name")
        models: dict[str, type[Strict]] = {
            "contrastive": ContrastiveConfig,
            "ict": ICTConfig,
            "hp": HPConfig,
        }
        return sorted(models[chosen].model_fields)
    section: type[BaseModel] = TrainConfig
    for part in sections:
        annotation = section.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        found = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        section = found[0]
    return sorted(section.model_fields)
