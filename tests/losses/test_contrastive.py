from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from visreward.core.errors import ShapeError
from visreward.losses.contrastive import contrastive_loss


def make_pairs(num_rows: int, num_features: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        normalize(torch.randn(num_rows, num_features, generator=generator), dim=1),
        normalize(torch.randn(num_rows, num_features, generator=generator), dim=1),
    )


def test_contrastive_loss_two_pairs_matches_hand_computation() -> None:
    image = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    text = torch.tensor([[0.8, 0.6], [0.0, 1.0]])
    # Cosines: image 0 with texts (0.8, 0.0), image 1 with texts (0.96, 0.8); scale 2.
    rows = [math.log1p(math.exp(2 * (0.0 - 0.8))), math.log1p(math.exp(2 * (0.96 - 0.8)))]
    columns = [math.log1p(math.exp(2 * (0.96 - 0.8))), math.log1p(math.exp(2 * (0.0 - 0.8)))]
    expected = (sum(rows) / 2 + sum(columns) / 2) / 2
    loss = contrastive_loss(image_features=image, text_features=text, logit_scale=2.0)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_contrastive_loss_equal_features_is_log_of_batch() -> None:
    rows = torch.tensor([[1.0, 0.0]]).repeat(7, 1)
    loss = contrastive_loss(image_features=rows, text_features=rows, logit_scale=100.0)
    assert loss.item() == pytest.approx(math.log(7), abs=1e-5)


def test_contrastive_loss_images_and_prompts_swapped_is_unchanged() -> None:
    image, text = make_pairs(6)
    forward = contrastive_loss(image_features=image, text_features=text, logit_scale=10.0)
    backward = contrastive_loss(image_features=text, text_features=image, logit_scale=10.0)
    assert backward.item() == pytest.approx(forward.item(), abs=1e-6)


def test_contrastive_loss_permuted_pairs_is_unchanged() -> None:
    image, text = make_pairs(6)
    groups = torch.tensor([0, 1, 0, 2, 3, 1])
    order = torch.tensor([5, 2, 0, 1, 4, 3])
    before = contrastive_loss(
        image_features=image, text_features=text, logit_scale=10.0, group_ids=groups
    )
    after = contrastive_loss(
        image_features=image[order],
        text_features=text[order],
        logit_scale=10.0,
        group_ids=groups[order],
    )
    assert after.item() == pytest.approx(before.item(), abs=1e-6)


def test_contrastive_loss_gradient_pulls_own_prompt_and_pushes_others() -> None:
    # With orthogonal prompts the gradient along each prompt is that of the cosine itself.
    axes = torch.eye(4)
    start = normalize(torch.ones(4, 4), dim=1).requires_grad_()
    torch.autograd.backward(
        contrastive_loss(image_features=start, text_features=axes, logit_scale=1.0)
    )
    assert start.grad is not None
    assert (start.grad.diagonal() < 0).all()
    assert (start.grad[~torch.eye(4, dtype=torch.bool)] > 0).all()


def test_contrastive_loss_logit_scale_tensor_receives_gradient_of_right_sign() -> None:
    rows = torch.eye(4)
    scale = torch.tensor(1.0, requires_grad=True)
    torch.autograd.backward(
        contrastive_loss(image_features=rows, text_features=rows, logit_scale=scale)
    )
    assert scale.grad is not None
    assert scale.grad.item() < 0  # matched pairs are already closest: sharper is better


def test_contrastive_loss_group_rows_leave_each_others_denominator() -> None:
    image, text = make_pairs(3)
    text[1] = text[0]
    grouped = contrastive_loss(
        image_features=image,
        text_features=text,
        logit_scale=5.0,
        group_ids=torch.tensor([4, 4, 9]),
    )
    logits = 5.0 * image @ text.T
    kept = torch.tensor([[1, 0, 1], [0, 1, 1], [1, 1, 1]], dtype=torch.bool)
    total = 0.0
    for i in range(3):
        total += torch.logsumexp(logits[i][kept[i]], 0).item() - logits[i, i].item()
        total += torch.logsumexp(logits[:, i][kept[:, i]], 0).item() - logits[i, i].item()
    assert grouped.item() == pytest.approx(total / 6, abs=1e-5)


def test_contrastive_loss_group_rows_give_each_other_no_gradient() -> None:
    image, text = make_pairs(2)
    image.requires_grad_()
    loss = contrastive_loss(
        image_features=image, text_features=text, logit_scale=5.0, group_ids=torch.tensor([1, 1])
    )
    torch.autograd.backward(loss)
    assert loss.item() == 0.0
    assert image.grad is not None
    assert torch.equal(image.grad, torch.zeros(2, 8))


def test_contrastive_loss_all_groups_differ_equals_no_groups() -> None:
    image, text = make_pairs(5)
    plain = contrastive_loss(image_features=image, text_features=text, logit_scale=5.0)
    grouped = contrastive_loss(
        image_features=image, text_features=text, logit_scale=5.0, group_ids=torch.arange(5)
    )
    assert torch.equal(plain, grouped)


def test_contrastive_loss_bfloat16_input_gives_float32_close_to_exact() -> None:
    image, text = make_pairs(8, 64)
    scale = torch.tensor(20.0)
    exact = contrastive_loss(image_features=image, text_features=text, logit_scale=scale)
    half = contrastive_loss(
        image_features=image.bfloat16(), text_features=text.bfloat16(), logit_scale=scale.bfloat16()
    )
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(exact.item(), abs=5e-2)


def test_contrastive_loss_under_autocast_equals_loss_without() -> None:
    image, text = make_pairs(16, 64)
    plain = contrastive_loss(image_features=image, text_features=text, logit_scale=100.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = contrastive_loss(image_features=image, text_features=text, logit_scale=100.0)
    assert torch.equal(mixed, plain)


def test_contrastive_loss_large_scale_stays_finite() -> None:
    image, text = make_pairs(8)
    loss = contrastive_loss(image_features=image, text_features=text, logit_scale=1e4)
    assert math.isfinite(loss.item())


def test_contrastive_loss_batch_of_one_is_zero() -> None:
    image, text = make_pairs(1)
    loss = contrastive_loss(image_features=image, text_features=text, logit_scale=100.0)
    assert loss.item() == 0.0


@pytest.mark.parametrize(
    ("text_shape", "group_shape", "message"),
    [
        ((3, 8), (4,), "B is 4 in image_features but 3 here"),
        ((4, 7), (4,), "D is 8 in image_features but 7 here"),
        ((4, 8), (4, 1), r"group_ids has shape \(4, 1\), expected \(4,\)"),
        ((4, 8), (3,), r"group_ids has shape \(3,\), expected \(4,\)"),
    ],
)
def test_contrastive_loss_shapes_differ_raises_shape_error(
    text_shape: tuple[int, ...], group_shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        contrastive_loss(
            image_features=torch.zeros(4, 8),
            text_features=torch.zeros(text_shape),
            logit_scale=1.0,
            group_ids=torch.zeros(group_shape, dtype=torch.int64),
        )


def test_contrastive_loss_logit_scale_of_two_numbers_raises_shape_error() -> None:
    image, text = make_pairs(2)
    with pytest.raises(ShapeError, match=r"logit_scale has shape \(2,\)"):
        contrastive_loss(image_features=image, text_features=text, logit_scale=torch.ones(2))


def test_contrastive_loss_nan_feature_gives_nan() -> None:
    image, text = make_pairs(3)
    text[1, 2] = math.nan
    loss = contrastive_loss(image_features=image, text_features=text, logit_scale=10.0)
    assert math.isnan(loss.item())
