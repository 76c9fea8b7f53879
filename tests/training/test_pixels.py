"""The pixel cache: the same pixels as a direct read, decoded once, rebuilt when files change."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from visreward.core.errors import UsageError
from visreward.core.images import AS_RELEASED, UPRIGHT
from visreward.models.clip.inputs import PixelInputs
from visreward.models.vlm.pixels import PatchInputs, PixelBudget
from visreward.training.data import pixels as module
from visreward.training.data.pixels import PixelReader, fingerprint, pixel_cache

SIZE = 12


def make_processor(size: int = SIZE) -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}
    )


def make_reader(size: int = SIZE) -> PixelReader:
    return PixelReader(inputs=PixelInputs(make_processor(size)), rule=UPRIGHT)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Return eight gradients of unequal shapes."""
    found = []
    for number in range(8):
        gradient = Image.linear_gradient("L").resize((20 + number, 31)).convert("RGB")
        found.append(tmp_path / f"{number}.png")
        gradient.rotate(40 * number).save(found[-1])
    return found


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the list in which each decoded file is written down."""
    read = PixelReader.read
    seen: list[Path] = []

    def counted(self: PixelReader, path: Path) -> Tensor:
        seen.append(path)
        return read(self, path)

    monkeypatch.setattr(PixelReader, "read", counted)
    return seen


def test_pixel_cache_equals_a_direct_read(paths: list[Path], tmp_path: Path) -> None:
    reader = make_reader()
    cache = pixel_cache(paths, reader, folder=tmp_path / "cache")
    assert len(cache) == 8
    assert cache.failed == {}
    for number, path in enumerate(paths):
        assert cache[number].dtype == torch.uint8
        assert torch.equal(cache[number], reader.read(path))


def test_pixel_cache_of_a_vision_language_model_keeps_each_image_its_own_shape(
    paths: list[Path], tmp_path: Path
) -> None:
    budget = PixelBudget(min_pixels=28 * 28, max_pixels=84 * 84)
    inputs = PatchInputs(Qwen2VLImageProcessorPil(), budgets=[budget])
    Image.linear_gradient("L").resize((160, 40)).save(paths[2])
    paths[4].write_bytes(b"no image")
    reader = PixelReader(inputs=inputs, rule=UPRIGHT)
    cache = pixel_cache(paths, reader, folder=tmp_path / "cache")
    assert list(cache.failed) == [4]
    readable = [number for number in range(8) if number != 4]
    assert all(torch.equal(cache[number], reader.read(paths[number])) for number in readable)
    assert cache[2].shape != cache[3].shape
    wider = PatchInputs(inputs.processor, budgets=[replace(budget, max_pixels=100 * 100)])
    assert fingerprint(paths, reader) != fingerprint(paths, PixelReader(inputs=wider, rule=UPRIGHT))


def test_pixel_cache_of_many_files_is_read_by_workers_with_the_same_result(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 3)
    progress: list[tuple[int, int]] = []
    cache = pixel_cache(
        paths,
        make_reader(),
        folder=tmp_path / "cache",
        progress=lambda done, total: progress.append((done, total)),
    )
    assert progress == [(3, 8), (6, 8), (8, 8)]
    assert all(torch.equal(cache[n], make_reader().read(path)) for n, path in enumerate(paths))


def test_pixel_cache_second_call_decodes_nothing(
    paths: list[Path], tmp_path: Path, decoded: list[Path]
) -> None:
    first = pixel_cache(paths, make_reader(), folder=tmp_path / "cache")
    assert decoded == paths
    second = pixel_cache(paths, make_reader(), folder=tmp_path / "cache")
    assert decoded == paths
    assert all(torch.equal(first[number], second[number]) for number in range(8))


def test_pixel_cache_changed_file_is_decoded_again(paths: list[Path], tmp_path: Path) -> None:
    before = pixel_cache(paths, make_reader(), folder=tmp_path / "cache")
    Image.new("RGB", (20, 20), "white").save(paths[3])
    after = pixel_cache(paths, make_reader(), folder=tmp_path / "cache")
    assert after[3].min() == 255
    assert not torch.equal(before[3], after[3])
    assert torch.equal(before[4], after[4])


class Case(NamedTuple):
    name: str
    reader: Callable[[], PixelReader]


CASES = (
    Case("size", lambda: make_reader(SIZE + 4)),
    Case("rule", lambda: PixelReader(inputs=make_reader().inputs, rule=AS_RELEASED)),
    Case(
        "fit",
        lambda: PixelReader(inputs=PixelInputs(make_processor(), fit="pad"), rule=UPRIGHT),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fingerprint_depends_on_how_files_are_read(case: Case, paths: list[Path]) -> None:
    assert fingerprint(paths, case.reader()) != fingerprint(paths, make_reader())


def test_fingerprint_depends_on_order_time_and_absence(paths: list[Path]) -> None:
    reader = make_reader()
    known = fingerprint(paths, reader)
    assert known == fingerprint(list(paths), make_reader())
    assert known != fingerprint(paths[::-1], reader)
    os.utime(paths[0], ns=(1, 1))
    touched = fingerprint(paths, reader)
    assert touched != known
    paths[0].unlink()
    assert fingerprint(paths, reader) not in (known, touched)


def test_pixel_cache_unreadable_files_are_recorded_and_kept_on_disk(
    paths: list[Path], tmp_path: Path
) -> None:
    paths[1].write_bytes(paths[1].read_bytes()[:60])
    paths[5].unlink()
    for _ in range(2):
        cache = pixel_cache(paths, make_reader(), folder=tmp_path / "cache")
        assert sorted(cache.failed) == [1, 5]
        assert "1.png" in cache.failed[1]
        assert "5.png" in cache.failed[5]
        assert torch.equal(cache[0], make_reader().read(paths[0]))


def test_pixel_cache_concurrent_builders_share_one_build(
    paths: list[Path], tmp_path: Path, decoded: list[Path]
) -> None:
    with ThreadPoolExecutor(4) as threads:
        calls = [
            threads.submit(pixel_cache, paths, make_reader(), folder=tmp_path / "cache")
            for _ in range(4)
        ]
        caches = [call.result() for call in calls]
    assert sorted(decoded) == sorted(paths)
    for number in range(8):
        assert all(torch.equal(cache[number], caches[0][number]) for cache in caches)
    assert [entry.name for entry in (tmp_path / "cache").iterdir() if entry.is_dir()] == [
        f"pixels-{fingerprint(paths, make_reader())}"
    ]


def test_pixel_cache_left_half_built_by_a_killed_process_is_built_anew(
    paths: list[Path], tmp_path: Path
) -> None:
    whole = pixel_cache(paths, make_reader(), folder=tmp_path / "cache")
    expected = [whole[number] for number in range(8)]
    place = tmp_path / "cache" / f"pixels-{fingerprint(paths, make_reader())}"
    shutil.rmtree(place)
    half = place.with_name(f"{place.name}.building")
    half.mkdir()
    (half / "pixels.bin").write_bytes(b"half")
    again = pixel_cache(paths, make_reader(), folder=tmp_path / "cache")
    assert all(torch.equal(again[number], pixels) for number, pixels in enumerate(expected))
    assert not half.exists()


def test_pixel_cache_without_room_on_disk_says_what_to_do(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        free: int

    needed = 8 * 3 * SIZE * SIZE
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=needed - 1))
    with pytest.raises(UsageError, match=r"8 images .* GB are free .* data\.cache_pixels=false"):
        pixel_cache(paths, make_reader(), folder=tmp_path / "cache")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=needed))
    assert len(pixel_cache(paths, make_reader(), folder=tmp_path / "cache")) == 8
