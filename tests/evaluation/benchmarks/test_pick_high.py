"""Pick-High: six accuracies of ICT, parts of ICT-HP, the release's numbers, a bad row."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visreward.data.base import load_optional
from visreward.evaluation.benchmarks.pick_high import BASIC, REFINED, PickHighBench
from visreward.evaluation.benchmarks.records import CandidateResult, GroupResult
from visreward.evaluation.benchmarks.results import MetricValue

pa = load_optional("pyarrow", extra="train")
pq = load_optional("pyarrow.parquet", extra="train")

Metrics = dict[tuple[str, str], Any]


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "easy_prompt": f"basic {number}",
        "refine_prompt": f"refined {number}",
        "easy_image_0": f"{number}l.png",
        "easy_image_1": f"{number}w.png",
        "refine_image": f"{number}r.png",
        **changes,
    }


def test_read_five_rows_one_bad_makes_two_groups_for_each_other(tmp_path: Path) -> None:
    folder = tmp_path / "Pick-High"
    folder.mkdir()
    rows = [row(0), row(1), row(2, refine_prompt=None), row(3), row(4)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "test.parquet")
    pq.write_table(pa.Table.from_pylist(rows[:1]), folder / "train.parquet")
    data = PickHighBench().read(tmp_path)
    assert len(data.groups) == 8
    (problem,) = data.problems
    assert problem.count == 1
    assert "Row 2 of" in problem.examples[0]
    basic, refined = data.groups[4:6]
    assert [group.row.id for group in (basic, refined)] == ["test/3/basic", "test/3/refined"]
    assert [group.row.prompt for group in (basic, refined)] == ["basic 3", "refined 3"]
    assert [group.category for group in (basic, refined)] == [BASIC, REFINED]
    assert basic.cluster == refined.cluster
    assert basic.row.images == refined.row.images
    assert [image.rank for image in basic.row.images] == [3, 2, 1]
    losing, _, best = basic.row.images
    assert losing.image == tmp_path / "pick_easy_img" / "test" / "3l.png"
    assert best.image == tmp_path / "pick_refine_img" / "test" / "3r.png"
    assert data.groups[-1].row.id == "test/4/refined"


def groups_of(
    scores: Sequence[Sequence[float | None]],
    *,
    category: str = BASIC,
    dimensions: Sequence[Sequence[dict[str, float]]] | None = None,
) -> list[GroupResult]:
    return [
        GroupResult(
            id=f"test/{number}/{category}",
            prompt=f"{category} {number}",
            sources=(),
            candidates=tuple(
                CandidateResult(
                    image=f"{number}{place}",
                    rank=3 - place,
                    value=value,
                    dimensions=dimensions[number][place] if dimensions else {},
                )
                for place, value in enumerate(values)
            ),
            category=category,
            cluster=f"{number}",
        )
        for number, values in enumerate(scores)
    ]


def test_evaluate_six_accuracies_are_counted_by_hand(
    by_name: Callable[[Sequence[MetricValue]], Metrics],
) -> None:
    basic = groups_of([[1, 2, 3], [2, 1, 3], [1, 1, 1], [3, 2, None]])
    refined = groups_of([[1, 2, 3], [1, 2, 3], [1, 3, 2], [3, 2, 1]], category=REFINED)
    found = PickHighBench().evaluate(
        [group for pair in zip(basic, refined, strict=True) for group in pair]
    )
    metrics = by_name(found.metrics)
    values = {filters: metric.value for (name, filters), metric in metrics.items()}
    assert found.metrics[0] is metrics["pair_accuracy", "none"]
    assert values == pytest.approx(
        {
            "none": 5 / 12,
            "winning over losing": 1 / 4,
            "refined over winning": 2 / 4,
            "refined over losing": 2 / 4,
            "refined prompt": 8 / 12,
            "refined prompt: winning over losing": 3 / 4,
            "refined prompt: refined over winning": 2 / 4,
            "refined prompt: refined over losing": 3 / 4,
            "six": 13 / 24,
        }
    )
    assert found.correct[::2] == pytest.approx((1, 2 / 3, 0, 0))
    assert set(found.correct[1::2]) == {None}
    assert {problem.kind for problem in found.problems} == {"candidate without a score"}


def test_evaluate_parts_of_ict_hp_and_the_released_product_on_its_own_numbers(
    by_name: Callable[[Sequence[MetricValue]], Metrics], shared_dir: Path
) -> None:
    arrays = np.load(shared_dir / "parity/icthp_losses.npz")
    wanted = json.loads((shared_dir / "parity/icthp_losses.json").read_text())["evaluate"][0]
    ict, logits = [], []
    for batch in range(len(wanted["batch_sizes"])):
        part = {
            name: arrays[f"eval0_batch{batch}_{name}"].astype(np.float64)
            for name in ("text_features", *(f"{k}_{e}" for k in ("image", "hp") for e in "01r"))
        }
        text = part["text_features"]
        text /= np.linalg.norm(text, axis=1, keepdims=True)
        columns = []
        for each in "01r":
            image = part[f"image_{each}"]
            image /= np.linalg.norm(image, axis=1, keepdims=True)
            columns.append((text * image).sum(axis=1))
        ict.append(np.stack(columns, axis=1))
        logits.append(np.concatenate([part[f"hp_{each}"] for each in "01r"], axis=1))
    cosines, raw = np.concatenate(ict), np.concatenate(logits)
    hp = 1 / (1 + np.exp(-raw))
    dimensions = [
        [{"ict": float(one), "hp": float(other)} for one, other in zip(*rows, strict=True)]
        for rows in zip(cosines, hp, strict=True)
    ]
    groups = groups_of((cosines * hp).tolist(), dimensions=dimensions)
    metrics = by_name(PickHighBench().evaluate(groups).metrics)
    names = {
        "accuracy": ("pair_accuracy", "as_released"),
        "agree_on_10": ("pair_accuracy", "as_released: winning over losing"),
        "agree_on_r1": ("pair_accuracy", "as_released: refined over winning"),
        "agree_on_r0": ("pair_accuracy", "as_released: refined over losing"),
        "hp_acc:": ("hp_accuracy", "as_released"),
        "hp_10": ("hp_accuracy", "as_released: winning over losing"),
        "hp_r1": ("hp_accuracy", "as_released: refined over winning"),
        "hp_r0": ("hp_accuracy", "as_released: refined over losing"),
        "hp_0": ("mean_hp_share", "as_released: losing"),
        "hp_1": ("mean_hp_share", "as_released: winning"),
        "hp_r": ("mean_hp_share", "as_released: refined"),
    }
    for name, key in names.items():
        assert metrics[key].value == pytest.approx(wanted["metrics"][name], abs=1e-6), name
    # the softmax does not change HP's own order
    assert metrics["hp_accuracy", "none"].value == metrics["hp_accuracy", "as_released"].value
    by_cosine = (cosines[:, 1] > cosines[:, 0]).mean()
    assert metrics["ict_accuracy", "winning over losing"].value == pytest.approx(by_cosine)


def test_evaluate_failed_triplet_is_wrong_but_left_out_of_the_released_numbers(
    by_name: Callable[[Sequence[MetricValue]], Metrics],
) -> None:
    parts = [{"ict": 0.1 * place, "hp": 0.2 + 0.1 * place} for place in range(3)]
    groups = groups_of([[1, 2, 3]] * 2, dimensions=[parts, parts])
    broken = list(groups[1].candidates)
    broken[0] = CandidateResult(image="x", rank=3, error="missing")
    groups[1] = replace(groups[1], candidates=tuple(broken))
    metrics = by_name(PickHighBench().evaluate(groups).metrics)
    assert metrics["pair_accuracy", "none"].value == pytest.approx(4 / 6)
    assert metrics["hp_accuracy", "none"].value == pytest.approx(4 / 6)
    released = metrics["pair_accuracy", "as_released"]
    assert (released.value, released.num) == (1.0, 1)
    assert "1 triplets are left out" in released.note
