"""The typed configuration of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

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
    """One training run.

    Attributes:
        precision: What matrix products are computed in. `auto` takes bfloat16 where the device
            has instructions for it: a CPU without them is hundreds of times slower in it.
    """

    output: Path
    model: ModelConfig
    data: DataConfig
    objective: Annotated[ContrastiveConfig | ICTConfig | HPConfig, Field(discriminator="name")]
    optim: OptimConfig
    freeze: FreezeConfig = FreezeConfig()
    precision: Literal["auto", "float32", "bfloat16"] = "bfloat16"
    weights_dtype: Literal["float32", "float16"] = "float32"
    seed: int = 42
    validate_every: PositiveInt = 1000
    save_every: PositiveInt = 1000
    log_every: PositiveInt = 20
    device: Literal["auto", "cpu", "cuda"] = "auto"
