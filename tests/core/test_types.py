"""The records: what they refuse, and that nobody changes them behind one's back."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visreward.core.errors import DataError
from visreward.core.types import PreferenceGroup, PreferencePair, Sample, Score

if TYPE_CHECKING:
    from tests.core.conftest import RunPython

RECORDS: tuple[Any, ...] = (
    Sample(prompt="a red cube", image="a.png"),
    PreferencePair(prompt="a red cube", chosen="a.png", rejected="b.png"),
    PreferenceGroup(prompt="a red cube", images=("a.png", "b.png"), ranks=(1, 2)),
    Score(value=0.5),
)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_record_cannot_be_changed_or_extended(record: Any) -> None:
    field = dataclasses.fields(record)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, field, "another")
    assert not hasattr(record, "__dict__")


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_record_takes_its_fields_by_name_only(record: Any) -> None:
    values = [getattr(record, field.name) for field in dataclasses.fields(record)]
    with pytest.raises(TypeError, match="positional"):
        type(record)(*values)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_record_equals_another_with_the_same_fields(record: Any) -> None:
    assert dataclasses.replace(record) == record


def test_sample_without_source_image_and_id_has_neither() -> None:
    sample = Sample(prompt="a red cube", image=b"...")
    assert sample.source_image is None
    assert sample.id is None


def test_score_of_one_dimension_has_empty_dimensions_of_its_own() -> None:
    one, other = Score(value=1.0), Score(value=1.0)
    assert one.sigma is None
    assert dict(one.dimensions) == {}
    assert one.dimensions is not other.dimensions


def test_preference_group_with_fewer_ranks_than_images_is_refused() -> None:
    with pytest.raises(DataError, match=r"Group 'row 3' has 3 images but 2 ranks"):
        PreferenceGroup(prompt="p", images=("a", "b", "c"), ranks=(1, 2), id="row 3")


@pytest.mark.parametrize("num_images", [0, 1])
def test_preference_group_of_less_than_two_images_is_refused(num_images: int) -> None:
    with pytest.raises(DataError, match=rf"has {num_images} image\(s\)"):
        PreferenceGroup(prompt="p", images=("a",) * num_images, ranks=(1,) * num_images)


@pytest.mark.parametrize("rank", [0, -1])
def test_preference_group_with_rank_below_one_is_refused(rank: int) -> None:
    with pytest.raises(DataError, match=f"has the rank {rank}"):
        PreferenceGroup(prompt="p", images=("a", "b"), ranks=(1, rank))


@given(ranks=st.lists(st.integers(1, 9), min_size=2, max_size=9))
def test_preference_group_with_any_ranks_from_one_keeps_order_and_ties(ranks: list[int]) -> None:
    images = tuple(f"{number}.png" for number in range(len(ranks)))
    group = PreferenceGroup(prompt="p", images=images, ranks=tuple(ranks))
    assert list(zip(images, ranks, strict=True)) == list(
        zip(group.images, group.ranks, strict=True)
    )


def test_core_imports_no_torch_and_types_no_pillow(run_python: RunPython) -> None:
    code = (
        "import sys, visreward.core.types, visreward.core.errors, visreward.core.registry;"
        "print({'torch', 'transformers', 'numpy', 'PIL'} & set(sys.modules))"
    )
    assert run_python(code).strip() == "set()"
