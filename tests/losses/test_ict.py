from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from visreward.core.errors import ShapeError, UnknownNameError
from visreward.core.types import Fidelity
from visreward.losses.ict import (
    ContainmentTargets,
    TripletFeatures,
    ict_loss,
    negative_weights,
    released_targets,
)

FEATURES = ("basic_text", "refined_text", "losing_image", "winning_image", "refined_image")
FIDELITIES: tuple[Fidelity, ...] = ("released", "paper")


def make_features(
    num_rows: int, num_features: int = 8, seed: int = 0, dtype: torch.dtype = torch.float32
) -> TripletFeatures:
    generator = torch.Generator().manual_seed(seed)
    rows = [
        normalize(torch.randn(num_rows, num_features, generator=generator), dim=1).to(dtype)
        for _ in FEATURES
    ]
    return TripletFeatures(**dict(zip(FEATURES, rows, strict=True)))


def make_targets(num_rows: int, seed: int = 1) -> ContainmentTargets:
    values = torch.rand(4, num_rows, generator=torch.Generator().manual_seed(seed))
    return ContainmentTargets(e1=values[0], e2=values[1], r1=values[2], r2=values[3])


def at_angles(*degrees: float) -> Tensor:
    """Return unit vectors of the plane, so that cosines are cosines of angle differences."""
    radians = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def permute(record: TripletFeatures, order: Tensor) -> TripletFeatures:
    return TripletFeatures(**{name: getattr(record, name)[order] for name in FEATURES})


def test_ict_loss_two_triplets_matches_hand_computation() -> None:
    features = TripletFeatures(
        basic_text=at_angles(0, 90),
        refined_text=at_angles(30, 90),
        losing_image=at_angles(60, 90),
        winning_image=at_angles(60, 90),
        refined_image=at_angles(0, 90),
    )
    targets = ContainmentTargets(
        e1=torch.tensor([0.25, 1.0]),
        e2=torch.tensor([0.75, 1.0]),
        r1=torch.tensor([0.5, 1.0]),
        r2=torch.tensor([1.0, 1.0]),
    )
    root = math.sqrt(3) / 2
    # Cosines, basic: row 0 = (1/2, 1/2, 1), row 1 = (1, 1, 1); refined row 0 = three times root.
    basic = (0.25**2 + 0.25**2) / 6
    refined = ((root - 0.5) ** 2 + (root - 1) ** 2 + (root - 1) ** 2) / 6
    # Other triplet's images, basic: row 0 sees 90 degrees thrice; row 1 sees (60, 60, 0) degrees.
    negative_basic = (3 * 0.0 + root**2 + root**2 + 0.0) / 6
    negative_refined = (3 * 0.5**2 + root**2 + root**2 + 0.0) / 6

    result = ict_loss(features, targets=targets, fidelity="released", negative_weight=0.25)

    assert result.basic.item() == pytest.approx(basic, abs=1e-6)
    assert result.refined.item() == pytest.approx(refined, abs=1e-6)
    assert result.negative_basic.item() == pytest.approx(negative_basic, abs=1e-6)
    assert result.negative_refined.item() == pytest.approx(negative_refined, abs=1e-6)
    expected = basic + refined + 0.25 * (negative_basic + negative_refined)
    assert result.loss.item() == pytest.approx(expected, abs=1e-6)


def test_ict_loss_paper_two_triplets_weights_each_negative_by_its_cosine() -> None:
    features = TripletFeatures(
        basic_text=at_angles(0, 0),
        refined_text=at_angles(90, 90),
        losing_image=at_angles(0, 60),
        winning_image=at_angles(90, 90),
        refined_image=at_angles(90, 90),
    )
    # Basic prompts: unmatched cosines 1 (row 1, image 0), 1/2 (row 0, image 1), four zeros.
    expected = (1 / (1 + math.exp(10 * 0.3)) + 0.25 / (1 + math.exp(10 * -0.2))) / 6

    result = ict_loss(features, targets=make_targets(2), fidelity="paper", alpha=10.0, beta=0.7)

    assert result.negative_basic.item() == pytest.approx(expected, abs=1e-6)


def test_ict_loss_each_target_moves_only_its_own_part() -> None:
    features, targets = make_features(4), make_targets(4)
    before = ict_loss(features, targets=targets, fidelity="paper")
    for name, moved, still in (
        ("e1", "basic", "refined"),
        ("e2", "basic", "refined"),
        ("r1", "refined", "basic"),
        ("r2", "refined", "basic"),
    ):
        changed = dataclasses.replace(targets, **{name: getattr(targets, name) + 0.5})
        after = ict_loss(features, targets=changed, fidelity="paper")
        assert getattr(after, moved).item() != pytest.approx(getattr(before, moved).item())
        assert torch.equal(getattr(after, still), getattr(before, still))


