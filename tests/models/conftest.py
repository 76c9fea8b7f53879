"""A tiny CLIP, tiny made-up releases in every layout, and a hub on this machine's loopback."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from visreward.core.types import Sample
from visreward.models.catalog import catalog
from visreward.models.clip.backbone import CLIPBackbone, CLIPBackboneConfig
from visreward.models.clip.hp import HP, ICTHP
from visreward.models.clip.ict import ICT
from visreward.models.clip.inputs import load_pixel_inputs, load_text_inputs
from visreward.models.facts import ModelFacts
from visreward.models.heads import LinearStack
from visreward.models.key_maps import CLIP, OPEN_CLIP, to_ours, to_released
from visreward.training.modeling.tokenizer import train_tokenizer

SIZE, WIDTH = 32, 24
COMMIT = "c0ffee" + "0" * 34
PINNED = {files.revision for row in catalog().values() for files in row.hub_files()} - {"main"}


@dataclass(frozen=True)
class TinyRelease:
    """Folders and tensors of one made-up release.

    Attributes:
        backbone: A transformers CLIP folder with random weights.
        checkpoint: Every released layout, with other random weights than the backbone.
        clip: The tensors of the checkpoint's CLIP, by transformers' names.
        head: The tensors of its head.
    """

    backbone: Path
    checkpoint: Path
    clip: dict[str, Tensor]
    head: dict[str, Tensor]


def random_clip(config: CLIPConfig, seed: int) -> dict[str, Tensor]:
    """Return random CLIP weights by transformers' names, large enough to tell images apart."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in CLIPModel(config).state_dict().items()}
    return {
        name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()
    } | {"logit_scale": torch.tensor(4.6052)}


def random_head(seed: int) -> dict[str, Tensor]:
    """Return random weights of the linear stack by the released names."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: value.shape for name, value in LinearStack(WIDTH).state_dict().items()}
    return {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in shapes.items()}


def write_backbone(folder: Path) -> CLIPConfig:
    """Write a tiny CLIP folder without weights."""
    tokenizer = train_tokenizer(["a red cube", "a blue ball on a table"], vocab_size=530)
    towers = {
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "hidden_act": "gelu",
    }
    config = CLIPConfig(
        text_config={
            **towers,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 20,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={**towers, "image_size": SIZE, "patch_size": 8},
        projection_dim=WIDTH,
    )
    folder.mkdir(parents=True)
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}
    ).save_pretrained(folder)
    return config


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    """Write a tiny backbone and a made-up release in every layout."""
    root = tmp_path_factory.mktemp("release")
    backbone, checkpoint = root / "backbone", root / "checkpoint"
    config = write_backbone(backbone)
    save_file(random_clip(config, seed=1), backbone / "model.safetensors")
    clip, head = random_clip(config, seed=2), random_head(seed=3)
    for folder in ("ICT", "HP/hp_backbone", "HP/hp_scorer"):
        (checkpoint / folder).mkdir(parents=True)
    old_buffers = {"vision_model.embeddings.position_ids": torch.arange(17)[None]}
    torch.save(clip | old_buffers, checkpoint / "ICT/pytorch_model.bin")
    torch.save(clip, checkpoint / "HP/hp_backbone/pytorch_model.bin")
    torch.save(head, checkpoint / "HP/hp_scorer/mlp_pytorch_model.bin")
    torch.save(head, checkpoint / "sac+logos+ava1-l14-linearMSE.pth")
    save_file(clip, checkpoint / "model.safetensors")
    open_clip = to_released(to_ours(clip, CLIP).tensors, OPEN_CLIP)
    torch.save({"epoch": 3, "state_dict": open_clip}, checkpoint / "HPS_v2_compressed.pt")
    return TinyRelease(backbone=backbone, checkpoint=checkpoint, clip=clip, head=head)


def make_ict(release: TinyRelease) -> ICT:
    """Build ICT with the weights of the release, without any file of weights."""
    config = CLIPBackboneConfig.from_clip(CLIPConfig.from_pretrained(release.backbone))
    model = ICT(
        ModelFacts(name="tiny-ict", score_range=(-1.0, 1.0), note="tiny"),
        CLIPBackbone(config),
        pixel_inputs=load_pixel_inputs(release.backbone),
        text_inputs=load_text_inputs(release.backbone, context=20, cleaning="open_clip"),
    )
    model.backbone.clip.load_state_dict(release.clip)
    return model.eval()


def make_hp(release: TinyRelease) -> HP:
    """Build HP with the weights of the release, without any file of weights."""
    config = CLIPBackboneConfig.from_clip(
        CLIPConfig.from_pretrained(release.backbone), image_only=True
    )
    model = HP(
        ModelFacts(name="tiny-hp", needs_prompt=False, score_range=(0.0, 1.0)),
        CLIPBackbone(config),
        pixel_inputs=load_pixel_inputs(release.backbone),
    )
    known = model.backbone.clip.state_dict()
    model.backbone.clip.load_state_dict({name: release.clip[name] for name in known})
    model.head.load_state_dict(release.head)
    return model.eval()


@pytest.fixture
def ict(release: TinyRelease) -> ICT:
    """Return a tiny ICT."""
    return make_ict(release)


@pytest.fixture
def hp(release: TinyRelease) -> HP:
    """Return a tiny HP."""
    return make_hp(release)


@pytest.fixture
def ict_hp(release: TinyRelease) -> ICTHP:
    """Return a tiny ICT x HP."""
    facts = ModelFacts(name="tiny", dimensions=("ict", "hp"), score_range=(-1.0, 1.0))
    return ICTHP(facts, make_ict(release), make_hp(release)).eval()


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    """Return three samples: a square, a wide and a tall picture."""
    generator = torch.Generator().manual_seed(4)
    shapes = {"a red cube": (40, 40), "a ball": (36, 90), "a table, a ball": (90, 36)}
    return [
        Sample(
            prompt=prompt,
            image=Image.fromarray(
                torch.randint(0, 256, (*shape, 3), generator=generator, dtype=torch.uint8).numpy()
            ),
        )
        for prompt, shape in shapes.items()
    ]


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer: a status, or a connection that ends after some bytes."""

    status: int = 200
    num_bytes: int | None = None


