"""The examples of docs/rl-clients.md, as they stand there, against a real server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

import visreward

if TYPE_CHECKING:
    from tests.serving.conftest import Server

PROMPT = "two small orange metal cubes left of a large purple rubber cylinder"
EDIT_PROMPT = "change the colour of the four white balls to orange"


@pytest.fixture(scope="module")
def blocks(project_dir: Path) -> dict[str, str]:
    """Return the examples by the name after `python` on their first line."""
    text = (project_dir / "docs" / "rl-clients.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^```python (\S+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


@pytest.fixture
def example(
    blocks: dict[str, str],
    open_server: Server,
    project_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[dict[str, Any]]:
    """Return the names that an example defines."""
    monkeypatch.chdir(project_dir)
    names: dict[str, Any] = {"SERVER": open_server.url}
    exec(blocks[request.param], names)
    yield names
    if "client" in names:
        names["client"].close()


@pytest.fixture(scope="module")
def pictures(project_dir: Path) -> list[Image.Image]:
    folder = project_dir / "examples" / "images"
    names = ("right-and-rich", "wrong-colour", "right-but-blurred")
    return [Image.open(folder / f"{name}.png").convert("RGB") for name in names]


@pytest.fixture(scope="module")
def edited(project_dir: Path) -> list[Image.Image]:
    folder = project_dir / "examples" / "edits"
    return [Image.open(folder / f"{name}.png").convert("RGB") for name in ("right", "half-done")]


def offline(model: str, images: list[Image.Image], prompts: list[str], **options: Any) -> Any:
    samples = [
        visreward.Sample(prompt=prompt, image=image, **options)
        for prompt, image in zip(prompts, images, strict=True)
    ]
    return visreward.load_model(model).score(samples)


def tensor_of(images: list[Image.Image]) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.asarray(i) for i in images])).permute(0, 3, 1, 2) / 255


def test_every_example_is_run_here(blocks: dict[str, str]) -> None:
    assert set(blocks) == {
        "trl",
        "trl-async",
        "flow_grpo",
        "flow_grpo-by-hand",
        "flow_grpo-pickle",
    }


@pytest.mark.parametrize("example", ["trl", "trl-async"], indirect=True)
def test_trl_example_returns_one_float_for_each_completion(
    example: dict[str, Any], pictures: list[Image.Image]
) -> None:
    captions = [PROMPT, "a red ball", PROMPT]
    rewards = example["caption_reward"](
        prompts=["describe"] * 3,
        completions=captions,
        image=pictures,
        completions_ids=[[1], [2], [3]],
        trainer_state=None,
        source=["x"] * 3,
    )
    if asyncio.iscoroutine(rewards):
        rewards = asyncio.run(rewards)
    expected = [score.value for score in offline("ict-hp-mini", pictures, captions)]
    assert rewards == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("example", ["trl"], indirect=True)
def test_trl_example_takes_messages_and_rows_without_a_picture(
    example: dict[str, Any], pictures: list[Image.Image]
) -> None:
    told = [[{"role": "assistant", "content": PROMPT}]] * 2
    rewards = example["caption_reward"]([PROMPT] * 2, told, image=[None, pictures[0]])
    assert rewards[0] is None
    expected = offline("ict-hp-mini", pictures[:1], [PROMPT])[0].value
    assert rewards[1] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("example", ["flow_grpo"], indirect=True)
@pytest.mark.parametrize("is_tensor", [True, False])
def test_flow_grpo_example_scores_tensors_and_arrays(
    example: dict[str, Any], pictures: list[Image.Image], is_tensor: bool
) -> None:
    same_size = [picture.resize(pictures[0].size) for picture in pictures]
    images = tensor_of(same_size) if is_tensor else np.stack([np.asarray(i) for i in same_size])
    prompts = [PROMPT, "a red ball", PROMPT]
    reward = example["score_functions"]["visreward"]("cuda")
    scores, extra = reward(images, prompts, [{}] * 3)
    expected = [score.value for score in offline("ict-hp-mini", same_size, prompts)]
    assert scores == pytest.approx(expected, abs=1e-4)
    assert extra == {}


@pytest.mark.parametrize("example", ["flow_grpo", "flow_grpo-by-hand"], indirect=True)
def test_flow_grpo_example_scores_edits(
    example: dict[str, Any], edited: list[Image.Image], project_dir: Path
) -> None:
    source = str(project_dir / "examples" / "edits" / "before.png")
    prompts = [EDIT_PROMPT] * 2
    rows = [{"source_image": source}] * 2
    scores, _ = example["edit_reward"]("cpu")(tensor_of(edited), prompts, rows)
    expected = offline("editreward-mini", edited, prompts, source_image=source)
    if "score_functions" in example:
        assert scores == pytest.approx([score.value for score in expected], abs=1e-4)
    else:
        lower = [min(part.mu for part in score.dimensions.values()) for score in expected]
        assert scores == pytest.approx(lower, abs=1e-4)


@pytest.mark.parametrize("example", ["flow_grpo-pickle"], indirect=True)
def test_flow_grpo_pickle_example_scores(example: dict[str, Any], pictures: Any) -> None:
    prompts = ["two small orange metal cubes"] * 2
    expected = offline("ict-hp-mini", [pictures[0], pictures[2]], prompts)
    assert example["scores"] == pytest.approx([score.value for score in expected], abs=1e-4)
