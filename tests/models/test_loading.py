from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest
import torch

from visreward.core.errors import ModelNotFoundError, UnknownNameError, UsageError
from visreward.core.types import Sample
from visreward.models import loading
from visreward.models.clip.hp import ICTHP
from visreward.models.clip.ict import ICT
from visreward.models.devices import find_device, find_dtype, is_native
from visreward.models.loading import load_model
from visreward.models.weights import write_parts


@pytest.fixture
def builtin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder in the place of the built-in models."""
    monkeypatch.setattr(loading, "BUILTIN_FOLDER", tmp_path)
    return tmp_path


def test_load_native_folder_by_text_and_by_path(
    ict: ICT, samples: list[Sample], tmp_path: Path
) -> None:
    ict.save(tmp_path / "model")
    expected = [score.value for score in ict.score(samples)]
    for place in (tmp_path / "model", str(tmp_path / "model")):
        assert [score.value for score in load_model(place).score(samples)] == expected


def test_load_dtype_and_batch_invariance_reach_the_model(ict: ICT, tmp_path: Path) -> None:
    ict.save(tmp_path)
    model = load_model(tmp_path, dtype="bfloat16", batch_invariant=True)
    assert isinstance(model, ICT)
    assert model.backbone.clip.visual_projection.weight.dtype == torch.bfloat16
    assert model.batch_invariant


def test_load_builtin_of_parts_finds_its_siblings(
    ict_hp: ICTHP, samples: list[Sample], builtin: Path
) -> None:
    ict_hp.ict.save(builtin / "ict-mini")
    ict_hp.hp.save(builtin / "hp-mini")
    (builtin / "ict-hp-mini").mkdir()
    parts = {"ict": "../ict-mini", "hp": "../hp-mini"}
    write_parts(ict_hp.facts, builtin / "ict-hp-mini", kind="ict-hp", parts=parts)
    got = load_model("ict-hp-mini").score(samples)
    assert [score.value for score in got] == [score.value for score in ict_hp.score(samples)]


def test_load_missing_builtin_says_how_to_make_it(builtin: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no hp-mini in .*make builtin"):
        load_model("hp-mini")


def test_load_builtin_of_parts_names_the_missing_part(ict_hp: ICTHP, builtin: Path) -> None:
    ict_hp.ict.save(builtin / "ict-mini")
    (builtin / "ict-hp-mini").mkdir()
    parts = {"ict": "../ict-mini", "hp": "../hp-mini"}
    write_parts(ict_hp.facts, builtin / "ict-hp-mini", kind="ict-hp", parts=parts)
    with pytest.raises(ModelNotFoundError, match="no hp-mini in"):
        load_model("ict-hp-mini")


def test_load_misspelt_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'ict-hp-mini'"):
        load_model("ict_hp_mini")


def test_load_hub_name_says_what_to_write() -> None:
    with pytest.raises(UnknownNameError, match="Load it as 'pickscore'"):
        load_model("yuvalkirstain/PickScore_v1")


@pytest.mark.parametrize("as_path", [True, False])
def test_load_missing_folder_is_named(as_path: bool, tmp_path: Path) -> None:
    place = tmp_path / "nothing"
    with pytest.raises(ModelNotFoundError, match=f"no folder {place}"):
        load_model(place if as_path else str(place))


def test_load_path_object_is_never_taken_for_a_name() -> None:
    with pytest.raises(ModelNotFoundError, match="There is no folder ict-hp-mini"):
        load_model(Path("ict-hp-mini"))


@pytest.mark.parametrize("name", ["hp-mini", "."])
def test_load_revision_of_a_model_without_one_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="has no hub revisions"):
        load_model(name, revision="main")


def test_load_revision_of_parts_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISREWARD_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match="made of ict and hp"):
        load_model("ict-hp", revision="v1")


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda", "Device 'cuda' is not there: .* 0 CUDA device"),
        ("cuda:0", "Device 'cuda:0' is not there"),
        ("mps", "Device 'mps' is not there"),
        ("tpu", "Unknown device 'tpu'. Choose one of: cpu, cuda, cuda:N, mps, auto"),
        ("cuda:x", "Unknown device"),
    ],
)
def test_device_that_is_absent_or_unknown_is_refused_before_loading(
    device: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match=message):
        load_model("no-such-model", device=device)


@pytest.mark.parametrize(
    ("num_cuda", "has_mps", "expected"),
    [(0, False, "cpu"), (0, True, "mps"), (1, True, "cuda:0")],
)
def test_device_auto_takes_the_best_that_is_there(
    num_cuda: int, has_mps: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: num_cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)
    assert str(find_device("auto")) == expected


def test_device_number_selects_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(UsageError, match="sees 2 CUDA"):
        find_device("cuda:2")


def test_dtype_unknown_name_is_refused() -> None:
    assert find_dtype("float16") == torch.float16
    with pytest.raises(UsageError, match=r"Unknown dtype 'fp8'\. Choose one of: float32, bfloat16"):
        find_dtype("fp8")


@pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason="x86 flags")
def test_is_native_on_a_cpu_agrees_with_its_instructions() -> None:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("flags")[2].split("\n")[0]
    cpu = torch.device("cpu")
    assert is_native(torch.float32, cpu)
    assert is_native(torch.bfloat16, cpu) == (
        {"avx512bw", "avx512vl", "avx512dq"} <= {*flags.split()}
    )
