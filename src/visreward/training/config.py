"""The typed configuration of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)

from visreward.core.types import Fidelity
from visreward.losses.plackett_luce import Ties
from visreward.models.heads import Fusion, Pooling
from visreward.models.vlm.backbone import Positions


class Strict(BaseModel):
    """A configuration section: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
        images_per_family: How many images of a caption family to use, from its first; None uses
            all. Families of the synthetic world begin with two plain images, whose captions are
            short.
        num_train: How many rows of the training split to use; None uses all.
        num_validation: How many rows of the validation split to use.
        cache_pixels: Keep the resized pixels of every image on disk, so that each is decoded once.
        num_workers: Processes that decode images where pixels are not cached.
        max_skip_fraction: Share of unreadable rows above which the run stops.
    """

    format: Literal["captions", "pick-high", "editreward"]
    path: Path
    images_per_family: int | None = Field(default=None, ge=2)
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


class PairwiseConfig(Strict):
    """Every two images of a row that differ in what annotators say, on each dimension and overall.

    Attributes:
        loss: `uncertainty` on Gaussians; on mu alone `bradley-terry`, `bradley-terry-ties` (equal
            ratings are a third outcome, k = 5), or `listwise` (Plackett-Luce of whole rows).
        ties: What becomes of images with equal ratings: `drop` does not compare them,
            `both-directions` lets each beat the other (EditReward's tie disentanglement).
            `bradley-terry-ties` does neither.
        fidelity: Which form of the uncertainty loss.
        margin: Gap in score units, of `uncertainty` and `bradley-terry`.
        dimension_weight: Weight of the losses on each dimension.
        overall_weight: Weight of the loss on the fused score.
        other_prompt_weight: Weight of one more loss on the first dimension: the image that is
            best there must do better under its own prompt than under the others of its row that
            it fits less, and under that of another row of the batch. The latter costs the tokens
            of one prompt, as the images are the same.
        language_weight: Weight of the loss of saying the prompt of that image, token by token,
            with the token embeddings as output layer: words stay tied to what is seen (as in
            arXiv 2406.10216, there for text). It costs no forward pass.
    """

    name: Literal["pairwise"]
    loss: Literal["uncertainty", "bradley-terry", "bradley-terry-ties", "listwise"] = "uncertainty"
    ties: Ties = "drop"
    fidelity: Fidelity = "paper"
    margin: float = 0.0
    dimension_weight: float = Field(default=1.0, ge=0)
    overall_weight: float = Field(default=1.0, ge=0)
    other_prompt_weight: float = Field(default=0.0, ge=0)
    language_weight: float = Field(default=0.0, ge=0)

    @field_validator("ties")
    @classmethod
    def _check_ties(cls, ties: Ties, info: ValidationInfo) -> Ties:
        """Stop where ties would be counted twice."""
        if ties == "both-directions" and info.data.get("loss") == "bradley-terry-ties":
            raise ValueError(
                "loss=bradley-terry-ties has an outcome for ties already. Leave it out"
            )
        return ties

    @field_validator("margin")
    @classmethod
    def _check_margin(cls, margin: float, info: ValidationInfo) -> float:
        """Stop where a margin would do nothing."""
        loss = info.data.get("loss")
        if margin != 0 and loss in ("bradley-terry-ties", "listwise"):
            raise ValueError(f"loss={loss} has no margin. Leave it out")
        return margin


class DistillationConfig(Strict):
    """A vision tower learns what those of other models see.

    Attributes:
        teachers: Native folders, built-in or catalog names of CLIP models.
    """

    name: Literal["distillation"]
    teachers: list[str] = Field(min_length=1)


ObjectiveConfig = ContrastiveConfig | ICTConfig | HPConfig | PairwiseConfig | DistillationConfig


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
    objective: Annotated[ObjectiveConfig, Field(discriminator="name")]
    optim: OptimConfig
    freeze: FreezeConfig = FreezeConfig()
    precision: Literal["auto", "float32", "bfloat16"] = "bfloat16"
    weights_dtype: Literal["float32", "float16"] = "float32"
    seed: int = 42
    validate_every: PositiveInt = 1000
    save_every: PositiveInt = 1000
    log_every: PositiveInt = 20
    device: Literal["auto", "cpu", "cuda"] = "auto"
