"""flow_grpo's protocol: its unchanged client on our server, our client on any server."""

from __future__ import annotations

import base64
import math
import pickle
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import pytest
import torch

import visreward
from visreward.core.errors import NonFiniteError, RewardServerError, ShapeError, UsageError
from visreward.serving.client_messages import ClientSettings, RetryPolicy
from visreward.serving.flow_grpo import flow_grpo_scores, pictures_of, reward_factory
from visreward.serving.settings import ModelSetup, ServerSettings

if TYPE_CHECKING:
    from tests.serving.conftest import Server

PROMPT = "change the colour of the four white balls to orange"
IMAGE_MODEL, EDIT_MODEL = "ict-hp-mini", "editreward-mini"


class Touch:
    """Pickles into a call that leaves a file behind."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.canary,)


def asked(server: Server, values: object, **headers: str) -> tuple[int, Any]:
    """Ask as flow_grpo does: pickled, without a content type, and unpickle the reply."""
    with httpx2.Client(base_url=server.url, timeout=300) as http:
        response = http.post("/", content=pickle.dumps(values), headers=headers)
    is_json = response.headers["content-type"] == "application/json"
    return response.status_code, response.json() if is_json else pickle.loads(response.content)


@pytest.fixture(scope="module")
def offline(edits: dict[str, bytes]) -> dict[str, float]:
    model = visreward.load_model(IMAGE_MODEL)
    return {
        name: model.score([visreward.Sample(prompt=PROMPT, image=edits[name])])[0].value
        for name in ("right", "half-done")
    }


@pytest.mark.parametrize("form", ["prompts", "meta_datas"])
def test_flow_grpo_request_gets_outputs_that_are_the_offline_scores(
    open_server: Server, edits: dict[str, bytes], offline: dict[str, float], form: str
) -> None:
    said = {
        "prompts": [PROMPT] * 2,
        "meta_datas": [{"prompt": PROMPT, "tag": "color", "include": [{"n": 1}]}] * 2,
    }[form]
    images = [edits["right"], edits["half-done"]]
    status, reply = asked(open_server, {"images": images, form: said, "only_strict": True})
    assert status == 200
    assert reply["outputs"] == pytest.approx(list(offline.values()), abs=1e-4)
    assert reply["scores"] == reply["outputs"]


def test_flow_grpo_request_for_edits_has_a_source_for_each(
    open_server: Server, edits: dict[str, bytes]
) -> None:
    sample = visreward.Sample(prompt=PROMPT, image=edits["right"], source_image=edits["before"])
    expected = visreward.load_model(EDIT_MODEL).score([sample])[0].value
    values = {
        "images": [edits["right"]] * 2,
        "prompts": [PROMPT] * 2,
        "source_images": [edits["before"], edits["right"]],
        "model": EDIT_MODEL,
    }
    status, reply = asked(open_server, values)
    assert status == 200
    assert reply["outputs"][0] == pytest.approx(expected, abs=1e-4)
    assert reply["outputs"][1] < reply["outputs"][0]


def test_flow_grpo_failed_image_gives_an_error_and_no_number(
    open_server: Server, edits: dict[str, bytes]
) -> None:
    images = [edits["right"], b"no image", edits["half-done"], b""]
    status, reply = asked(open_server, {"images": images, "prompts": [PROMPT] * 4})
    assert status == 415
    assert set(reply) == {"error", "errors"}
    found = [(each["index"], each["code"]) for each in reply["errors"]]
    assert found == [(1, "image_format_unsupported"), (3, "image_empty")]
    with pytest.raises(RewardServerError, match="Image 1 has no score") as caught:
        flow_grpo_scores(open_server.url, images=images[:3], prompts=[PROMPT] * 3)
    assert caught.value.code == "image_format_unsupported"


@pytest.mark.parametrize(
    ("values", "status", "code"),
    [
        ({"images": []}, 422, "invalid_request"),
        ({"images": ["/etc/passwd"]}, 422, "invalid_request"),
        ({"images": [b"a"], "prompts": []}, 422, "invalid_request"),
        ({"images": [b"a"], "meta_datas": [{}] * 2}, 422, "invalid_request"),
        ({"images": [b"a"], "prompts": ["x"], "source_images": []}, 422, "invalid_request"),
        ({"images": [b"a"], "prompts": ["x"], "model": "nope"}, 404, "unknown_model"),
        ({"images": [b"a"]}, 422, "prompt_required"),
        ({"images": [b"a"] * 65, "prompts": ["x"] * 65}, 413, "too_many_images"),
        ([1], 422, "invalid_request"),
        ({"images": {b"a"}}, 400, "not_plain_pickle"),
        ({"images": np.zeros(3)}, 400, "not_plain_pickle"),
    ],
)
def test_flow_grpo_wrong_request_is_refused(
    open_server: Server, values: object, status: int, code: str
) -> None:
    got, reply = asked(open_server, values)
    assert (got, reply["error"]["code"]) == (status, code)


def test_flow_grpo_crafted_pickle_is_refused_and_leaves_no_trace(
    open_server: Server, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    status, reply = asked(open_server, {"images": [Touch(canary)]})
    assert (status, reply["error"]["code"]) == (400, "not_plain_pickle")
    assert not canary.exists()
    assert open_server.is_ready()


def test_flow_grpo_other_content_type_is_refused(open_server: Server) -> None:
    for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x"):
        status, reply = asked(open_server, {"images": [b"a"]}, **{"content-type": kind})
        assert (status, reply["error"]["code"]) == (415, "unsupported_content_type")


def test_flow_grpo_route_is_not_there_without_the_flag(server: Server) -> None:
    with server.http() as http:
        response = http.post("/", content=pickle.dumps({"images": [b"a"]}))
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.3", "::", "example.org"])
def test_flow_grpo_beyond_loopback_is_refused_also_with_a_key(host: str) -> None:
    models = (ModelSetup(name=IMAGE_MODEL),)
    with pytest.raises(UsageError, match="--flow-grpo"):
        ServerSettings(models=models, host=host, api_key="k" * 16, has_flow_grpo=True)


REPLIES: dict[str, Any] = {}


class Foreign(BaseHTTPRequestHandler):
    """A reward server of somebody else."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = REPLIES["body"]
        self.send_response(REPLIES.get("status", 200))
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def foreign() -> Iterator[Callable[..., list[float]]]:
    """Return what asks the other server for two scores, and what it is to reply."""
    server = HTTPServer(("127.0.0.1", 0), Foreign)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    settings = ClientSettings(
        url=f"http://127.0.0.1:{server.server_port}", retry=RetryPolicy(max_retries=0)
    )

    def ask(body: bytes, status: int = 200) -> list[float]:
        REPLIES.update(body=body, status=status)
        return flow_grpo_scores(settings, images=[b"a", b"b"], prompts=["x", "y"])

    yield ask
    server.shutdown()
    thread.join()
    server.server_close()


