"""The engine: order, repeats, failures, memory."""

from __future__ import annotations

import io
import math
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from visreward.core.errors import ImageError, UsageError
from visreward.core.types import Sample
from visreward.models.base import RewardModel
from visreward.models.loaded import LoadedSample, PictureReader
from visreward.scoring import engine as engine_module
from visreward.scoring.engine import ScoringEngine
from visreward.scoring.records import RowError, ScoredItem

if TYPE_CHECKING:
    from tests.scoring.conftest import ColourModel

Picture = Callable[..., str]


def values(items: list[ScoredItem]) -> list[float | None]:
    return [None if item.score is None else item.score.value for item in items]


def count_loads(model: ColourModel, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the image of every sample that the engine loads."""
    loaded: list[str] = []

    def counted(sample: Sample, reader: PictureReader) -> LoadedSample:
        loaded.append(str(sample.image))
        return RewardModel.load(model, sample, reader)

    monkeypatch.setattr(model, "load", counted)
    return loaded


def test_run_several_batches_keeps_input_order(model: ColourModel, picture: Picture) -> None:
    reds = [(37 * number) % 256 for number in range(23)]
    samples = [
        Sample(prompt="ab", image=picture(f"{number}.png", red)) for number, red in enumerate(reds)
    ]
    items = list(ScoringEngine(model, batch_size=4).run(samples))
    assert [item.index for item in items] == list(range(23))
    assert [item.sample for item in items] == samples
    assert values(items) == pytest.approx([2 * red / 255 for red in reds])
    assert [len(batch) for batch in model.batches] == [4, 4, 4, 4, 4, 3]


def test_run_same_samples_equals_model_score(model: ColourModel, picture: Picture) -> None:
    images = [picture(f"{red}.png", red) for red in (0, 80, 200)]
    samples = [Sample(prompt=text, image=image) for image in images for text in ("a", "bcd")]
    direct = model.score(samples)
    assert [item.score for item in ScoringEngine(model, batch_size=2).run(samples)] == direct


def test_run_repeats_under_other_names_are_scored_once(
    model: ColourModel, picture: Picture
) -> None:
    first, copy = picture("first.png", 100), picture("copy.png", 100)
    samples = [Sample(prompt="abc", image=image) for image in (first, copy, first)]
    items = list(ScoringEngine(model).run(samples))
    assert model.num_scored == 1
    assert [item.name for item in items] == [first, copy, first]
    assert values(items) == pytest.approx([300 / 255] * 3)


def test_run_repeats_in_a_later_window_are_scored_once(
    model: ColourModel, picture: Picture
) -> None:
    path = picture("a.png", 51)
    items = list(
        ScoringEngine(model, batch_size=2).run(Sample(prompt="a", image=path) for _ in range(300))
    )
    assert len(items) == 300
    assert model.num_scored == 1
    assert values(items) == pytest.approx([0.2] * 300)


def test_run_more_distinct_than_remembered_still_scores_all(
    model: ColourModel, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "MAX_REMEMBERED", 2)
    path = picture("a.png")
    prompts = ["a", "bb", "ccc", "dddd", "a", "dddd"]
    items = list(ScoringEngine(model).run(Sample(prompt=text, image=path) for text in prompts))
    assert values(items) == pytest.approx([1, 2, 3, 4, 1, 4])
    assert model.num_scored == 5


def test_run_one_image_with_many_prompts_is_decoded_once(
    model: ColourModel, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = count_loads(model, monkeypatch)
    images = [picture("a.png", 10), picture("b.png", 20)]
    prompts = ["x" * size for size in range(1, 9)]
    samples = [Sample(prompt=text, image=image) for text in prompts for image in images]
    items = list(ScoringEngine(model, batch_size=2).run(samples))
    assert sorted(loaded) == sorted(images)
    assert model.num_scored == 16
    assert values(items) == pytest.approx(
        [len(text) * red / 255 for text in prompts for red in (10, 20)]
    )


def test_run_prompts_of_an_image_only_model_are_scored_once(
    model: ColourModel, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.describe(needs_prompt=False)
    loaded = count_loads(model, monkeypatch)
    path = picture("a.png", 51)
    samples = [Sample(prompt=text, image=path) for text in ("", "one", "two")]
    items = list(ScoringEngine(model).run(samples))
    assert values(items) == pytest.approx([0.2] * 3)
    assert (len(loaded), model.num_scored) == (1, 1)


def test_run_bytes_and_pictures_are_scored(model: ColourModel) -> None:
    opened = Image.new("RGB", (3, 3), (255, 0, 0))
    buffer = io.BytesIO()
    opened.save(buffer, format="PNG")
    samples = [
        Sample(prompt="a", image=opened),
        Sample(prompt="a", image=buffer.getvalue(), id="bytes"),
    ]
    items = list(ScoringEngine(model).run(samples))
    assert values(items) == pytest.approx([1, 1])
    assert [item.name for item in items] == ["item 0", "bytes"]


def test_run_bad_items_fail_alone_and_name_their_files(
    model: ColourModel, picture: Picture, tmp_path: Path
) -> None:
    good = picture("good.png", 255)
    for name in ("torn.png", "torn-copy.png"):
        (tmp_path / name).write_bytes(Path(good).read_bytes()[:40])
    names = ["torn.png", "good.png", "absent.png", "torn-copy.png"]
    items = list(
        ScoringEngine(model).run(Sample(prompt="ab", image=str(tmp_path / name)) for name in names)
    )
    assert values(items) == [None, pytest.approx(2), None, None]
    for item, name in zip(items, names, strict=True):
        assert item.name.endswith(name)
        assert item.error is None or f"{name}'" in item.error
    assert "does not exist" in str(items[2].error)


def test_run_unfit_samples_fail_alone(model: ColourModel, picture: Picture) -> None:
    path, other = picture("a.png"), picture("b.png")
    samples = [
        Sample(prompt=" ", image=path),
        Sample(prompt="ok", image=path),
        Sample(prompt="ok", image=path, source_image=other),
    ]
    items = list(ScoringEngine(model).run(samples))
    assert values(items) == [None, pytest.approx(2), None]
    assert "prompt is empty" in str(items[0].error)
    assert "source image was given" in str(items[2].error)


def test_run_nan_weights_every_item_is_an_error(model: ColourModel, picture: Picture) -> None:
    torch.nn.init.constant_(model.weight, math.nan)
    samples = [Sample(prompt="a", image=picture(f"{red}.png", red)) for red in range(5)]
    items = list(ScoringEngine(model, batch_size=2).run(samples))
    assert values(items) == [None] * 5
    assert all("not finite" in str(item.error) for item in items)


def test_run_one_infinite_score_leaves_its_batch_alone(
    model: ColourModel, picture: Picture
) -> None:
    torch.nn.init.constant_(model.weight, 3e38)
    samples = [
        Sample(prompt="a" * size, image=picture(f"{size}.png", 255)) for size in (1, 2, 1, 1)
    ]
    samples[3] = Sample(prompt="a", image=picture("black.png", 0))
    items = list(ScoringEngine(model).run(samples))
    assert [item.error is None for item in items] == [True, False, True, True]


def test_run_row_errors_pass_through_in_place(model: ColourModel, picture: Picture) -> None:
    rows: list[Sample | RowError] = [
        RowError(name="line 1", reason="no JSON"),
        Sample(prompt="a", image=picture("a.png"), id="x"),
        RowError(name="line 3", reason="no image"),
    ]
    items = list(ScoringEngine(model).run(rows, first_index=7))
    assert [item.index for item in items] == [7, 8, 9]
    assert [item.name for item in items] == ["line 1", "x", "line 3"]
    assert [item.error for item in items] == ["no JSON", None, "no image"]
    assert items[0].sample is None


def test_run_no_samples_yields_nothing(model: ColourModel) -> None:
    assert list(ScoringEngine(model).run([])) == []


def test_run_long_stream_reads_and_decodes_only_so_far_ahead(
    model: ColourModel, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[Image.Image]] = []
    most_alive = 0

    def watched(sample: Sample, reader: PictureReader) -> LoadedSample:
        nonlocal most_alive
        loaded = RewardModel.load(model, sample, reader)
        alive.append(weakref.ref(loaded.image))
        most_alive = max(most_alive, sum(ref() is not None for ref in alive))
        return loaded

    # The fastest threads there can be: what is asked for is there at once.
    monkeypatch.setattr(ThreadPoolExecutor, "submit", done_at_once)
    monkeypatch.setattr(model, "load", watched)
    monkeypatch.setattr(model, "preprocess", Forgetful(model))
    num_drawn = 0

    def stream() -> Iterator[Sample]:
        nonlocal num_drawn
        for number in range(300):
            num_drawn += 1
            yield Sample(
                prompt="a", image=picture(f"{number}.png", number % 256, 2 + number // 256)
            )

    ahead = [
        num_drawn - number
        for number, _ in enumerate(ScoringEngine(model, batch_size=4).run(stream()))
    ]
    assert len(ahead) == 300
    assert max(ahead) <= 2 * 64 + 4 * 2
    assert most_alive <= 2 * 4


def test_run_pictures_in_memory_are_let_go_once_scored(
    model: ColourModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "preprocess", Forgetful(model))
    given: list[weakref.ref[Image.Image]] = []

    def stream() -> Iterator[Sample]:
        for number in range(400):
            picture = Image.new("RGB", (2 + number // 256, 2), (number % 256, 0, 0))
            given.append(weakref.ref(picture))
            yield Sample(prompt="a", image=picture)

    most_alive = 0
    for _ in ScoringEngine(model, batch_size=4).run(stream()):
        most_alive = max(most_alive, sum(ref() is not None for ref in given))
    assert len(given) == 400
    assert most_alive <= 3 * 64


def done_at_once(
    pool: ThreadPoolExecutor, work: Callable[..., object], *arguments: object
) -> Future[object]:
    """Stand in for `submit`, without a thread."""
    future: Future[object] = Future()
    try:
        future.set_result(work(*arguments))
    except ImageError as error:
        future.set_exception(error)
    return future


class Forgetful:
    """Preprocess without keeping the pictures, as real models do."""

    def __init__(self, model: ColourModel) -> None:
        self._preprocess = model.preprocess
        self._batches = model.batches

    def __call__(self, samples: list[LoadedSample]) -> object:
        batch = self._preprocess(samples)
        self._batches.clear()
        return batch


def test_run_next_batch_is_decoded_while_the_model_computes(
    model: ColourModel, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [Sample(prompt="a", image=picture(f"{red}.png", red)) for red in range(4)]
    is_loaded = {sample.image: threading.Event() for sample in samples}
    waited: list[bool] = []
    score_batch = model.score_batch

    def watched(sample: Sample, reader: PictureReader) -> LoadedSample:
        is_loaded[sample.image].set()
        return RewardModel.load(model, sample, reader)

    def slow(batch: list[LoadedSample]) -> object:
        if not waited:
            waited.append(is_loaded[samples[1].image].wait(timeout=30))
        return score_batch(batch)

    monkeypatch.setattr(model, "load", watched)
    monkeypatch.setattr(model, "score_batch", slow)
    assert len(list(ScoringEngine(model, batch_size=1).run(samples))) == 4
    assert waited == [True]


def test_run_abandoned_midway_ends_its_threads(model: ColourModel, picture: Picture) -> None:
    samples = (Sample(prompt="a", image=picture(f"{red}.png", red)) for red in range(200))
    items = ScoringEngine(model, batch_size=2, num_workers=3).run(samples)
    assert next(items).index == 0
    assert any(thread.name.startswith("decode") for thread in threading.enumerate())
    assert isinstance(items, Iterator)
    items.close()  # type: ignore[attr-defined]
    assert not any(thread.name.startswith("decode") for thread in threading.enumerate())


def test_run_batch_beyond_the_devices_memory_says_so(
    model: ColourModel, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(batch: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model, "score_batch", full)
    with pytest.raises(UsageError, match="batch of 8 images does not fit"):
        list(ScoringEngine(model, batch_size=8).run([Sample(prompt="a", image=picture("a.png"))]))


@pytest.mark.parametrize("setting", ["batch_size", "num_workers"])
def test_engine_zero_size_is_refused(model: ColourModel, setting: str) -> None:
    with pytest.raises(UsageError, match=f"{setting} is 0"):
        ScoringEngine(model, **{setting: 0})


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    places=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=40),
    batch_size=st.integers(1, 7),
)
def test_run_any_mixture_matches_the_formula(
    model: ColourModel, picture: Picture, places: list[tuple[int, int]], batch_size: int
) -> None:
    # Image 0 is missing and prompt 0 is empty; the rest has a score.
    paths = ["absent.png"] + [picture(f"{number}.png", 40 * number) for number in range(1, 6)]
    samples = [Sample(prompt="a" * size, image=paths[number]) for number, size in places]
    model.batches.clear()
    items = list(ScoringEngine(model, batch_size=batch_size).run(samples))
    expected = [
        pytest.approx(size * 40 * number / 255) if number and size else None
        for number, size in places
    ]
    assert values(items) == expected
    assert model.num_scored == len({place for place in places if all(place)})
