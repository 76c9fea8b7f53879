"""The typed configuration of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator

from visreward.models.heads import Fusion, Pooling
from visreward.models.vlm.backbone import Positions
from visreward.training.objective_config import ObjectiveConfig
from visreward.training.strict import Strict


class TokenizerConfig(Strict):
    """A tokenizer of our own, trained on the prompts of the training split."""

    vocab_size: int = Field(default=1200, ge=514)
    context: PositiveInt = 77


class RatingPromptsConfig(Strict):
    """What a vision-language model is asked.

    Attributes:
        templates: By dimension, text with the field `{text_prompt}`.
        suffix: What follows every template.
    """

    templates: dict[str, str]
    suffix: str


class HeadsConfig(Strict):
    """The heads of a vision-language model, one for each dimension; see `HeadConfig`."""

    kind: Literal["linear", "mlp"] = "mlp"
    num_outputs: Literal[1, 2] = 2
    num_layers: PositiveInt | None = None
    hidden_size: PositiveInt | None = None
    dropout: float = Field(default=0.05, ge=0, lt=1)


class VLMConfig(Strict):
    """What a vision-language model has beside its backbone.

    Attributes:
        rating_prompts: What it is asked, by dimension.
        min_pixels: Smallest number of pixels of a resized picture.
        max_pixels: Largest number.
        heads: How a rating is read off.
        pooling: Which tokens a head reads.
        fusion: How the dimensions become one score.
        positions: Positions of image tokens.
    """

    rating_prompts: RatingPromptsConfig
    min_pixels: PositiveInt
    max_pixels: PositiveInt
    heads: HeadsConfig = HeadsConfig()
    pooling: Pooling = "special"
    fusion: Fusion = "mean"
    positions: Positions = "multimodal"


class ModelConfig(Strict):
    """What is trained.

    Attributes:
        kind: Registry name of the model class.
        name: Name beside the scores of the finished model.
        init: Native folder, built-in or catalog name to start from; None starts from nothing.
        backbone: Configuration of the backbone, needed where `init` is None: of a CLIP model, or
            of a vision-language one as transformers has it, without what the tokenizer decides.
        image_size: Side of the square that a CLIP model sees, in pixels; needed where `init` is
            None.
        tokenizer: Tokenizer to train, needed where `init` is None and the model reads prompts.
        vlm: Needed for a vision-language model, and of no use to others.
        note: One sentence to print beside the scores.
    """

    kind: Literal["clipscore", "ict", "hp", "hpsv3", "editreward"]
    name: str
    init: str | None = None
    backbone: dict[str, Any] | None = None  # fields of the backbone's configuration
    image_size: PositiveInt | None = None
    tokenizer: TokenizerConfig | None = None
    vlm: VLMConfig | None = None
    note: str = ""


class FreezeConfig(Strict):
    """Which parts keep their weights; of a vision-language model, `vision` alone can be chosen.

    Attributes:
        vision: Whether the vision tower is frozen whole.
        vision_rate: Share of the vision layers, from the bottom, that is frozen.
        vision_embeddings: Whether embeddings and first layer norm are frozen too. The release
            leaves them trainable below frozen layers, which costs a full backward pass.
        text_rate: Share of the text layers, from the bottom, that is frozen.
        text: Whether the text tower is frozen whole.
        projections: Whether both projections are frozen.
    """

    vision: bool = False
    vision_rate: float = Field(default=0.0, ge=0, le=1)
    vision_embeddings: bool = False
    text_rate: float = Field(default=0.0, ge=0, le=1)
    text: bool = False
    projections: bool = False


class DataConfig(Strict):
    """What it is trained on.

    Attributes:
        format: `captions` (families of images with prompts), `pick-high` (triplets) or
            `editreward` (edited images with scores on two dimensions).
        path: Folder of the data set.
        num_train: How many rows of the training split to use; None uses all.
        num_validation: How many rows of the validation split to use.
        cache_pixels: Keep the resized pixels of every image on disk, so that each is decoded once.
        num_workers: Processes that decode images where pixels are not cached.
        max_skip_fraction: Share of unreadable rows above which the run stops.
    """

    format: Literal["captions", "pick-high", "editreward"]
    path: Path
    num_train: PositiveInt | None = None
    num_validation: PositiveInt = 1000
    cache_pixels: bool = True
    num_workers: int = Field(default=0, ge=0)
    max_skip_fraction: float = Field(default=0.01, ge=0, le=1)


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


class ParallelConfig(Strict):
    """How several processes share one model.

    Attributes:
        strategy: `ddp`: each has all weights. `fsdp2`: each has a part of every weight, its
            gradient and its moments. `deepspeed`: ZeRO.
        zero_stage: What DeepSpeed shares out: gradients and moments (2, which None means), or
            weights too (3).
    """

    strategy: Literal["ddp", "fsdp2", "deepspeed"] = "ddp"
    zero_stage: Literal[2, 3] | None = None

    @field_validator("zero_stage")
    @classmethod
    def _check_stage(cls, stage: int | None, info: ValidationInfo) -> int | None:
        """Stop where a stage would do nothing."""
        if stage is not None and info.data.get("strategy") != "deepspeed":
            raise ValueError("only strategy=deepspeed has stages. Leave it out")
        return stage


class TrainConfig(Strict):
    """One training run.

    Attributes:
        precision: What matrix products are computed in. `auto` takes bfloat16 where the device
            has instructions for it: a CPU without them is hundreds of times slower in it.
        keep_checkpoints: How many of the last checkpoints are kept. Where the newest is damaged,
            a run goes on from the one before.
    """

    output: Path
    model: ModelConfig
    data: DataConfig
    objective: Annotated[ObjectiveConfig, Field(discriminator="name")]
    optim: OptimConfig
    freeze: FreezeConfig = FreezeConfig()
    parallel: ParallelConfig = ParallelConfig()
    precision: Literal["auto", "float32", "bfloat16"] = "bfloat16"
    weights_dtype: Literal["float32", "float16"] = "float32"
    seed: int = 42
    validate_every: PositiveInt = 1000
    save_every: PositiveInt = 1000
    keep_checkpoints: PositiveInt = 2
    log_every: PositiveInt = 20
    device: Literal["auto", "cpu", "cuda"] = "auto"
