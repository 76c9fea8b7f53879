"""What the routes return: served scores are the offline scores, whatever the encoding."""

from __future__ import annotations

import base64
from typing import Any

import httpx2
import msgpack
import pytest

import visreward

EDIT_MODEL, IMAGE_MODEL = "editreward-mini", "hp-mini"
PROMPT = "change the colour of the four white balls to orange"
CANDIDATES = ("right", "over-edited", "half-done", "untouched")
MSGPACK = "application/msgpack"


@pytest.fixture(scope="module")
def offline(edits: dict[str, bytes]) -> list[visreward.Score]:
    model = visreward.load_model(EDIT_MODEL)
    return model.score(
        visreward.Sample(prompt=PROMPT, image=edits[name], source_image=edits["before"])
        for name in CANDIDATES
    )


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def request_of(edits: dict[str, bytes]) -> dict[str, Any]:
    return {
        "prompt": PROMPT,
        "source_images": [base64_of(edits["before"])],
        "candidates": [base64_of(edits[name]) for name in CANDIDATES],
    }


def check_equal(results: list[dict[str, Any]], offline: list[visreward.Score]) -> None:
    assert [item["index"] for item in results] == list(range(len(offline)))
    for item, score in zip(results, offline, strict=True):
        assert item["error"] is None
        assert item["score"]["value"] == pytest.approx(score.value, abs=1e-4)
        assert item["score"]["sigma"] == pytest.approx(score.sigma, abs=1e-4)
        for name, part in score.dimensions.items():
            served = item["score"]["dimensions"][name]
            assert served["mu"] == pytest.approx(part.mu, abs=1e-4)
            assert served["sigma"] == pytest.approx(part.sigma, abs=1e-4)


def test_score_json_equals_offline_scores(
    http: httpx2.Client, edits: dict[str, bytes], offline: list[visreward.Score]
) -> None:
    response = http.post("/v1/score", json=request_of(edits))
    assert response.status_code == 200
    body = response.json()
    assert (body["model"], body["revision"]) == (EDIT_MODEL, offline[0].revision)
    check_equal(body["results"], offline)


def test_score_msgpack_with_raw_bytes_equals_offline_scores(
    http: httpx2.Client, edits: dict[str, bytes], offline: list[visreward.Score]
) -> None:
    body = msgpack.packb(
        {
            "prompt": PROMPT,
            "source_images": [edits["before"]],
            "candidates": [edits[name] for name in CANDIDATES],
        }
    )
    headers = {"content-type": MSGPACK, "accept": MSGPACK}
    response = http.post("/v1/score", content=body, headers=headers)
    assert response.headers["content-type"] == MSGPACK
    check_equal(msgpack.unpackb(response.content)["results"], offline)


def test_score_multipart_equals_offline_scores(
    http: httpx2.Client, edits: dict[str, bytes], offline: list[visreward.Score]
) -> None:
    files = [("source_images", ("x", edits["before"]))]
    files += [("candidates", (f"../{name}", edits[name])) for name in CANDIDATES]
    response = http.post(
        "/v1/score", data={"prompt": PROMPT, "model": EDIT_MODEL, "timeout_s": "100"}, files=files
    )
    assert response.status_code == 200, response.text
    check_equal(response.json()["results"], offline)


def test_score_bad_candidate_fails_alone_with_its_code(
    http: httpx2.Client, edits: dict[str, bytes], offline: list[visreward.Score]
) -> None:
    asked = request_of(edits)
    asked["candidates"].insert(1, base64_of(b"GIF89a is not read here"))
    results = http.post("/v1/score", json=asked).json()["results"]
    failed = results.pop(1)
    assert failed["score"] is None
    assert failed["error"]["code"] == "image_format_unsupported"
    assert failed["error"]["field"] == "candidates.1"
    values = [item["score"]["value"] for item in results]
    assert values == pytest.approx([score.value for score in offline], abs=1e-4)


def test_score_bad_source_fails_the_request(http: httpx2.Client, edits: dict[str, bytes]) -> None:
    asked = request_of(edits) | {"source_images": [base64_of(edits["before"][:200])]}
    response = http.post("/v1/score", json=asked)
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "image_unreadable"
    assert response.json()["error"]["field"] == "source_images.0"