@dataclass
class Loopback:
    """A server of repositories, as the hub serves them, and of archives.

    Attributes:
        address: Where it listens.
        repos: By name, the files of each repository.
        archives: By path, the bytes of each archive.
        requests: Method, path and, where there is one, range of all requests.
        faults: By end of a path, what goes wrong with the next requests of it, in this order.
    """

    address: str = ""
    repos: dict[str, dict[str, Path]] = field(default_factory=dict)
    archives: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    faults: dict[str, list[Fault]] = field(default_factory=dict)

    def gets(self, ending: str) -> list[str]:
        """Return the downloads of files whose path ends so, each with its range."""
        found = [line.split(" ", 2)[1:] for line in self.requests if line.startswith("GET ")]
        return [" ".join(line[1:]) for line in found if line[0].endswith(ending)]


class LoopbackHandler(BaseHTTPRequestHandler):
    """The part of the hub's interface that a download uses."""

    hub: ClassVar[Loopback]

    def log_message(self, *arguments: object) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        span = self.headers.get("Range", "")
        self.hub.requests.append(f"{self.command} {path} {span}".strip())
        if path in self.hub.archives:
            self.send_content(path, self.hub.archives[path], {})
            return
        for repo, files in self.hub.repos.items():
            if path.startswith(f"api/models/{repo}/revision/"):
                self.send_json(self.describe(repo, files, path), path)
            elif path.startswith(f"api/models/{repo}/tree/"):
                self.send_json(self.list_tree(files), path)
            elif path.startswith(f"{repo}/resolve/"):
                revision, name = path.removeprefix(f"{repo}/resolve/").split("/", 1)
                if name in files:
                    marks = {
                        "ETag": f'"{digest(files[name])}"',
                        "X-Repo-Commit": commit_of(revision),
                    }
                    self.send_content(path, files[name].read_bytes(), marks)
                else:
                    self.send_missing("EntryNotFound")
            else:
                continue
            return
        self.send_missing("RepoNotFound")

    @staticmethod
    def describe(repo: str, files: dict[str, Path], path: str) -> object:
        listed: list[dict[str, object]] = []
        for name, at in files.items():
            size = at.stat().st_size
            lfs = {"lfs": {"sha256": digest(at), "size": size, "pointerSize": 134}}
            is_large = at.suffix in {".safetensors", ".bin", ".pth"}
            listed.append({"rfilename": name, "size": size, **(lfs if is_large else {})})
        return {"id": repo, "sha": commit_of(path.rsplit("/", 1)[1]), "siblings": listed}

    @staticmethod
    def list_tree(files: dict[str, Path]) -> object:
        return [
            {"type": "file", "path": name, "size": path.stat().st_size, "oid": digest(path)[:40]}
            for name, path in files.items()
        ]

    def send_json(self, value: object, path: str) -> None:
        if path.rsplit("/", 1)[1] not in {"main", "v2", COMMIT, *PINNED}:
            self.send_missing("RevisionNotFound")
            return
        self.send_bytes(json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send_content(self, path: str, content: bytes, headers: dict[str, str]) -> None:
        """Send a file or the rest of it, with the fault that stands next for it."""
        fault = Fault()
        for ending, faults in self.hub.faults.items():
            if self.command == "GET" and path.endswith(ending) and faults:
                fault = faults.pop(0)
        if fault.status != 200:
            self.send_bytes(b"", {}, status=fault.status)
            return
        headers = headers | {"Accept-Ranges": "bytes"}
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        if start and start >= len(content):
            self.send_bytes(b"", {}, status=416)
        elif start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send_bytes(content[start:], headers, status=206, stop=fault.num_bytes)
        else:
            self.send_bytes(content, headers, stop=fault.num_bytes)

    def send_bytes(
        self, content: bytes, headers: dict[str, str], *, status: int = 200, stop: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[:stop])

    def send_missing(self, code: str) -> None:
        self.send_bytes(b"{}", {"X-Error-Code": code}, status=404)


def commit_of(revision: str) -> str:
    """Return the commit that a revision stands for: a pinned one is itself."""
    return revision if revision in PINNED else COMMIT


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def fault() -> type[Fault]:
    """Return the class of what goes wrong with one answer."""
    return Fault


@pytest.fixture(scope="session")
def start_loopback() -> Iterator[Callable[[], Loopback]]:
    """Return a function that starts an empty server; all are stopped at the end."""
    servers = []

    def start() -> Loopback:
        hub = Loopback()
        handler = type("Handler", (LoopbackHandler,), {"hub": hub})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        hub.address = f"http://127.0.0.1:{server.server_address[1]}"
        return hub

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
