"""Released layouts: imported models compute what transformers computes on the same weights."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel

from visreward.core.errors import (
    ModelNotFoundError,
    UnknownNameError,
    UnsafePickleError,
    UsageError,
    WeightsError,
)
from visreward.core.types import Sample
from visreward.models.base import RewardModel
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.heads import LinearStack
from visreward.models.released import ImportReport, ReleasedSource, import_released
from visreward.models.weights import load_native

if TYPE_CHECKING:
    from tests.models.conftest import TinyRelease


def import_tiny(
    layout: str, release: TinyRelease, output: Path, *, force: bool = False
) -> ImportReport:
    return import_released(
        layout,
        ReleasedSource(checkpoint=release.checkpoint, backbone=release.backbone),
        output=output,
        force=force,
    )


class Imports:
    """Each layout of the tiny release, imported once for all tests that only look at it."""

    def __init__(self, release: TinyRelease, root: Path) -> None:
        self.release, self.root = release, root
        self.reports: dict[str, ImportReport] = {}

    def report(self, layout: str) -> ImportReport:
        if layout not in self.reports:
            self.reports[layout] = import_tiny(layout, self.release, self.root / layout)
        return self.reports[layout]

    def model(self, layout: str) -> RewardModel:
        return load_native(self.report(layout).output)

    def clip_model(self, layout: str) -> CLIPRewardModel:
        model = self.model(layout)
        assert isinstance(model, CLIPRewardModel)
        return model


@pytest.fixture(scope="module")
def imports(release: TinyRelease, tmp_path_factory: pytest.TempPathFactory) -> Imports:
    return Imports(release, tmp_path_factory.mktemp("imports"))


class Reference:
    """Features of the release's weights, computed by transformers' own classes."""

    def __init__(self, folder: Path, weights: dict[str, Tensor]) -> None:
        self.clip = CLIPModel.from_pretrained(folder)
        self.clip.load_state_dict(weights)
        self.clip.train(False)

    @torch.inference_mode()
    def cosines(self, model: CLIPRewardModel, samples: list[Sample]) -> Tensor:
        assert model.text_inputs is not None
        ids, _ = model.text_inputs.token_ids([sample.prompt for sample in samples])
        texts = self.clip.get_text_features(input_ids=ids).pooler_output
        return functional.cosine_similarity(self.images(model, samples), texts)

    @torch.inference_mode()
    def images(self, model: CLIPRewardModel, samples: list[Sample]) -> Tensor:
        pictures = [sample.image for sample in samples if isinstance(sample.image, Image.Image)]
        pixels = model.pixel_inputs.normalise(model.pixel_inputs.pixels(pictures))
        features = self.clip.get_image_features(pixel_values=pixels).pooler_output
        assert isinstance(features, Tensor)
        return features


def head_of(release: TinyRelease) -> LinearStack:
    head = LinearStack(24)
    head.load_state_dict(release.head)
    return head.eval()


@pytest.mark.parametrize(
    ("layout", "scale"), [("ict", 1.0), ("pickscore", 100.0), ("hpsv2", 1.0), ("clipscore", 100.0)]
)
def test_import_similarity_layout_scores_as_transformers(
    layout: str, scale: float, release: TinyRelease, samples: list[Sample], imports: Imports
) -> None:
    model = imports.clip_model(layout)
    expected = scale * Reference(release.backbone, release.clip).cosines(model, samples)
    if layout == "clipscore":
        expected = expected.clamp(min=0)
    got = [score.value for score in model.score(samples)]
    assert got == pytest.approx(expected.tolist(), abs=1e-4 * scale)
    assert (model.kind, model.facts.name, model.facts.fidelity) == (layout, layout, "released")
    assert model.facts.needs_prompt


@torch.inference_mode()
def test_import_hp_scores_sigmoid_of_the_head(
    release: TinyRelease, samples: list[Sample], imports: Imports
) -> None:
    model = imports.clip_model("hp")
    features = Reference(release.backbone, release.clip).images(model, samples)
    expected = head_of(release)(features).sigmoid()
    assert [score.value for score in model.score(samples)] == pytest.approx(
        expected.tolist(), abs=1e-4
    )
    assert not model.facts.needs_prompt


@torch.inference_mode()
def test_import_aesthetic_takes_its_tower_from_the_backbone(
    release: TinyRelease, samples: list[Sample], imports: Imports
) -> None:
    report, model = imports.report("laion-aesthetic"), imports.clip_model("laion-aesthetic")
    weights = load_file(release.backbone / "model.safetensors")
    features = Reference(release.backbone, weights).images(model, samples)
    expected = head_of(release)(functional.normalize(features, dim=-1))
    assert [score.value for score in model.score(samples)] == pytest.approx(
        expected.tolist(), abs=1e-4
    )
    assert report.read[0] == release.backbone / "model.safetensors"


def test_import_composite_layout_multiplies_its_parts(
    samples: list[Sample], imports: Imports
) -> None:
    report, model = imports.report("ict-hp"), imports.model("ict-hp")
    for score in model.score(samples):
        product = score.dimensions["ict"].mu * score.dimensions["hp"].mu
        assert score.value == pytest.approx(product, abs=1e-6)
    assert report.revision == model.facts.revision
    assert "hp: text_projection.weight" in report.left_out
    assert "ict: vision_model.embeddings.position_ids" in report.left_out


def test_import_hp_names_the_text_tower_as_left_out(release: TinyRelease, imports: Imports) -> None:
    report = imports.report("hp")
    is_text = [name.startswith(("text_", "logit_scale")) for name in release.clip]
    assert len(report.left_out) == sum(is_text)
    assert all(is_text[list(release.clip).index(name)] for name in report.left_out)
    assert report.revision == imports.model("hp").facts.revision


def test_import_hpsv2_pads_where_others_crop(imports: Imports) -> None:
    model = imports.clip_model("hpsv2")
    white = Image.new("RGB", (60, 30), "white")
    pixels = model.pixel_inputs.pixels([white])[0]
    assert pixels.shape == (3, 32, 32)
    assert pixels[:, :8].max() == 0
    assert pixels[:, 8:24].min() == 255
    assert pixels[:, 24:].max() == 0


@pytest.mark.parametrize(
    ("layout", "cleaning"),
    [("ict", "open_clip"), ("hpsv2", "open_clip"), ("pickscore", "none"), ("clipscore", "none")],
)
def test_import_text_is_cleaned_as_the_release_does(
    layout: str, cleaning: str, imports: Imports
) -> None:
    output = imports.report(layout).output
    config = json.loads((output / "config.json").read_text())["config"]
    assert config["text_cleaning"] == cleaning
    assert config["context"] == 20


def test_import_hpsv2_names_what_lies_beside_the_weights(imports: Imports) -> None:
    assert imports.report("hpsv2").left_out == ("epoch",)


def test_import_hpsv2_half_weights_stay_half(release: TinyRelease, tmp_path: Path) -> None:
    checkpoint = tmp_path / "release"
    checkpoint.mkdir()
    weights = torch.load(release.checkpoint / "HPS_v2_compressed.pt", weights_only=True)
    half = {name: value.half() for name, value in weights["state_dict"].items()}
    torch.save({"state_dict": half}, checkpoint / "HPS_v2.1_compressed.pt")
    import_released(
        "hpsv2",
        ReleasedSource(checkpoint=checkpoint, backbone=release.backbone),
        output=tmp_path / "model",
    )
    stored = load_file(tmp_path / "model/model.safetensors")
    full = {name for name, value in stored.items() if value.dtype != torch.float16}
    assert full == {"backbone.clip.logit_scale"}


def test_import_files_directly_in_the_checkpoint_are_found(
    release: TinyRelease, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "ICT"
    checkpoint.mkdir()
    save_file(release.clip, checkpoint / "model.safetensors")
    report = import_released(
        "ict",
        ReleasedSource(checkpoint=checkpoint, backbone=release.backbone),
        output=tmp_path / "model",
    )
    assert report.read[0] == checkpoint / "model.safetensors"
    assert report.left_out == ()


def test_import_never_unpickles_in_this_process(
    release: TinyRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> NoReturn:
        raise AssertionError("unpickled in the parent process")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(pickle, "load", refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    import_tiny("ict", release, tmp_path / "model")


def test_import_crafted_pickle_leaves_nothing_behind(release: TinyRelease, tmp_path: Path) -> None:
    class Crafted:
        def __reduce__(self) -> tuple[object, ...]:
            return (exec, (f"open({str(tmp_path / 'marker')!r}, 'w')",))

    checkpoint = tmp_path / "release"
    checkpoint.mkdir()
    torch.save(release.clip | {"extra": Crafted()}, checkpoint / "pytorch_model.bin")
    with pytest.raises(UnsafePickleError, match="exec"):
        import_released(
            "ict",
            ReleasedSource(checkpoint=checkpoint, backbone=release.backbone),
            output=tmp_path / "model",
        )
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_import_weights_of_another_backbone_are_listed_and_nothing_is_written(
    release: TinyRelease, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "release"
    checkpoint.mkdir()
    weights = {name: value for name, value in release.clip.items() if "layers.1" not in name}
    weights["visual_projection.weight"] = torch.ones(3, 24)
    save_file(weights, checkpoint / "model.safetensors")
    with pytest.raises(WeightsError) as error:
        import_released(
            "pickscore",
            ReleasedSource(checkpoint=checkpoint, backbone=release.backbone),
            output=tmp_path / "model",
        )
    assert str(checkpoint / "model.safetensors") in str(error.value)
    assert "missing: backbone.clip.text_model.encoder.layers.1" in str(error.value)
    assert "visual_projection.weight (3, 24), expected (24, 24)" in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_import_missing_weights_names_all_places_looked_at(
    release: TinyRelease, tmp_path: Path
) -> None:
    with pytest.raises(ModelNotFoundError, match=r"HP/hp_backbone.*--checkpoint"):
        import_released(
            "ict-hp",
            ReleasedSource(checkpoint=release.backbone, backbone=release.backbone),
            output=tmp_path / "m",
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer.json"])
def test_import_missing_backbone_file_is_named(
    name: str, release: TinyRelease, tmp_path: Path
) -> None:
    backbone = tmp_path / "backbone"
    backbone.mkdir()
    for path in release.backbone.iterdir():
        if path.name != name:
            (backbone / path.name).symlink_to(path)
    with pytest.raises(ModelNotFoundError, match=rf"has no {name}.*--backbone"):
        import_released(
            "ict",
            ReleasedSource(checkpoint=release.checkpoint, backbone=backbone),
            output=tmp_path / "m",
        )


def test_import_backbone_of_another_kind_is_refused(release: TinyRelease, tmp_path: Path) -> None:
    backbone = tmp_path / "backbone"
    backbone.mkdir()
    for path in release.backbone.iterdir():
        (backbone / path.name).symlink_to(path)
    (backbone / "config.json").unlink()
    (backbone / "config.json").write_text('{"model_type": "siglip"}')
    with pytest.raises(WeightsError, match="describes a 'siglip' model, expected 'clip'"):
        import_released(
            "clipscore",
            ReleasedSource(checkpoint=release.checkpoint, backbone=backbone),
            output=tmp_path / "m",
        )


def test_import_existing_output_is_kept_unless_forced(release: TinyRelease, tmp_path: Path) -> None:
    import_tiny("pickscore", release, tmp_path / "model")
    before = (tmp_path / "model/config.json").read_bytes()
    with pytest.raises(UsageError, match=r"already there.*--force"):
        import_tiny("clipscore", release, tmp_path / "model")
    assert (tmp_path / "model/config.json").read_bytes() == before
    import_tiny("clipscore", release, tmp_path / "model", force=True)
    assert load_native(tmp_path / "model").kind == "clipscore"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_import_forced_over_a_foreign_folder_is_refused(
    release: TinyRelease, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.txt").write_text("keep me")
    with pytest.raises(UsageError, match="is no native folder"):
        import_tiny("clipscore", release, tmp_path / "photos", force=True)
    assert (tmp_path / "photos/cat.txt").read_text() == "keep me"


def test_import_unknown_layout_gets_the_nearest(release: TinyRelease, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'pickscore'"):
        import_tiny("pick-score", release, tmp_path / "model")
