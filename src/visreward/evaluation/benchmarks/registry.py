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
    "genai-bench-edit": "genai_bench_edit:GenAIBenchEdit",
    "aurora-bench": "aurora_bench:AuroraBench",
    "aurora-bench-pointwise": "aurora_bench:AuroraBenchPointwise",
    "imagenhub": "imagenhub:ImagenHub",
    "hpdv3": "hpdv3:HPDv3",
    "hpdv2": "hpdv2:HPDv2",
    "pick-a-pic": "pick_a_pic:PickAPic",
    "imagereward": "imagereward:ImageReward",
    "model-ranking": "model_ranking:ModelRanking",
    "mmrb2": "mmrb2:MMRB2",
    "editscore-bench": "editscore_bench:EditScoreBench",
}.items():
    BENCHMARKS.register(_name, f"{_HERE}.{_target}")


def find_benchmark(name: str) -> Benchmark:
    """Return the benchmark of a name.

    Raises:
        UnknownNameError: if there is none; it suggests the closest name.
    """
    return BENCHMARKS.get(name)()
