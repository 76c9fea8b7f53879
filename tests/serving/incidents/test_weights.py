"""Incidents 1 to 5 and 20: model files that run code, or break what reads them."""

from __future__ import annotations

import json
import random
import re
import resource
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import visreward
from visreward.core.errors import UnsafePickleError, UsageError, VisrewardError, WeightsError
from visreward.models.catalog import BUILTIN_FOLDER
from visreward.models.pickles import convert_pickle
from visreward.models.tensors import fill_from_file
from visreward.training.checkpoints.checkpoint import Checkpoint, read_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from tests.serving.incidents.conftest import Poison

EVIL_MODULE = "from pathlib import Path\nPath({canary!r}).touch()\nclass Evil: pass\n"


def test_incident_01_crafted_checkpoint_is_refused(
    poison: Poison, canary: Path, tmp_path: Path
) -> None:
    for is_zip in (True, False):
        source = tmp_path / "weights.pth"
        torch.save(
            {"state_dict": {"weight": torch.ones(2)}, "extra": poison},
            source,
            _use_new_zipfile_serialization=is_zip,
        )
        with pytest.raises(UnsafePickleError):
            convert_pickle(source, output=tmp_path / "out.safetensors")
        assert not canary.exists()
        assert not (tmp_path / "out.safetensors").exists()
    torch.load(source, weights_only=False)
    assert canary.exists()
    canary.unlink()