def test_ict_loss_perfect_features_is_zero() -> None:
    axes = torch.eye(3)
    features = TripletFeatures(**dict.fromkeys(FEATURES, axes))
    ones = torch.ones(3)
    result = ict_loss(
        features, targets=ContainmentTargets(e1=ones, e2=ones, r1=ones, r2=ones), fidelity="paper"
    )
    assert result.loss.item() == 0.0


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_ict_loss_permuted_triplets_is_unchanged(fidelity: Fidelity) -> None:
    features, targets = make_features(6), make_targets(6)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    permuted_targets = ContainmentTargets(
        e1=targets.e1[order], e2=targets.e2[order], r1=targets.r1[order], r2=targets.r2[order]
    )
    before = ict_loss(features, targets=targets, fidelity=fidelity)
    after = ict_loss(permute(features, order), targets=permuted_targets, fidelity=fidelity)
    assert after.loss.item() == pytest.approx(before.loss.item(), abs=1e-6)


def test_ict_loss_prompts_and_targets_swapped_swaps_the_parts() -> None:
    features, targets = make_features(5), make_targets(5)
    swapped_features = dataclasses.replace(
        features, basic_text=features.refined_text, refined_text=features.basic_text
    )
    swapped_targets = ContainmentTargets(e1=targets.r1, e2=targets.r2, r1=targets.e1, r2=targets.e2)
    before = ict_loss(features, targets=targets, fidelity="paper")
    after = ict_loss(swapped_features, targets=swapped_targets, fidelity="paper")
    assert torch.equal(after.basic, before.refined)
    assert torch.equal(after.negative_refined, before.negative_basic)
    assert after.loss.item() == pytest.approx(before.loss.item(), abs=1e-6)


@pytest.mark.parametrize(("target", "sign"), [(1.0, -1.0), (0.0, 1.0)])
def test_ict_loss_gradient_moves_cosine_towards_target(target: float, sign: float) -> None:
    text = at_angles(0).requires_grad_()
    image = at_angles(60)
    features = TripletFeatures(
        basic_text=text,
        refined_text=at_angles(0),
        losing_image=image,
        winning_image=at_angles(90),
        refined_image=at_angles(0),
    )
    wanted = torch.tensor([target])
    zero = torch.zeros(1)
    loss = ict_loss(
        features,
        targets=ContainmentTargets(e1=wanted, e2=zero, r1=zero, r2=zero),
        fidelity="paper",
    ).loss
    torch.autograd.backward(loss)
    assert text.grad is not None
    # d loss / d cosine has the sign of (cosine - target); cosine = text . image.
    assert torch.sign((text.grad @ image.T).squeeze()).item() == sign


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_ict_loss_negative_gradient_pushes_unmatched_pairs_apart(fidelity: Fidelity) -> None:
    text = at_angles(0, 0).requires_grad_()
    features = TripletFeatures(
        basic_text=text,
        refined_text=at_angles(0, 0),
        losing_image=at_angles(0, 37),  # cosine 0.8, above the paper's default of beta
        winning_image=at_angles(0, 90),
        refined_image=at_angles(0, 90),
    )
    torch.autograd.backward(
        ict_loss(features, targets=make_targets(2), fidelity=fidelity).negative_basic
    )
    assert text.grad is not None
    assert (text.grad[0] @ features.losing_image[1]).item() > 0


@pytest.mark.parametrize("cast_dtype", [None, torch.bfloat16])
def test_ict_loss_bfloat16_input_gives_float32_finite_loss(cast_dtype: torch.dtype | None) -> None:
    features = make_features(4, dtype=torch.bfloat16)
    targets = make_targets(4)
    result = ict_loss(features, targets=targets, fidelity="released", cast_dtype=cast_dtype)
    exact = ict_loss(make_features(4), targets=targets, fidelity="released")
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        assert value.dtype == torch.float32
        assert value.shape == ()
        assert value.item() == pytest.approx(getattr(exact, field.name).item(), abs=1e-2)


