"""The typed configuration of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator

from visreward.core.strict import Strict
from visreward.core.types import Fidelity
from visreward.models.heads import Fusion, Pooling
from visreward.models.vlm.backbone import Positions
from visreward.training.options.freeze_config import FreezeConfig
from visreward.training.options.lora_config import LoRAConfig
from visreward.training.options.objective_config import ObjectiveConfig, PairwiseConfig
from visreward.training.options.optim_config import OptimConfig

Checkpointing = Literal["none", "selective", "full"]


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
    """The heads of a vision-language model; see `HeadConfig`.

    Attributes:
        shared: Whether one head reads all dimensions; otherwise each has its own.
    """

    kind: Literal["linear", "mlp"] = "mlp"
    num_outputs: Literal[1, 2] = 2
    num_layers: PositiveInt | None = None
    hidden_size: PositiveInt | None = None
    dropout: float = Field(default=0.05, ge=0, lt=1)
    bias: bool = True
    shared: bool = False


class VLMConfig(Strict):
    """What a vision-language model has beside its backbone.

    Attributes:
        rating_prompts: What it is asked, by dimension; None takes over what `init` is asked.
        min_pixels: Smallest number of pixels of a resized picture.
        max_pixels: Largest number.
        heads: How a rating is read off.
        pooling: Which tokens a head reads.
        fusion: How the dimensions become one score.
        positions: Positions of image tokens.
    """

    rating_prompts: RatingPromptsConfig | None = None
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
        init: Native folder, built-in or catalog name to start from, or the folder of a base
            Qwen-VL model of transformers; None starts from nothing.
        backbone: Configuration of the backbone, needed where `init` is None: of a CLIP model, or
            of a vision-language one as transformers has it, without what the tokenizer decides.
        image_size: Side of the square that a CLIP model sees, in pixels; needed where `init` is
            None.
        tokenizer: Tokenizer to train, needed where `init` is None and the model reads prompts.
        vlm: Needed for a vision-language model, and of no use to others.
        fidelity: Whether the model follows the equations of the papers, or the released code in
            how it reads pictures and puts the sigmas of several dimensions together.
        note: One sentence to print beside the scores.
    """

    kind: Literal["clipscore", "ict", "hp", "hpsv3", "editreward"]
    name: str
    init: str | None = None
    backbone: dict[str, Any] | None = None  # fields of the backbone's configuration
    image_size: PositiveInt | None = None
    tokenizer: TokenizerConfig | None = None
    vlm: VLMConfig | None = None
    fidelity: Fidelity = "paper"
    note: str = ""


DataFormat = Literal[
    "captions",
    "pick-high",
    "hpdv3",
    "pick-a-pic",
    "imagerewarddb",
    "editreward",
    "editreward-data",
    "editreward-bench",
]


class ValidationConfig(Strict):
    """Which rows a model is measured on while it is trained.

    Attributes:
        path: A data set or file of its own; None takes `data.path`.
        format: Of that; None takes `data.format`.
        split: Which split; None takes `val` or `validation`.
        held_out: Share of the training rows that is kept for validation instead. Rows of one
            source image, or of one prompt where there is none, are all on the same side; on
            which, a digest of it decides, so more rows move none.
    """

    path: Path | None = None
    format: DataFormat | None = None
    split: str | None = None
    held_out: float | None = Field(default=None, gt=0, lt=1)

    @field_validator("held_out")
    @classmethod
    def _check_held_out(cls, held_out: float | None, info: ValidationInfo) -> float | None:
        """Stop where validation rows would come from two places."""
        others = [name for name in ("path", "format", "split") if info.data.get(name) is not None]
        if held_out is not None and others:
            raise ValueError(f"these rows come from data.path. Leave out {' and '.join(others)}")
        return held_out


class DataConfig(Strict):
    """What it is trained on.

    Attributes:
        format: A data set that `visreward data check` knows, or `captions` (families of images
            with prompts).
        path: Folder of the data set, one file of it, or a YAML file that mixes several by weight.
        split: Which split; of a single file, its own.
        validation: What it is measured on.
        min_confidence: Rows whose label is less likely right than this are left out.
        unknown_confidence: Whether rows without a confidence are kept or dropped then.
        num_train: How many rows of the training split to use; None uses all.
        num_validation: How many rows of the validation split to use.
        cache_pixels: Keep the resized pixels of every image on disk, so that each is decoded once.
            Otherwise each is decoded once in an epoch.
        num_workers: Processes that decode images where pixels are not cached.
        max_skip_fraction: Share of unreadable rows above which the run stops.
    """

    format: DataFormat
    path: Path
    split: str = "train"
    validation: ValidationConfig = ValidationConfig()
    min_confidence: float | None = Field(default=None, ge=0, le=1)
    unknown_confidence: Literal["keep", "drop"] = "keep"
    num_train: PositiveInt | None = None
    num_validation: PositiveInt = 1000
    cache_pixels: bool = True
    num_workers: int = Field(default=0, ge=0)
    max_skip_fraction: float = Field(default=0.01, ge=0, le=1)

    @property
    def cache_folder(self) -> Path:
        """Return where what is computed once is kept: beside the data."""
        return (self.path if self.path.is_dir() else self.path.parent) / ".cache"


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
        lora: Adapters; None trains the weights themselves.
        precision: What matrix products are computed in. `auto` takes bfloat16 where the device
            has instructions for it: a CPU without them is hundreds of times slower in it.
        checkpointing: What the backward pass computes again, to save memory: nothing; of each
            layer all but matrix products and attention; or all of each layer.
        validate_every: Steps between validations.
        validate_every_epochs: The same as a share of an epoch, instead of steps.
        save_every: Steps between checkpoints.
        save_every_epochs: The same as a share of an epoch, instead of steps.
        wandb_project: Also write to this project of Weights & Biases; None does not.
        keep_checkpoints: How many of the last checkpoints are kept. Where the newest is damaged,
            a run goes on from the one before.
    """

    output: Path
    model: ModelConfig
    data: DataConfig
    objective: Annotated[ObjectiveConfig, Field(discriminator="name")]
    optim: OptimConfig
    freeze: FreezeConfig = FreezeConfig()
    lora: LoRAConfig | None = None
    parallel: ParallelConfig = ParallelConfig()
    precision: Literal["auto", "float32", "bfloat16"] = "bfloat16"
    weights_dtype: Literal["float32", "float16"] = "float32"
    checkpointing: Checkpointing = "none"
    seed: int = 42
    validate_every: PositiveInt = 1000
    validate_every_epochs: PositiveFloat | None = None
    save_every: PositiveInt = 1000
    save_every_epochs: PositiveFloat | None = None
    keep_checkpoints: PositiveInt = 2
    log_every: PositiveInt = 20
    device: Literal["auto", "cpu", "cuda"] = "auto"
    wandb_project: str | None = None

    @field_validator("objective")
    @classmethod
    def _check_sigma(cls, objective: ObjectiveConfig, info: ValidationInfo) -> ObjectiveConfig:
        """Stop where a loss reads a sigma that the heads do not give."""
        model = info.data.get("model")
        is_gaussian = isinstance(objective, PairwiseConfig) and objective.loss == "uncertainty"
        if is_gaussian and model is not None and model.vlm and model.vlm.heads.num_outputs == 1:
            raise ValueError(
                "loss=uncertainty needs mu and log sigma, but model.vlm.heads.num_outputs is 1. "
                "Take num_outputs=2, or a loss on mu alone such as bradley-terry"
            )
        return objective
