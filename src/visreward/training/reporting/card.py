"""The model card: the README.md of a finished model folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from visreward.models.facts import ModelFacts
from visreward.training.config import TrainConfig

WHAT = {
    "clipscore": "scores how well an image fits a prompt: 100 x max(cosine, 0)",
    "ict": "scores how far an image contains its prompt: the cosine of both towers, in [-1, 1]",
    "hp": "scores an image alone for human preference: the sigmoid of its head, in (0, 1)",
    "hpsv3": "scores an image and its prompt for human preference: the mean of a Gaussian",
    "editreward": "scores an edited image beside its source: the mean of a Gaussian each for "
    "following the instruction and for visual quality, averaged",
}
SETTINGS = ("objective", "freeze", "lora", "optim", "precision", "weights_dtype", "seed")


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a finished run has to say for itself.

    Attributes:
        recipe: Name of its recipe.
        metrics: Validation metrics after the last step, in [0, 1], by name.
        num_rows: How many rows of each split could be used.
        versions: Version of each package that took part.
    """

    recipe: str
    metrics: Mapping[str, float]
    num_rows: Mapping[str, int]
    versions: Mapping[str, str]


def write_card(folder: Path, config: TrainConfig, *, facts: ModelFacts, result: RunResult) -> None:
    """Write the card of a finished model; the same run gives the same bytes.

    Of paths, only the last parts are shown: the data set's name, and those of other models.

    Args:
        folder: The model's native folder.
        config: The run.
        facts: The model's own.
        result: What came out.
    """
    parts = [
        _front_matter(facts),
        f"# {facts.name}\n",
        f"A reward model of kind `{config.model.kind}`: it {WHAT[config.model.kind]}; higher is "
        "better." + (f" It {facts.note}." if facts.note else "") + "\n",
        _usage(facts),
        _making(config, result),
        "## Validation after the last step\n",
        "| metric | value |\n| --- | --- |",
        *(f"| {name} | {value:.4f} |" for name, value in result.metrics.items()),
        "\n## Licence\n",
        facts.licence or "Not stated by the model that training started from.",
    ]
    (folder / "README.md").write_text("\n".join(parts) + "\n", encoding="utf-8")


def _front_matter(facts: ModelFacts) -> str:
    values = {"library_name": "visreward", "tags": ["reward-model"]}
    licence = {"license": facts.licence.lower()} if facts.licence else {}
    return f"---\n{yaml.safe_dump({**values, **licence}, sort_keys=True)}---\n"


def _usage(facts: ModelFacts) -> str:
    prompt = "a red ball" if facts.needs_prompt else ""
    given = 'image="image.png"'
    if facts.needs_source:
        prompt, given = "make the ball red", 'image="edited.png", source_image="before.png"'
    return f"""## How to use it

```python
import visreward as vr

model = vr.load_model("path/to/this/folder")
sample = vr.Sample(prompt="{prompt}", {given})
score = model.score([sample])[0]
print(score.value)
```
"""


def _making(config: TrainConfig, result: RunResult) -> str:
    start = "from nothing" if config.model.init is None else f"from `{_last(config.model.init)}`"
    rows = ", ".join(f"{count} rows of {split}" for split, count in result.num_rows.items())
    versions = ", ".join(f"{name} {text}" for name, text in result.versions.items())
    return f"""## How it was made

- Recipe: `{result.recipe}`, {start}, {config.optim.steps} steps of {config.optim.batch_size} rows.
- Data: `{config.data.path.absolute().name}` in the format {config.data.format}: {rows}.
- Versions: {versions}.

```yaml
{_settings(config)}```
"""


def _settings(config: TrainConfig) -> str:
    values = config.model_dump(mode="json", include=set(SETTINGS))
    objective = values["objective"]
    if objective.get("ict") is not None:
        objective["ict"] = _last(objective["ict"])
    return yaml.safe_dump(values, sort_keys=True)


def _last(reference: str) -> str:
    """Return a name as it is, and the last three parts of a path."""
    return "/".join(Path(reference).parts[-3:])
