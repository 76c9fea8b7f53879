"""How the cores are divided among batches that are computed at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import torch

from visreward.models.base import RewardModel
from visreward.models.loading import load_model
from visreward.models.streams import MAX_STREAMS, Streams


@pytest.fixture
def model() -> RewardModel:
    return load_model("hp-mini")


@pytest.fixture(autouse=True)
def six_cores() -> Iterator[None]:
    """Let torch have six cores, whatever the machine has, and its own again after each test."""
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("cores", "num"), [(1, 1), (2, 2), (3, 3), (6, 4), (64, MAX_STREAMS)])
def test_a_cpu_has_as_many_streams_as_cores_up_to_a_few(
    model: RewardModel, cores: int, num: int
) -> None:
    torch.set_num_threads(cores)
    assert Streams(model).num == num


def test_a_model_whose_bits_must_not_change_has_one_stream_with_all_cores() -> None:
    streams = Streams(load_model("hp-mini", batch_invariant=True))
    assert streams.num == 1
    with streams.one():
        assert torch.get_num_threads() == 6


def test_another_device_has_one_stream(model: RewardModel) -> None:
    assert Streams(model.to("meta")).num == 1


def test_streams_divide_the_cores_and_give_them_back(model: RewardModel) -> None:
    streams = Streams(model)
    shares = []
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(streams.one())
            shares.append(torch.get_num_threads())
    assert shares == [6, 3, 2, 1]
    with pytest.raises(ValueError, match="any"), streams.one():
        raise ValueError("any")
    with streams.one():
        assert torch.get_num_threads() == 6


def test_a_stream_changes_the_threads_of_its_own_thread_only(model: RewardModel) -> None:
    streams = Streams(model)
    found: list[int] = []

    def compute() -> None:
        with streams.one():
            found.append(torch.get_num_threads())

    with streams.one():
        threads = [threading.Thread(target=compute) for _ in range(2)]
        for thread in threads:
            thread.start()
            thread.join()
        assert torch.get_num_threads() == 6
    assert found == [3, 3]
    later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert found[-1] == 6