def test_flow_grpo_client_reads_other_servers(foreign: Callable[..., list[float]]) -> None:
    assert foreign(pickle.dumps({"outputs": [1, 0.5]})) == [1.0, 0.5]
    reply = {"scores": [0.1, 0.2], "rewards": [1.0, 0.0], "group_rewards": {"color": [1.0]}}
    assert foreign(pickle.dumps(reply)) == [0.1, 0.2]


def test_flow_grpo_client_unpickles_nothing_that_runs(
    foreign: Callable[..., list[float]], tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    for body in (pickle.dumps({"outputs": [Touch(canary), 1.0]}), pickle.dumps(Touch(canary))):
        with pytest.raises(RewardServerError, match="was not unpickled"):
            foreign(body)
    assert not canary.exists()
    pickle.loads(body)
    assert canary.exists()


@pytest.mark.parametrize(
    ("values", "status", "message"),
    [
        ({"error": "broken"}, 200, "broken"),
        ({"error": "broken", "outputs": [1.0, 1.0]}, 200, "broken"),
        ({"outputs": [1.0]}, 200, "no list of 2 finite numbers"),
        ({"outputs": [1.0, math.nan]}, 200, "no list of 2 finite numbers"),
        ({"outputs": [1.0, None]}, 200, "no list of 2 finite numbers"),
        ({"outputs": [True, 1.0]}, 200, "no list of 2 finite numbers"),
        ({"outputs": ["1", "2"]}, 200, "no list of 2 finite numbers"),
        ({"outputs": [1.0, 1.0]}, 500, "no list of 2 finite numbers"),
        ([1.0, 2.0], 200, "no list of 2 finite numbers"),
    ],
)
def test_flow_grpo_client_raises_where_a_score_is_missing(
    foreign: Callable[..., list[float]], values: object, status: int, message: str
) -> None:
    with pytest.raises(RewardServerError, match=message):
        foreign(pickle.dumps(values), status)


def test_flow_grpo_client_refusal_of_the_whole_names_its_code(open_server: Server) -> None:
    with pytest.raises(RewardServerError, match="prompt_required") as caught:
        flow_grpo_scores(open_server.url, images=[b"a"], prompts=[" "])
    assert (caught.value.code, caught.value.status) == ("prompt_required", 422)
    with pytest.raises(ShapeError, match="1 images and 2 prompts"):
        flow_grpo_scores(open_server.url, images=[b"a"], prompts=["x", "y"])


def test_pictures_of_tensor_and_array_are_flow_grpos() -> None:
    values = torch.tensor([0.0, 1.0, 0.5, 1.7, -0.3, 0.4999]).reshape(2, 3, 1, 1)
    pixels = [[0, 255, 128], [255, 0, 127]]
    assert [list(each.getpixel((0, 0))) for each in pictures_of(values)] == pixels  # type: ignore[arg-type]
    array = np.asarray(pixels, dtype=np.uint8).reshape(2, 1, 1, 3)
    assert [list(each.getpixel((0, 0))) for each in pictures_of(array)] == pixels  # type: ignore[arg-type]
    half = pictures_of(values.to(torch.bfloat16))[0].getpixel((0, 0))
    assert half == (0, 255, 128)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(3, 4, 4),
        torch.zeros(1, 4, 4, 3),
        torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
        np.zeros((1, 4, 4, 3), dtype=np.float32),
        np.zeros((1, 3, 4, 4), dtype=np.uint8),
    ],
)
def test_pictures_of_another_shape_is_refused(images: Any) -> None:
    with pytest.raises(ShapeError, match="have shape"):
        pictures_of(images)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_pictures_of_nan_is_refused(value: float) -> None:
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        pictures_of(torch.full((1, 3, 2, 2), value))


def test_reward_factory_failed_image_raises_or_is_nan(open_server: Server, png: Any) -> None:
    images = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    raising = reward_factory(open_server.url, model=IMAGE_MODEL)("cpu")
    with pytest.raises(RewardServerError, match="prompt_required"):
        raising(images, ["x", ""], [{}, {}])
    with pytest.raises(ShapeError, match="2 images and 1 prompts"):
        raising(images, ["x"], [{}, {}])
    assert base64.b64encode(png(8, 8))
