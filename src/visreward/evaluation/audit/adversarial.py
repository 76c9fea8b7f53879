"""How much score does a change of pixels buy that nobody can see?

Projected gradient ascent (Madry et al., "Towards deep learning models resistant to adversarial
attacks", ICLR 2018, Eq. 2.3) on the score itself, in the maximum norm, from the picture as it is:
x <- clip(x + step * sign(d score / d x)), clipped to a cube of half side epsilon and to [0, 1].
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from visreward.core.errors import UsageError
from visreward.core.types import Sample
from visreward.evaluation.audit.effects import mean_measure
from visreward.evaluation.audit.examination import OVERALL, Array, Examination, Shown, worst
from visreward.evaluation.audit.items import AuditItem
from visreward.evaluation.audit.probe import Probe
from visreward.evaluation.audit.records import Finding, Limit, Measure
from visreward.models.base import RewardModel

FAMILY: Final = "adversarial"

EPSILON: Final = 2
"""Largest change of a value, in 1/255."""

NUM_STEPS: Final = 10
NUM_ITEMS: Final = 16

_LIMIT: Final = Limit(
    side="at most",
    value=1.0,
    reason="One standard deviation lifts an average picture above five in six. Whoever trains a "
    "generator against the score finds such changes.",
)


def climb(
    model: RewardModel, sample: Sample, picture: Image.Image, source: Tensor | None
) -> Image.Image:
    """Return a picture that scores higher and differs by at most `EPSILON` / 255 in each value.

    It is rounded to 8 bits, so that it can be saved.

    Raises:
        UsageError: if the model takes no tensors, or its score has no gradient.
    """
    start = _tensor(picture, model)
    reach = EPSILON / 255
    low, high = (start - reach).clamp(0, 1), (start + reach).clamp(0, 1)
    images = start
    for _ in range(NUM_STEPS):
        images = images.detach().requires_grad_(True)
        score = model.score_tensor(images, [sample.prompt], source)
        [gradient] = torch.autograd.grad(score.sum(), images)
        images = images.detach() + reach / 4 * gradient.sign()
        images = torch.minimum(torch.maximum(images, low), high)
    if torch.equal(images, start):
        raise UsageError(
            f"The score of '{model.facts.name}' has no gradient with respect to the pixels: it is "
            "0 everywhere. A change of pixels cannot be searched for."
        )
    pixels = (images.detach()[0] * 255).round().byte().permute(1, 2, 0)
    return Image.fromarray(pixels.cpu().numpy())


def shaken(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a picture with every value `EPSILON` higher or lower, at random."""
    pixels = np.asarray(picture, dtype=np.int64)
    signs = rng.integers(2, size=pixels.shape) * 2 - 1
    return Image.fromarray(np.clip(pixels + EPSILON * signs, 0, 255).astype(np.uint8))


def _tensor(picture: Image.Image, model: RewardModel) -> Tensor:
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    return pixels.to(model.device).float() / 255


def _measure(examination: Examination) -> Finding:
    model, items = examination.model, examination.scored_items(at_most=NUM_ITEMS)
    rng = np.random.default_rng([examination.seed, 4])
    climbed, noisy = [], []
    for item in items:
        picture = examination.read(item.sample.image)
        source = _source(examination, item)
        climbed.append(replace(item.sample, image=climb(model, item.sample, picture, source)))
        noisy.append(replace(item.sample, image=shaken(picture, rng)))
    old = examination.base_of(items)[OVERALL]
    # Scored as files are, so that what counts survives being saved.
    bought, shook = (
        examination.in_sd(examination.score(samples)[OVERALL] - old) for samples in (climbed, noisy)
    )
    groups = [item.group for item in items]

    def measured(name: str, values: Array) -> Measure:
        return mean_measure(name, values, groups, unit="sd", seed=examination.seed)

    return Finding(
        effect=measured(f"bought by {EPSILON}/255, beyond random noise", bought - shook),
        details=(
            measured(f"gradient, {EPSILON}/255, {NUM_STEPS} steps", bought),
            measured(f"random noise, {EPSILON}/255", shook),
        ),
        cases=tuple(
            examination.case(
                items[place],
                f"{bought[place]:+.2f} SD for a change of at most {EPSILON}/255",
                (
                    Shown(
                        label="as it is", image=items[place].sample.image, score=float(old[place])
                    ),
                    Shown(
                        label="changed",
                        image=climbed[place].image,
                        score=float(old[place] + bought[place] * examination.spread[OVERALL]),
                    ),
                ),
            )
            for place in worst(bought, groups)
        ),
    )


def _source(examination: Examination, item: AuditItem) -> Tensor | None:
    if not item.sample.sources:
        return None
    return _tensor(examination.read(item.sample.sources[0]), examination.model)


def _obstacle(examination: Examination) -> str:
    if type(examination.model).tensor_batch is RewardModel.tensor_batch:
        return "The model scores image files only, so that its score has no gradient."
    if any(len(item.sample.sources) > 1 for item in examination.items):
        return "Edits with several source images are scored from files only."
    return ""


PROBES: Final = (
    Probe(
        name="adversarial",
        family=FAMILY,
        question=f"How much score does an unseen change buy, {EPSILON}/255 in every value at most?",
        limit=_LIMIT,
        measure=_measure,
        obstacle=_obstacle,
    ),
)