def test_incident_02_scoring_never_opens_a_pickle(
    poison: Poison, canary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(BUILTIN_FOLDER / "hp-mini", folder)
    for name in ("pytorch_model.bin", "model.pt", "model.pth", "training_args.bin"):
        torch.save({"weight": poison}, folder / name)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a pickle was opened in the process that scores")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr("pickle.load", refuse)
    assert visreward.load_model(folder).kind == "hp"
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model\.safetensors is missing"):
        visreward.load_model(folder)


@pytest.mark.parametrize(
    "name", ["rng_state.pth", "optimizer.pt", "scheduler.pt", "training_args.bin", "state.pkl"]
)
@pytest.mark.parametrize("is_in_checkpoint", [True, False])
def test_incident_03_poisoned_resume_folder_is_refused(
    name: str, is_in_checkpoint: bool, poison: Poison, canary: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    save_checkpoint(Checkpoint(weights={"weight": torch.ones(2)}, step=1), run)
    place = run / "checkpoints" / "step-00000001" if is_in_checkpoint else run
    torch.save({"state": poison}, place / name)
    with pytest.raises(UnsafePickleError, match=re.escape(name)):
        read_checkpoint(run, pytest.fail)
    assert not canary.exists()


@pytest.fixture
def poisoned(tmp_path: Path, canary: Path) -> Callable[..., Path]:
    """Return what copies a shipped model with its config.json changed and code beside it."""

    def make(name: str, change: Callable[[dict[str, Any]], None]) -> Path:
        folder = tmp_path / "model"
        shutil.copytree(BUILTIN_FOLDER / name, folder)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        change(config)
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        for file in ("modeling_evil.py", "configuration_evil.py", "__init__.py", "conftest.py"):
            text = EVIL_MODULE.format(canary=str(canary))
            (folder / file).write_text(text, encoding="utf-8")
        return folder

    return make


AUTO_MAP = {"AutoConfig": "configuration_evil.Evil", "AutoModel": "modeling_evil.Evil"}
CHANGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "auto_map": lambda config: config.update(auto_map=AUTO_MAP),
    "auto_map of the model": lambda config: config["config"].update(auto_map=AUTO_MAP),
    "auto_map of the facts": lambda config: config["facts"].update(auto_map=AUTO_MAP),
    "auto_map of the backbone": lambda config: config["config"]["backbone"].update(
        auto_map=AUTO_MAP
    ),
    "kernels": lambda config: config.update(_attn_implementation="evil/kernel"),
    "kernels of the backbone": lambda config: config["config"]["backbone"].update(
        _attn_implementation="evil/kernel"
    ),
    "kernels of the backbone by their other name": lambda config: config["config"][
        "backbone"
    ].update(attn_implementation="evil/kernel"),
    "kernels of the backbone in a map": lambda config: config["config"]["backbone"].update(
        _attn_implementation={"": "evil/kernel"}
    ),
    "kernels of experts": lambda config: config["config"]["backbone"].update(
        experts_implementation="evil/kernel"
    ),
    "kernels deeper in the backbone": lambda config: (
        config["config"]["backbone"]
        .setdefault("text_config", {})
        .update(attn_implementation="evil/kernel")
    ),
    "trust": lambda config: config.update(trust_remote_code=True),
    "kind": lambda config: config.update(model="modeling_evil.Evil"),
}


@pytest.mark.parametrize("name", ["hp-mini", "editreward-mini"])
@pytest.mark.parametrize("change", CHANGES)
def test_incident_04_config_with_unknown_keys_is_refused(
    poisoned: Callable[..., Path], name: str, change: str
) -> None:
    folder = poisoned(name, CHANGES[change])
    with pytest.raises(VisrewardError, match=r"unknown key|Unknown|does not describe"):
        visreward.load_model(folder)


@pytest.mark.parametrize("name", ["ict-mini", "editreward-mini"])
def test_incident_05_code_beside_a_model_and_in_its_processors_never_runs(
    poisoned: Callable[..., Path], canary: Path, name: str
) -> None:
    folder = poisoned(name, lambda _: None)
    for file in ("tokenizer_config.json", "preprocessor_config.json"):
        values = json.loads((folder / file).read_text(encoding="utf-8"))
        values["auto_map"] = {
            "AutoTokenizer": ["modeling_evil.Evil", "modeling_evil.Evil"],
            "AutoImageProcessor": "modeling_evil.Evil",
        }
        (folder / file).write_text(json.dumps(values), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(
        f"{{{{ cycler.__init__.__globals__.os.system('touch {canary}') }}}}", encoding="utf-8"
    )
    model = visreward.load_model(folder)
    picture = Image.new("RGB", (64, 64))
    if not model.facts.needs_source:
        assert model.score([visreward.Sample(prompt="x", image=picture)])
        return
    with pytest.raises(UsageError, match="chat template cannot be used"):
        model.score([visreward.Sample(prompt="x", image=picture, source_image=picture)])


def test_incident_05_no_source_trusts_remote_code(project_dir: Path) -> None:
    banned = re.compile(
        r"trust_remote_code\s*=\s*(?!False)|get_class_from_dynamic_module|AutoModel\b|AutoConfig\b"
        r"|AutoTokenizer\b|AutoProcessor\b|AutoImageProcessor\b|hf_hub_download\([^)]*\.py"
    )
    found = [
        f"{path}: {line.strip()}"
        for path in sorted((project_dir / "src").rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if banned.search(line)
    ]
    assert found == []


HEADER = {"weight": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}}


def packed(header: object, data: bytes = bytes(64), *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(**changes: Any) -> dict[str, Any]:
    return {"weight": {**HEADER["weight"], **changes}}


def malformed() -> Iterator[bytes]:
    """Yield damaged files: made by hand, cut short, and with one byte of the header changed."""
    yield from (b"", b"\0", bytes(8), bytes(4096), b"\x80\x04N.", b"PK\3\4" + bytes(60))
    for length in (0, 1, 7, 2**20, 100_000_001, 2**31, 2**32, 2**63, 2**64 - 1):
        yield packed(HEADER, length=length)
    for text in (b"[]", b"null", b"{", b"{}}", b"\xff" * 40, b'{"weight"', b"[" * 5000, b'"a"'):
        yield packed(text)
    for offsets in ([0, 63], [0, 65], [1, 65], [64, 0], [0, 2**63], [0], [0, 0], [-1, 63], "x"):
        yield packed(tensor(data_offsets=offsets))
    for shape in ([4, 5], [2**32, 2**32], [2**64], [2**63, 2], [-4, -4], [4.0, 4], "x", None, []):
        yield packed(tensor(shape=shape))
    for dtype in ("F33", "", "f32", "F64", "I8", "OBJECT", 32, None):
        yield packed(tensor(dtype=dtype))
    yield packed(HEADER | {"__metadata__": {"a": 1}})
    yield packed(HEADER | {"__metadata__": ["a"]})
    yield packed(HEADER | {"other": HEADER["weight"]})
    yield packed(HEADER | {"bias": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}})
    yield packed(HEADER | {"bias": {"dtype": "F32", "shape": [4], "data_offsets": [48, 64]}})
    yield packed(HEADER, data=bytes(64) + b"more")
    yield packed({})
    yield packed({"other": HEADER["weight"]})
    yield packed(HEADER, data=b"\xff" * 64)
    whole = packed(HEADER)
    yield from (whole[:size] for size in range(1, len(whole) - 1, 4))
    rng = random.Random(20)
    for _ in range(40):
        place = rng.randrange(9, len(whole) - 64)
        yield whole[:place] + bytes([rng.randrange(128, 256)]) + whole[place + 1 :]


def test_incident_20_malformed_weights_are_typed_errors(tmp_path: Path) -> None:
    files = list(malformed())
    assert len(files) >= 100
    path = tmp_path / "model.safetensors"
    model = nn.Linear(4, 4, bias=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for content in files:
        path.write_bytes(content)
        with pytest.raises(WeightsError):
            fill_from_file(model, path, device="cpu", dtype=torch.float32)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200_000  # kilobytes
    save_file({"weight": torch.ones(4, 4)}, path)
    fill_from_file(model, path, device="cpu", dtype=torch.float32)
    assert bool((model.weight == 1).all())


def test_incident_20_model_folder_with_malformed_weights_does_not_load(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(BUILTIN_FOLDER / "hp-mini", folder)
    whole = (folder / "model.safetensors").read_bytes()
    for content in (whole[:1000], whole[:-4], struct.pack("<Q", 2**40) + whole[8:], b""):
        (folder / "model.safetensors").write_bytes(content)
        with pytest.raises(WeightsError, match=r"model\.safetensors"):
            visreward.load_model(folder)