def test_score_when_all_fail_status_is_the_first_ones_and_all_are_listed(
    http: httpx2.Client,
) -> None:
    asked = {"model": IMAGE_MODEL, "candidates": [base64_of(b"%PDF-1.7"), "not base64!"]}
    response = http.post("/v1/score", json=asked)
    assert response.status_code == 415
    codes = [item["error"]["code"] for item in response.json()["results"]]
    assert codes == ["image_format_unsupported", "image_not_base64"]


def test_rank_is_the_order_of_the_scores_and_lists_failures_apart(
    http: httpx2.Client, edits: dict[str, bytes], offline: list[visreward.Score]
) -> None:
    asked = request_of(edits)
    asked["candidates"].insert(0, "")
    asked["candidates"].append(asked["candidates"][1])
    body = http.post("/v1/rank", json=asked).json()
    values = [score.value for score in offline] + [offline[0].value]
    expected = sorted(range(5), key=lambda index: (-round(values[index], 3), index))
    assert [place["index"] - 1 for place in body["ranking"]] == expected
    assert [place["rank"] for place in body["ranking"]] == [1, 1, 3, 4, 5]
    assert [(each["index"], each["error"]["code"]) for each in body["failed"]] == [
        (0, "image_empty")
    ]


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_rerank_has_the_vllm_shape(
    path: str, http: httpx2.Client, edits: dict[str, bytes], offline: list[visreward.Score]
) -> None:
    def part(name: str) -> dict[str, Any]:
        url = f"data:image/png;base64,{base64_of(edits[name])}"
        return {"type": "image_url", "image_url": {"url": url}}

    asked = {
        "model": EDIT_MODEL,
        "query": {"content": [{"type": "text", "text": PROMPT}, part("before")]},
        "documents": [{"content": [part(name)]} for name in CANDIDATES],
        "top_n": 2,
        "truncate_prompt_tokens": 5,
    }
    response = http.post(path, json=asked)
    assert response.status_code == 200, response.text
    body = response.json()
    assert set(body) >= {"id", "model", "usage", "results"}
    num_tokens = body["usage"]["total_tokens"]
    asked |= {"documents": [{"content": [part("before")]}]}
    one = http.post(path, json=asked).json()["usage"]["total_tokens"]
    # The source image is counted once, however many candidates there are.
    assert 0 < one < num_tokens < 4 * one
    best = sorted(range(4), key=lambda index: -offline[index].value)[:2]
    assert [result["index"] for result in body["results"]] == best
    for result in body["results"]:
        assert set(result) == {"index", "document", "relevance_score"}
        expected = offline[result["index"]].value
        assert result["relevance_score"] == pytest.approx(expected, abs=1e-4)


def test_unirl_score_has_its_shape_and_names_failures_without_a_number(
    http: httpx2.Client, edits: dict[str, bytes], offline: list[visreward.Score]
) -> None:
    def item(name: str, *rewards: str) -> dict[str, Any]:
        turns = [{"text": PROMPT, "image_b64": base64_of(edits["before"])}]
        turns.append({"text": PROMPT, "image_b64": base64_of(edits.get(name, b""))})
        return {"history": turns, "required_rewards": list(rewards), "metadata": {"a": 1}}

    one_image = {
        "history": [{"text": "", "image_b64": base64_of(edits["right"])}],
        "required_rewards": [IMAGE_MODEL],
    }
    asked = {"requests": [item("right", "editreward", "nope"), item("lost", EDIT_MODEL), one_image]}
    response = http.post("/score", json=asked)
    assert response.status_code == 200, response.text
    body = response.json()
    parts = offline[0].dimensions
    expected = {
        "edit_following": parts["instruction_following"].mu,
        "edit_quality": parts["visual_quality"].mu,
    }
    assert body["results"][0] == {"editreward": pytest.approx(expected, abs=1e-4)}
    assert body["errors"][0]["nope"].startswith("unknown_model: ")
    assert body["results"][1] == {}
    assert body["errors"][1][EDIT_MODEL].startswith("image_empty: ")
    assert list(body["results"][2][IMAGE_MODEL]) == ["score"]
    assert body["errors"][2] == {}


