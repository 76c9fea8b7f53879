"""What a step computes, against the loss functions and scores called by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from visreward.core.errors import UsageError
from visreward.core.types import Fidelity, Sample
from visreward.losses.contrastive import contrastive_loss
from visreward.losses.ict import ContainmentTargets, TripletFeatures, ict_loss, released_targets
from visreward.losses.margin import hp_loss, ict_hp_loss
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.clip.hp import HP
from visreward.training.data.batches import Batch, readable
from visreward.training.data.feeds import Feed
from visreward.training.data.frozen import ICT_SCORES
from visreward.training.modeling.freezing import freeze
from visreward.training.objectives.contrastive import ContrastiveObjective
from visreward.training.objectives.hp import HPObjective
from visreward.training.objectives.ict import ICTObjective
from visreward.training.objectives.triplets import triplet_indicators
from visreward.training.options.freeze_config import FreezeConfig
from visreward.training.options.objective_config import ContrastiveConfig, HPConfig, ICTConfig

MakeModel = Callable[..., CLIPRewardModel]
MakeFeed = Callable[..., Feed]
FIDELITIES: tuple[Fidelity, ...] = ("released", "paper")


def hp_model(tiny_model: MakeModel, **options: Any) -> HP:
    model = tiny_model("hp", **options)
    assert isinstance(model, HP)
    return model


def unit_features(model: CLIPRewardModel, batch: Batch) -> Tensor:
    """Return (B, N, D) unit image features, encoded one image at a time."""
    rows = [
        torch.stack([model.encode_images(image[None])[0] for image in images])
        for images in batch.stacked()
    ]
    return functional.normalize(torch.stack(rows), dim=-1)


def unit_texts(model: CLIPRewardModel, prompts: list[str]) -> Tensor:
    features = torch.cat([model.encode_prompts([prompt])[0] for prompt in prompts])
    return functional.normalize(features, dim=-1)


def public_scores(model: CLIPRewardModel, feed: Feed, rows: list[int], kind: int) -> Tensor:
    """Return the scores that users see, (B, 3), under the basic (0) or refined (1) prompt."""
    samples = [
        Sample(prompt=feed.rows[row].prompts[kind], image=readable(image))
        for row in rows
        for image in feed.rows[row].images
    ]
    return torch.tensor([score.value for score in model.eval().score(samples)]).view(-1, 3)


def test_contrastive_loss_equals_the_loss_by_hand(
    tiny_model: MakeModel, captions: Path, make_feed: MakeFeed
) -> None:
    model = tiny_model("clipscore").eval()
    batch = make_feed(model, captions)[0]
    result = ContrastiveObjective(model, ContrastiveConfig(name="contrastive")).eval()(batch)
    prompts = [prompt for row in batch.prompts for prompt in row]
    expected = contrastive_loss(
        image_features=unit_features(model, batch).flatten(0, 1),
        text_features=unit_texts(model, prompts),
        logit_scale=model.backbone.clip.logit_scale.exp(),
        group_ids=torch.tensor([prompts.index(prompt) for prompt in prompts]),
    )
    assert result.loss.item() == pytest.approx(expected.item(), abs=1e-5)


def test_contrastive_accuracy_counts_images_of_the_same_prompt(
    tiny_model: MakeModel, captions: Path, make_feed: MakeFeed
) -> None:
    model = tiny_model("clipscore").eval()
    batch = make_feed(model, captions)[0]
    result = ContrastiveObjective(model, ContrastiveConfig(name="contrastive")).eval()(batch)
    prompts = [prompt for row in batch.prompts for prompt in row]
    cosines = unit_texts(model, prompts) @ unit_features(model, batch).flatten(0, 1).T
    found = cosines.argmax(dim=1).tolist()
    right = sum(prompts[place] == prompt for place, prompt in zip(found, prompts, strict=True))
    assert result.accuracy.item() == pytest.approx(right / len(prompts))


def test_contrastive_after_step_holds_the_logit_scale(tiny_model: MakeModel) -> None:
    model = tiny_model("clipscore")
    objective = ContrastiveObjective(
        model, ContrastiveConfig(name="contrastive", max_logit_scale=20)
    )
    with torch.no_grad():
        model.backbone.clip.logit_scale.fill_(9.0)
    objective.after_step()
    assert model.backbone.clip.logit_scale.exp().item() == pytest.approx(20, rel=1e-5)
    with torch.no_grad():
        model.backbone.clip.logit_scale.fill_(1.0)
    objective.after_step()
    assert model.backbone.clip.logit_scale.item() == 1.0


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_contrastive_validation_counts_wins_within_a_family(
    tiny_model: MakeModel, captions: Path, make_feed: MakeFeed, precision: torch.dtype
) -> None:
    model = tiny_model("clipscore").eval()
    batch = make_feed(model, captions)[1]
    objective = ContrastiveObjective(model, ContrastiveConfig(name="contrastive")).eval()
    # Mixed precision may round features, never the cosines that are compared.
    with torch.no_grad(), torch.autocast("cpu", precision, enabled=precision != torch.float32):
        found = objective.validate(batch)
        images = unit_features(model, batch)
    for row, prompts in enumerate(batch.prompts):
        with torch.no_grad(), torch.autocast("cpu", precision, enabled=precision != torch.float32):
            texts = unit_texts(model, list(prompts))
        cosines = texts.double() @ images[row].double().T
        wins = [
            bool(cosines[own, own] > cosines[own, other])
            for own in range(4)
            for other in range(4)
            if own != other
        ]
        assert found["family_accuracy"][row].item() == pytest.approx(sum(wins) / 12, abs=1e-6)
        assert found["plain_swap_accuracy"][row].item() == float(wins[0])
        assert found["rich_swap_accuracy"][row].item() == float(wins[8])


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_ict_loss_equals_the_loss_by_hand(
    tiny_model: MakeModel, pick_high: Path, make_feed: MakeFeed, fidelity: Fidelity
) -> None:
    model = tiny_model("ict").eval()
    batch = make_feed(model, pick_high)[0]
    config = ICTConfig(name="ict", fidelity=fidelity, negative_weight=0.7, alpha=9.0)
    result = ICTObjective(model, config).eval()(batch)
    images = unit_features(model, batch)
    targets = batch.targets
    assert targets is not None
    features = TripletFeatures(
        basic_text=unit_texts(model, [row[0] for row in batch.prompts]),
        refined_text=unit_texts(model, [row[1] for row in batch.prompts]),
        losing_image=images[:, 0],
        winning_image=images[:, 1],
        refined_image=images[:, 2],
    )
    is_released = fidelity == "released"
    expected = ict_loss(
        features,
        targets=released_targets(targets) if is_released else targets,
        fidelity=fidelity,
        negative_weight=0.7,
        alpha=9.0,
        cast_dtype=torch.bfloat16 if is_released else None,
    )
    tolerance = 2e-2 if is_released else 1e-5
    assert result.loss.item() == pytest.approx(expected.loss.item(), abs=tolerance)


def test_ict_released_fidelity_reads_e2_from_r1_and_paper_does_not(
    tiny_model: MakeModel, pick_high: Path, make_feed: MakeFeed
) -> None:
    model = tiny_model("ict").eval()
    batch = make_feed(model, pick_high)[0]
    assert batch.targets is not None
    other_e2 = replace(batch, targets=replace(batch.targets, e2=torch.zeros(6)))
    for fidelity, is_read in (("released", False), ("paper", True)):
        objective = ICTObjective(
            model, ICTConfig.model_validate({"name": "ict", "fidelity": fidelity})
        ).eval()
        losses = [objective(each).loss.item() for each in (batch, other_e2)]
        assert (losses[0] != losses[1]) is is_read


def test_ict_validation_equals_comparing_public_scores(
    tiny_model: MakeModel, pick_high: Path, make_feed: MakeFeed
) -> None:
    model = tiny_model("ict").eval()
    feed = make_feed(model, pick_high, split="val", shuffle=False)
    batch = feed[0]
    objective = ICTObjective(model, ICTConfig(name="ict")).eval()
    with torch.no_grad():
        found = objective.validate(batch)
    for kind, prefix in ((0, ""), (1, "refined_prompt_")):
        scores = public_scores(model, feed, batch.row_ids.tolist(), kind)
        for name, expected in triplet_indicators(scores, prefix).items():
            assert torch.equal(found[name], expected)
    basic = ("winning_over_losing", "refined_over_winning", "refined_over_losing")
    mean = torch.stack([found[name] for name in basic]).mean(dim=0)
    assert torch.equal(found["average"], mean)
    scores = public_scores(model, feed, batch.row_ids.tolist(), 0)
    assert torch.allclose(found["margin"], margins_by_hand(scores), atol=1e-6)
    shown = [[each.mu for each in row] for row in objective.shown_scores(batch)]
    assert torch.allclose(torch.tensor(shown), scores, atol=1e-6)


def margins_by_hand(scores: torch.Tensor) -> torch.Tensor:
    pairs = ((0, 1), (1, 2), (0, 2))
    return torch.stack([scores[:, better] - scores[:, worse] for worse, better in pairs]).mean(0)


def test_triplet_indicators_ties_are_wrong() -> None:
    found = triplet_indicators(torch.tensor([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0], [3.0, 2.0, 2.5]]))
    assert {name: values.tolist() for name, values in found.items()} == {
        "winning_over_losing": [1, 0, 0],
        "refined_over_winning": [1, 0, 1],
        "refined_over_losing": [1, 0, 0],
    }


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_hp_loss_equals_the_loss_by_hand(
    tiny_model: MakeModel, pick_high: Path, make_feed: MakeFeed, fidelity: Fidelity
) -> None:
    hp, ict = hp_model(tiny_model).eval(), tiny_model("ict", seed=5).eval()
    feed = make_feed(hp, pick_high)
    batch = feed[0]
    config = HPConfig(name="hp", fidelity=fidelity, hp_weight=0.5, ict_hp_weight=2.0, margin=0.2)
    result = HPObjective(hp, config, ict=ict).eval()(batch)
    logits = torch.stack([hp.logits(images) for images in batch.stacked()])
    scores = public_scores(ict, feed, batch.row_ids.tolist(), 0)
    rounded = scores.bfloat16() if fidelity == "released" else scores
    expected = 0.5 * hp_loss(logits, margin=0.2) + 2.0 * ict_hp_loss(
        ict_scores=rounded, hp_logits=logits, fidelity=fidelity, margin=0.2
    )
    # Rounded to bfloat16, a score next to a step may fall on either side of it.
    tolerance = 2e-2 if fidelity == "released" else 1e-5
    assert result.loss.item() == pytest.approx(expected.item(), abs=tolerance)


def test_hp_without_ict_is_the_hp_loss_alone(
    tiny_model: MakeModel, pick_high: Path, make_feed: MakeFeed
) -> None:
    hp = hp_model(tiny_model).eval()
    batch = make_feed(hp, pick_high)[0]
    objective = HPObjective(hp, HPConfig(name="hp")).eval()
    logits = hp.logits(batch.stacked().flatten(0, 1)).view(6, 3)
    assert objective(batch).loss.item() == pytest.approx(hp_loss(logits).item(), abs=1e-6)
    found = objective.validate(batch)
    assert set(found) == {*triplet_indicators(logits, "hp_"), "average", "margin"}
    assert torch.allclose(found["margin"], margins_by_hand(logits), atol=1e-6)
    shown = [[each.mu for each in row] for row in objective.shown_scores(batch)]
    assert torch.allclose(torch.tensor(shown), logits, atol=1e-6)


def test_hp_validation_equals_comparing_public_scores(
    tiny_model: MakeModel, pick_high: Path, make_feed: MakeFeed
) -> None:
    hp, ict = hp_model(tiny_model).eval(), tiny_model("ict", seed=5).eval()
    feed = make_feed(hp, pick_high, split="val", shuffle=False)
    batch = feed[0]
    with torch.no_grad():
        objective = HPObjective(hp, HPConfig(name="hp"), ict=ict).eval()
        found = objective.validate(batch)
    rows = batch.row_ids.tolist()
    quality = public_scores(hp, feed, rows, 0)
    both = public_scores(ict, feed, rows, 0) * quality
    for scores, prefix in ((quality, "hp_"), (both, "")):
        for name, expected in triplet_indicators(scores, prefix).items():
            assert torch.equal(found[name], expected), name
    assert torch.allclose(found["margin"], margins_by_hand(both), atol=1e-6)
    shown = [[each.mu for each in row] for row in objective.shown_scores(batch)]
    assert torch.allclose(torch.tensor(shown), both, atol=1e-6)


def test_hp_sees_ict_at_another_size_only_through_the_cache(
    tiny_model: MakeModel, pick_high: Path, make_feed: MakeFeed
) -> None:
    hp, ict = hp_model(tiny_model), tiny_model("ict")
    ict.pixel_inputs.processor.crop_size = {"height": 8, "width": 8}
    with pytest.raises(UsageError, match=r"8 px and HP 16 px.*cache_frozen=true"):
        HPObjective(hp, HPConfig(name="hp"), ict=ict)
    batch = make_feed(hp, pick_high)[0]
    known = replace(batch, extra={ICT_SCORES: torch.rand(6, 3)})
    assert HPObjective(hp, HPConfig(name="hp")).eval()(known).loss.isfinite()


def test_hp_holds_its_weights_once(tiny_model: MakeModel) -> None:
    hp, ict = hp_model(tiny_model), tiny_model("ict")
    names = HPObjective(hp, HPConfig(name="hp"), ict=ict).state_dict().keys()
    assert names == {f"model.{name}" for name in hp.state_dict()}


def test_train_mode_leaves_batch_statistics_of_frozen_parts(
    tiny_model: MakeModel, pick_high: Path, make_feed: MakeFeed
) -> None:
    def statistics_move(config: FreezeConfig) -> bool:
        hp = hp_model(tiny_model)
        freeze(hp, config)
        objective = HPObjective(hp, HPConfig(name="hp"))
        objective.train()
        stem = hp.backbone.clip.vision_model.embeddings.patch_embedding
        norm = next(part for part in stem if isinstance(part, nn.BatchNorm2d))
        assert norm.running_mean is not None
        before = norm.running_mean.clone()
        objective(make_feed(hp, pick_high)[0])
        assert hp.head.layers[1].training
        return not torch.equal(before, norm.running_mean)

    assert statistics_move(FreezeConfig())
    assert not statistics_move(FreezeConfig(vision_embeddings=True))


def test_batch_to_device_moves_targets_and_extra(
    tiny_model: MakeModel, pick_high: Path, make_feed: MakeFeed
) -> None:
    batch = make_feed(tiny_model("hp"), pick_high)[0]
    batch = replace(batch, extra={ICT_SCORES: torch.rand(6, 3)})
    moved = batch.to(torch.device("meta"))
    assert isinstance(moved.targets, ContainmentTargets)
    tensors = (moved.stacked(), moved.targets.e2, moved.extra[ICT_SCORES])
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert moved.row_ids.tolist() == batch.row_ids.tolist()