def test_ict_loss_cast_dtype_computes_every_part_in_that_precision() -> None:
    features, targets = make_features(7), make_targets(7)
    plain = ict_loss(features, targets=targets, fidelity="paper")
    cast = ict_loss(features, targets=targets, fidelity="paper", cast_dtype=torch.bfloat16)
    for field in dataclasses.fields(cast):
        exact, rounded = getattr(plain, field.name), getattr(cast, field.name)
        assert torch.equal(rounded, rounded.bfloat16().float())
        assert not torch.equal(exact, exact.bfloat16().float())


def test_ict_loss_under_autocast_equals_loss_without() -> None:
    features, targets = make_features(16, 64), make_targets(16)
    plain = ict_loss(features, targets=targets, fidelity="paper")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = ict_loss(features, targets=targets, fidelity="paper")
    assert torch.equal(mixed.loss, plain.loss)
    assert torch.equal(mixed.negative_basic, plain.negative_basic)


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_ict_loss_batch_of_one_has_no_negatives(fidelity: Fidelity) -> None:
    features = make_features(1)
    text = features.basic_text.clone().requires_grad_()
    features = dataclasses.replace(features, basic_text=text)
    result = ict_loss(features, targets=make_targets(1), fidelity=fidelity)
    torch.autograd.backward(result.loss)
    assert result.negative_basic.item() == 0.0
    assert result.negative_refined.item() == 0.0
    assert result.loss.item() == pytest.approx((result.basic + result.refined).item())
    assert text.grad is not None
    assert torch.isfinite(text.grad).all()


@pytest.mark.parametrize("name", [*FEATURES, "e1", "e2", "r1", "r2"])
def test_ict_loss_nan_input_gives_nan(name: str) -> None:
    features, targets = make_features(3), make_targets(3)
    record = features if name in FEATURES else targets
    getattr(record, name).view(-1)[0] = math.nan
    assert math.isnan(ict_loss(features, targets=targets, fidelity="paper").loss.item())


@pytest.mark.parametrize("name", FEATURES)
def test_ict_loss_feature_rows_differ_raises_shape_error(name: str) -> None:
    features = make_features(3)
    short = dataclasses.replace(features, **{name: getattr(features, name)[:2]})
    with pytest.raises(ShapeError, match=r"expected \(B, D\)"):
        ict_loss(short, targets=make_targets(3), fidelity="paper")


def test_ict_loss_target_column_shape_raises_shape_error_with_its_name() -> None:
    targets = dataclasses.replace(make_targets(3), r2=torch.zeros(3, 1))
    with pytest.raises(ShapeError, match=r"r2 has shape \(3, 1\), expected \(3,\)"):
        ict_loss(make_features(3), targets=targets, fidelity="paper")


def test_ict_loss_unknown_fidelity_raises_with_choices() -> None:
    with pytest.raises(UnknownNameError, match=r"'exact'.*released, paper"):
        ict_loss(
            make_features(2),
            targets=make_targets(2),
            fidelity="exact",  # type: ignore[arg-type]
        )


def test_negative_weights_released_beta_is_one_for_every_cosine() -> None:
    cosines = torch.linspace(-1, 1, 101)
    assert torch.equal(negative_weights(cosines, alpha=20.0, beta=6.0), torch.ones(101))


def test_negative_weights_follow_the_formula_and_both_signs() -> None:
    cosines = torch.tensor([-0.9, -0.5, 0.0, 0.5, 0.9])
    expected = [1 / (1 + math.exp(8 * (abs(y) - 0.5))) for y in cosines.tolist()]
    weights = negative_weights(cosines, alpha=8.0, beta=0.5)
    assert weights.tolist() == pytest.approx(expected, abs=1e-6)
    assert weights[1].item() == pytest.approx(0.5)


def test_negative_weights_carry_no_gradient() -> None:
    cosines = torch.tensor([0.5], requires_grad=True)
    assert not negative_weights(cosines, alpha=20.0, beta=0.6).requires_grad


def test_ict_loss_default_beta_differs_between_fidelities() -> None:
    features = TripletFeatures(**dict.fromkeys(FEATURES, at_angles(0, 10)))
    released = ict_loss(features, targets=make_targets(2), fidelity="released")
    paper = ict_loss(features, targets=make_targets(2), fidelity="paper")
    assert torch.equal(released.basic, paper.basic)
    assert paper.negative_basic.item() < 0.01 * released.negative_basic.item()


def test_released_targets_replace_e2_by_r1_only() -> None:
    targets = make_targets(5)
    seen = released_targets(targets)
    assert torch.equal(seen.e2, targets.r1)
    assert not torch.equal(targets.e2, targets.r1)
    for name in ("e1", "r1", "r2"):
        assert getattr(seen, name) is getattr(targets, name)
