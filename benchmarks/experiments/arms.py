"""The four experiments: which arms each has, and what their labels are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from experiments.label_data import (
    LabelledEdit,
    VoteForm,
    careless,
    keep_top,
    rated_rows,
    uneven,
    voted_rows,
)
from experiments.plan import Plan
from experiments.runs import SCORES, Outcome, Run, do_all

CARELESS_SHARE: Final = 0.4
KEPT_SHARE: Final = 20 / 46
"""The best of the shares in EditReward's table: 20,000 of 46,000."""
TRUSTED_SHARE: Final = 0.25
"""Of the edits, those with true labels that the filter learns from."""

MU_ALONE: Final = "model.vlm.heads.num_outputs=1"
ONE_HEAD: Final = "model.vlm.heads.shared=true"
REGRESSION: Final = ("objective.loss=pointwise", "objective.offset=2.5", MU_ALONE)
BRADLEY_TERRY: Final = ("objective.loss=bradley-terry", MU_ALONE)

ABLATION_ARMS: Final[Mapping[str, tuple[str, ...]]] = {
    "regression, one head": (*REGRESSION, ONE_HEAD),
    "regression, two heads": REGRESSION,
    "pairwise, one head": (ONE_HEAD,),
    "pairwise, two heads": (),
}
"""The paper's first arm says no more than regression; here it has both kinds of heads."""

SOFT_LABELS: Final = "soft labels"
FORMS: Final[tuple[VoteForm, ...]] = ("majority", "counts")

NOISE_ARMS: Final[Mapping[str, tuple[str, ...]]] = {
    "Bradley-Terry": BRADLEY_TERRY,
    SOFT_LABELS: BRADLEY_TERRY,
    "uncertainty, paper": ("objective.fidelity=paper",),
    "uncertainty, released": ("objective.fidelity=released", "model.fidelity=released"),
}

TIE_ARMS: Final[Mapping[str, tuple[str, ...]]] = {
    "Bradley-Terry, dropped": BRADLEY_TERRY,
    "Bradley-Terry, both directions": (*BRADLEY_TERRY, "objective.ties=both-directions"),
    "Bradley-Terry with ties": ("objective.loss=bradley-terry-ties", MU_ALONE),
    "uncertainty, dropped": (),
    "uncertainty, both directions": ("objective.ties=both-directions",),
}


def ablation(plan: Plan) -> list[Outcome]:
    """Compare regression with pairs, and one head for both dimensions with one for each.

    Regression is also trained on the ratings of uneven annotators. Pairs of one edit have the same
    order there, so that pairwise arms would be trained on the same labels again.
    """
    edits = plan.edits()
    even = plan.labels("rated", rated_rows(edits))
    runs = []
    for seed in plan.seeds:
        shifted = plan.labels(f"uneven-{seed}", rated_rows(uneven(edits, seed=seed)))
        for arm, overrides in ABLATION_ARMS.items():
            has_doubt = "pairwise" in arm
            runs.append(
                plan.run(
                    "ablation",
                    arm,
                    seed=seed,
                    train=even,
                    overrides=overrides,
                    has_doubt=has_doubt,
                )
            )
            if not has_doubt:
                runs.append(
                    plan.run(
                        "ablation",
                        f"{arm}, uneven annotators",
                        seed=seed,
                        train=shifted,
                        overrides=overrides,
                        has_doubt=False,
                    )
                )
    return do_all(runs, num_workers=plan.num_workers)


def noise(plan: Plan) -> list[Outcome]:
    """Compare losses at shares of wrong labels; only the fused score is trained, by votes."""
    edits = plan.edits()
    shared = ("objective.labels=votes", "objective.dimension_weight=0")
    runs = []
    for seed in plan.seeds:
        for share in plan.wrong_labels:
            labels = {
                form: plan.labels(
                    f"noise-{form}-{100 * share:.0f}-{seed}",
                    voted_rows(edits, share=share, seed=seed, votes=form),
                )
                for form in FORMS
            }
            runs += [
                plan.run(
                    "noise",
                    arm,
                    seed=seed,
                    train=labels["counts" if arm == SOFT_LABELS else "majority"],
                    overrides=(*shared, *overrides),
                    noise=share,
                )
                for arm, overrides in NOISE_ARMS.items()
            ]
    return do_all(runs, num_workers=plan.num_workers)


def ties(plan: Plan) -> list[Outcome]:
    """Compare what becomes of images with equal ratings, as a whole and on each dimension."""
    train = plan.labels("ties", rated_rows(plan.edits(), has_ties=True))
    runs = [
        plan.run("ties", arm, seed=seed, train=train, overrides=overrides)
        for seed in plan.seeds
        for arm, overrides in TIE_ARMS.items()
    ]
    return do_all(runs, num_workers=plan.num_workers)


def filtering(plan: Plan) -> list[Outcome]:
    """Compare a noisy set with the share of it that a reward model agrees with.

    A share of the noisy edits was rated without looking. One filter learnt from a few other edits
    with true ratings, one from the noisy set itself.
    """
    edits = plan.edits()
    num_trusted = round(TRUSTED_SHARE * len(edits))
    trusted, rest = edits[:num_trusted], edits[num_trusted:]
    first, later = [], []
    for seed in plan.seeds:
        noisy, _ = careless(rest, share=CARELESS_SHARE, seed=seed)
        full = plan.labels(f"careless-{seed}", rated_rows(noisy))
        few = plan.labels("trusted", rated_rows(trusted))
        first += [
            plan.run("filtering", arm, seed=seed, train=file, overrides=(), to_score=full)
            for arm, file in (("all noisy labels", full), ("few true labels", few))
        ]
    outcomes = do_all(first, num_workers=plan.num_workers)
    for number, seed in enumerate(plan.seeds):
        later += _filtered(plan, rest, seed=seed, filters=first[2 * number : 2 * number + 2])
    return outcomes + do_all(later, num_workers=plan.num_workers)


def _filtered(plan: Plan, rest: list[LabelledEdit], *, seed: int, filters: list[Run]) -> list[Run]:
    """Return the runs of a seed on parts of its noisy set."""
    noisy, is_wrong = careless(rest, share=CARELESS_SHARE, seed=seed)
    drawn = np.random.default_rng([seed, 5]).random(len(noisy))
    values = {
        "random part": drawn,
        "kept by a model of the few": _agreement(filters[1], noisy),
        "kept by a model of the noisy": _agreement(filters[0], noisy),
        "right part": drawn - is_wrong,
    }
    runs = []
    for arm, value in values.items():
        kept = keep_top(range(len(noisy)), value.tolist(), share=KEPT_SHARE)
        rows = rated_rows([noisy[number] for number in kept])
        name = f"{arm.replace(' ', '-')}-{seed}"
        run = plan.run("filtering", arm, seed=seed, train=plan.labels(name, rows), overrides=())
        runs.append(run.noting(kept_right=float(1 - is_wrong[kept].mean())))
    return runs


def _agreement(run: Run, edits: list[LabelledEdit]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return how likely a run's model holds the labelled order of each edit's pairs to be."""
    scores: Mapping[str, float] = json.loads((run.folder / SCORES).read_text(encoding="utf-8"))
    return np.array([scores[edit.source] for edit in edits])


EXPERIMENTS: Final[Mapping[str, Callable[[Plan], list[Outcome]]]] = {
    "ablation": ablation,
    "noise": noise,
    "ties": ties,
    "filtering": filtering,
}
"""By the name on the command line."""
