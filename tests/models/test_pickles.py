"""Pickles: plain ones are converted, crafted ones are refused and leave no trace."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from visreward.core.errors import UnsafePickleError, WeightsError
from visreward.models import pickles
from visreward.models.pickles import convert_pickle


class Call:
    """Pickles into a call."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.function, self.arguments


def touch(marker: Path) -> Call:
    return Call(os.system, f"touch '{marker}'")


def write_raw(path: Path, marker: Path) -> None:
    path.write_bytes(pickle.dumps({"weight": touch(marker)}, protocol=2))


def write_zip(path: Path, marker: Path) -> None:
    torch.save({"state_dict": {"weight": torch.ones(2)}, "epoch": touch(marker)}, path)


def write_older_layout(path: Path, marker: Path) -> None:
    weights = {"weight": torch.ones(2), "extra": touch(marker)}
    torch.save(weights, path, _use_new_zipfile_serialization=False)


def write_eval(path: Path, marker: Path) -> None:
    call = Call(eval, f"open({str(marker)!r}, 'w')")
    torch.save(OrderedDict(weight=torch.ones(2), extra=call), path)


def write_process(path: Path, marker: Path) -> None:
    torch.save({"weight": Call(subprocess.Popen, ["touch", str(marker)])}, path)


def write_hidden_in_zip(path: Path, marker: Path) -> None:
    """Put a crafted pickle in the place of a sound one inside torch's zip."""
    sound = io.BytesIO()
    torch.save({"weight": torch.ones(2)}, sound)
    crafted = pickle.dumps({"weight": touch(marker)}, protocol=2)
    with zipfile.ZipFile(sound) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            is_pickle = entry.filename.endswith("data.pkl")
            target.writestr(entry, crafted if is_pickle else source.read(entry))


def write_module(path: Path, marker: Path) -> None:
    torch.save({"weight": torch.nn.Linear(1, 1), "note": str(marker)}, path)


CRAFTED = [
    write_raw,
    write_zip,
    write_older_layout,
    write_eval,
    write_process,
    write_hidden_in_zip,
    write_module,
]


@pytest.mark.parametrize("write", CRAFTED, ids=lambda write: write.__name__)
def test_convert_crafted_pickle_is_refused_and_leaves_no_trace(
    write: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    marker, source = tmp_path / "marker", tmp_path / "weights.bin"
    write(source, marker)
    before = set(tmp_path.iterdir())
    with pytest.raises(UnsafePickleError, match=r"weights\.bin was not loaded"):
        convert_pickle(source, output=tmp_path / "out.safetensors")
    assert set(tmp_path.iterdir()) == before


def test_convert_crafted_pickle_runs_when_really_unpickled(tmp_path: Path) -> None:
    # The markers above would prove nothing if the crafted calls could not work at all.
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps(touch(marker)))
    assert marker.exists()


def test_convert_nested_half_weights_keeps_bits_and_names_the_rest(tmp_path: Path) -> None:
    weights = {"a": torch.randn(3, 4).half(), "b": torch.arange(5)}
    torch.save({"state_dict": weights, "epoch": 7, "name": "x"}, tmp_path / "w.pt")
    left_out = convert_pickle(tmp_path / "w.pt", output=tmp_path / "out.safetensors")
    converted = load_file(tmp_path / "out.safetensors")
    assert left_out == ["epoch", "name"]
    assert converted.keys() == weights.keys()
    assert all(torch.equal(converted[name], value) for name, value in weights.items())
    assert converted["a"].dtype == torch.float16


def test_convert_older_layout_with_shared_and_strided_tensors_keeps_values(
    tmp_path: Path,
) -> None:
    whole = torch.randn(4, 6)
    weights = {"whole": whole, "part": whole[1:], "turned": whole.T}
    torch.save(weights, tmp_path / "w.bin", _use_new_zipfile_serialization=False)
    assert convert_pickle(tmp_path / "w.bin", output=tmp_path / "out.safetensors") == []
    converted = load_file(tmp_path / "out.safetensors")
    assert all(torch.equal(converted[name], value) for name, value in weights.items())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"plain text, no weights", "holds something other than tensors"),
        (b"", "holds no weights that can be read"),
        ([torch.ones(2)], "expected a state dict, found list"),
        ({"weight": 3}, "the entry 'weight' is a int"),
        ({"weight": torch.ones(2).to_sparse()}, "is not a plain one"),
    ],
)
def test_convert_file_without_weights_says_what_it_is(
    content: object, message: str, tmp_path: Path
) -> None:
    if isinstance(content, bytes):
        (tmp_path / "w.bin").write_bytes(content)
    else:
        torch.save(content, tmp_path / "w.bin")
    with pytest.raises(WeightsError, match=message):
        convert_pickle(tmp_path / "w.bin", output=tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_convert_slow_reading_is_stopped(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / "w.bin")
    with pytest.raises(WeightsError, match="took longer than"):
        convert_pickle(tmp_path / "w.bin", output=tmp_path / "out.safetensors", time_limit_s=0.01)


def test_convert_child_gets_no_secrets_and_no_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        seen.update(options, command=command)
        return subprocess.CompletedProcess(command, 0, stdout='{"left_out": []}\n', stderr="")

    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setattr(subprocess, "run", run)
    convert_pickle(tmp_path / "w.bin", output=tmp_path / "out.safetensors")
    assert "HF_TOKEN" not in seen["env"]
    assert seen["stdin"] == subprocess.DEVNULL
    assert seen["command"][0] == sys.executable


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("socket.connect", (None, None)),
        ("subprocess.Popen", ("sh",)),
        ("os.system", (b"true",)),
        ("os.remove", ("file",)),
        ("open", ("file", "w", os.O_WRONLY | os.O_CREAT)),
        ("open", ("file", "r+", os.O_RDWR)),
    ],
)
def test_child_guard_network_processes_and_writing_are_refused(
    event: str, arguments: tuple[object, ...]
) -> None:
    with pytest.raises(UnsafePickleError, match="tried"):
        pickles._refuse(event, arguments)


def test_child_guard_reading_is_allowed() -> None:
    pickles._refuse("open", ("file", "r", os.O_RDONLY))
    pickles._refuse("import", ("torch", None, None, None, None))
