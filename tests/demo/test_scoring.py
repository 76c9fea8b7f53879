"""What the page computes: the library's own scores, and a sentence for whatever has none."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from visreward.core.errors import InputError, UsageError
from visreward.data.scenes.examples import EDIT, PROMPT
from visreward.demo import scoring
from visreward.demo.examples import draw_examples
from visreward.demo.loaded_models import LoadedModels, load_models
from visreward.demo.results import models_html, ranking_html, score_html
from visreward.demo.scoring import Upload, score_uploads
from visreward.demo.uploads import all_uploads, one_upload


@pytest.fixture(scope="module")
def models() -> LoadedModels:
    return load_models(["clip-mini", "hp-mini", "editreward-mini"], device="cpu", dtype="float32")


def uploads(folder: Path, *names: str) -> list[Upload]:
    return [Upload(path=folder / name, name=name) for name in names]


def test_scored_uploads_equal_the_models_own_ranking(
    models: LoadedModels, project_dir: Path
) -> None:
    folder = project_dir / "examples" / "images"
    names = ["wrong-colour.png", "right-and-rich.png", "right-but-blurred.png"]
    model = models["clip-mini"]
    scored = score_uploads(model, prompt=PROMPT, images=uploads(folder, *names))
    expected = model.rank(prompt=PROMPT, images=[str(folder / name) for name in names])
    assert scored.ranking is not None
    assert [place.item.name for place in scored.ranking.places] == [
        names[place.index] for place in expected
    ]
    for place, own in zip(scored.ranking.places, expected, strict=True):
        assert place.score.value == pytest.approx(own.score.value, abs=1e-4)
    assert set(scored.thumbnails) == set(names)


def test_scored_edits_equal_the_models_own_ranking(models: LoadedModels, project_dir: Path) -> None:
    folder = project_dir / "examples" / "edits"
    names = ["right.png", "half-done.png"]
    model = models["editreward-mini"]
    source = Upload(path=folder / "before.png", name="before.png")
    scored = score_uploads(
        model, prompt=EDIT.instruction, images=uploads(folder, *names), source=source
    )
    expected = model.rank(
        prompt=EDIT.instruction,
        images=[str(folder / name) for name in names],
        source_image=str(source.path),
    )
    assert scored.ranking is not None
    for place, own in zip(scored.ranking.places, expected, strict=True):
        assert place.item.name == names[own.index]
        assert place.score.value == pytest.approx(own.score.value, abs=1e-3)
    page = ranking_html(scored, model)
    assert page.index("right.png") < page.index("half-done.png")
    chance = 100 * model.prefer(expected[1].score, expected[0].score)
    assert (f"{chance:.0f} %" if chance >= 1 else "under 1 %") in page


def test_unreadable_uploads_are_kept_with_their_reasons_and_without_their_paths(
    models: LoadedModels, tmp_path: Path
) -> None:
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    (tmp_path / "notes.png").write_text("not a picture")
    scored = score_uploads(
        models["hp-mini"], prompt="", images=uploads(tmp_path, "red.png", "notes.png", "gone.png")
    )
    assert scored.ranking is not None
    assert [place.item.name for place in scored.ranking.places] == ["red.png"]
    reasons = {item.name: item.error or "" for item in scored.failed}
    assert reasons["notes.png"].startswith("Image 'notes.png' is text, not an image.")
    assert reasons["gone.png"] == (
        "Image 'gone.png' is no longer here: uploads are deleted after 60 minutes. Add it again."
    )
    page = ranking_html(scored, models["hp-mini"])
    assert "1 image scored, best first; 2 not scored, see below" in page
    assert str(tmp_path) not in page


def test_oversized_image_is_refused_from_its_header(
    models: LoadedModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "MAX_PIXELS", 1000)
    Image.new("RGB", (40, 26)).save(tmp_path / "big.png")
    scored = score_uploads(models["hp-mini"], prompt="", images=uploads(tmp_path, "big.png"))
    assert scored.ranking is None
    page = score_html(scored, models["hp-mini"], landmarks=None)
    assert "too many pixels: 40 x 26 = 1,040, the limit is 1,000" in page


@pytest.mark.parametrize(
    ("model", "prompt", "num", "has_source", "words"),
    [
        ("clip-mini", "a cat", 0, False, "There is no image yet (0 given)"),
        ("clip-mini", " ", 1, False, "The prompt is empty"),
        ("clip-mini", "a cat", 25, False, "There are 25 images, more than the 24"),
        ("clip-mini", "a" * 4097, 1, False, "The prompt has 4,097 characters"),
        ("clip-mini", "a cat", 1, True, "A source image was given, but 'clip-mini'"),
        ("editreward-mini", "a cat", 1, False, "No source image, but 'editreward-mini'"),
    ],
)
def test_form_that_cannot_be_scored_is_refused_with_what_was_seen(
    models: LoadedModels, model: str, prompt: str, num: int, has_source: bool, words: str
) -> None:
    nowhere = Upload(path=Path("nowhere.png"), name="nowhere.png")
    with pytest.raises(InputError) as error:
        score_uploads(
            models[model],
            prompt=prompt,
            images=[nowhere] * num,
            source=nowhere if has_source else None,
        )
    assert words in str(error.value)


def test_uploads_of_one_name_stay_apart(models: LoadedModels, tmp_path: Path) -> None:
    paths = [tmp_path / place / "image.png" for place in ("a", "b")]
    for path, colour in zip(paths, ("red", "blue"), strict=True):
        path.parent.mkdir()
        Image.new("RGB", (32, 32), colour).save(path)
    given = [Upload(path=path, name="image.png") for path in paths]
    scored = score_uploads(models["hp-mini"], prompt="", images=given)
    assert set(scored.thumbnails) == {"image.png", "image.png (2)"}


def test_upload_is_called_as_its_giver_calls_it_without_folders() -> None:
    record = {"path": "/tmp/abc/mycat.png", "orig_name": "../my <cat>.png"}
    assert one_upload(record) == Upload(path=Path("/tmp/abc/mycat.png"), name="my <cat>.png")
    assert one_upload(None) is None
    files = all_uploads([{"image": record}, {"video": {"path": "/tmp/abc/clip.mp4"}}])
    assert [file.name for file in files] == ["my <cat>.png", "clip.mp4"]


def test_names_and_prompts_of_strangers_are_escaped(models: LoadedModels, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.new("RGB", (32, 32), "red").save(path)
    evil = "<img src=x onerror=alert(1)>"
    scored = score_uploads(
        models["clip-mini"], prompt=evil, images=[Upload(path=path, name=evil + ".png")]
    )
    assert "<img src=x" not in ranking_html(scored, models["clip-mini"])
    assert "<img src=x" not in score_html(scored, models["clip-mini"], landmarks=None)


def test_models_that_share_a_name_are_refused(models: LoadedModels, tmp_path: Path) -> None:
    models["hp-mini"].save(tmp_path / "copy")
    with pytest.raises(UsageError, match="Two models are called 'hp-mini'"):
        load_models(["hp-mini", str(tmp_path / "copy")], device="cpu", dtype="float32")
    with pytest.raises(UsageError, match="Choose one of clip-mini, hp-mini, editreward-mini"):
        models["hpsv4"]


def test_every_model_is_described(models: LoadedModels) -> None:
    page = models_html(models)
    for facts in models.facts:
        assert facts.revision in page
        assert f"<b>{facts.name}</b> {facts.note}" in page


def test_drawn_examples_are_the_ones_of_the_repository(tmp_path: Path, project_dir: Path) -> None:
    drawn = draw_examples(tmp_path)
    assert drawn.prompt == PROMPT
    kept = {path.name for path in (project_dir / "examples").glob("*/*.png")}
    assert {each.name for each in (*drawn.images, drawn.source, *drawn.edits)} == kept