def test_models_lists_what_is_served_and_what_each_needs(http: httpx2.Client) -> None:
    edit, image = http.get("/v1/models").json()["models"]
    assert (edit["name"], edit["state"], edit["needs_source"]) == (EDIT_MODEL, "ready", True)
    assert edit["dimensions"] == ["instruction_following", "visual_quality"]
    assert (image["name"], image["needs_prompt"]) == (IMAGE_MODEL, False)


def test_openapi_describes_bodies_and_every_reference_resolves(http: httpx2.Client) -> None:
    document = http.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    body = document["paths"]["/v1/score"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", MSGPACK, "multipart/form-data"}
    assert "candidates" in schemas["ScoreRequest"]["required"]

    def references(value: object) -> list[str]:
        if isinstance(value, dict):
            found = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return found + [each for part in value.values() for each in references(part)]
        if isinstance(value, list):
            return [each for part in value for each in references(part)]
        return []

    prefix = "#/components/schemas/"
    assert {each.removeprefix(prefix) for each in references(document)} <= set(schemas)


@pytest.mark.parametrize(
    ("changes", "status", "code", "field"),
    [
        ({"model": "nope"}, 404, "unknown_model", "model"),
        ({"candidates": []}, 422, "no_candidates", "candidates"),
        ({"prompt": " "}, 422, "prompt_required", "prompt"),
        ({"source_images": []}, 422, "source_required", "source_images"),
        ({"model": IMAGE_MODEL}, 422, "source_not_wanted", "source_images"),
        ({"prompt": 3}, 422, "invalid_request", "prompt"),
        ({"candidates": ["aaaa", None]}, 422, "invalid_request", "candidates.1"),
        ({"<b>evil</b>": 1}, 422, "unknown_field", None),
        ({"timeout_s": 0}, 422, "invalid_request", "timeout_s"),
    ],
)
def test_score_wrong_request_is_refused_with_its_field(
    http: httpx2.Client,
    edits: dict[str, bytes],
    changes: dict[str, Any],
    status: int,
    code: str,
    field: str | None,
) -> None:
    response = http.post("/v1/score", json=request_of(edits) | changes)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["field"]) == (status, code, field)
    assert "evil" not in response.text


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("application/json", b"{", 400, "not_json"),
        ("application/json", b"[" * 100_000, 400, "not_json"),
        ("application/json", b'{"candidates": ["\\ud800"]}', 400, "not_json"),
        (MSGPACK, b"\xc1", 400, "not_msgpack"),
        (MSGPACK, b"\x91" * 100_000, 400, "not_msgpack"),
        (MSGPACK, b"\x81\x01\x01", 400, "not_msgpack"),
        ("multipart/form-data", b"--x", 400, "not_multipart"),
        ("multipart/form-data; boundary=x", b"garbage", 400, "not_multipart"),
        ("application/octet-stream", b"\x80\x04N.", 415, "unsupported_content_type"),
        ("text/plain", b"{}", 415, "unsupported_content_type"),
        ("", b"{}", 415, "unsupported_content_type"),
    ],
)
def test_score_unreadable_body_is_refused(
    http: httpx2.Client, content_type: str, body: bytes, status: int, code: str
) -> None:
    response = http.post("/v1/score", content=body, headers={"content-type": content_type})
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_score_multipart_file_under_another_name_is_said(
    http: httpx2.Client, edits: dict[str, bytes]
) -> None:
    response = http.post("/v1/score", data={"prompt": "x"}, files={"images": edits["right"]})
    assert (response.status_code, response.json()["error"]["code"]) == (422, "unknown_field")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/x", 404), ("GET", "/score", 405)])
def test_unknown_route_is_refused_in_the_same_shape(
    http: httpx2.Client, method: str, path: str, status: int
) -> None:
    response = http.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["code"] in {"not_found", "method_not_allowed"}


def test_request_id_is_echoed_and_a_strange_one_replaced(http: httpx2.Client) -> None:
    good = http.get("/v1/models", headers={"x-request-id": "abc-1"})
    assert good.headers["x-request-id"] == "abc-1"
    strange = http.get("/v1/models", headers={"x-request-id": "a b\tc"})
    assert strange.headers["x-request-id"] != "a b\tc"
