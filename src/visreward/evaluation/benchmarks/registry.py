"""The benchmarks by name; each module is imported when its benchmark is asked for."""

from __future__ import annotations

from typing import Final

from visreward.core.registry import Registry
from visreward.evaluation.benchmarks.base import Benchmark

LIST_WITH: Final = "visreward bench list"

BENCHMARKS: Final[Registry[type[Benchmark]]] = Registry("benchmark", list_with=LIST_WITH)

_HERE: Final = "visreward.evaluation.benchmarks"

for _name, _target in {
    "editreward-bench": "editreward_bench:EditRewardBench",
    "pick-high": "pick_high:PickHighBench",
    "scenes": "scenes:ScenesBench",
    "scenes-edit": "scenes_edit:ScenesEditBench",
}.items():
    BENCHMARKS.register(_name, f"{_HERE}.{_target}")


def find_benchmark(name: str) -> Benchmark:
    """Return the benchmark of a name.

    Raises:
        UnknownNameError: if there is none; it suggests the closest name.
    """
    return BENCHMARKS.get(name)()
