"""A user's copy of a release: read as text, never run; what is missing or changed is said."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from visreward.core.errors import ModelNotFoundError, UsageError, WeightsError
from visreward.models.vlm.release import EDITREWARD, HPSV3, ReadRelease, read_release

PROMPTS = '''
import nothing_that_exists
INSTRUCTION_EDIT_FOLLOWING = """Done? {text_prompt}"""
INSTRUCTION_EDIT_QUALITY = "Clean? " "{text_prompt}"
INSTRUCTION_EDIT_OVERALL = "Good? {text_prompt}"
INSTRUCTION_EDIT_OVERALL_DETAILED = "Good, in detail? {text_prompt}"
open("marker", "w").write("this file was run")
'''
SUFFIX = 'prompt_with_special_token = " <|Reward|> END"\n'
CONFIG = """
rm_head_type: ranknet_multi_head
pooling_strategy: mean
max_pixels: 200704
min_pixels: 200704
use_special_tokens: true
reward_token: special
output_dim: 2
"""


@pytest.fixture
def release(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for name, text in {
        "dataset/prompts.py": PROMPTS,
        "dataset/data_collator_qwen_edit.py": SUFFIX,
        "dataset/data_collator_qwen3_edit.py": "from EditReward.dataset import nothing\n",
        "config/One.yaml": CONFIG,
    }.items():
        path = root / "EditReward" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def read(path: Path, model_type: str = "qwen2_5_vl", config: str | None = None) -> ReadRelease:
    return read_release(path, EDITREWARD, model_type=model_type, config_name=config)


def test_prompts_and_settings_are_read_and_nothing_is_run(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = read(release)
    assert found.prompts.text("visual_quality", "red") == "Clean? red <|Reward|> END"
    assert found.settings.head.num_heads == 2
    assert found.settings.positions == "1d"
    assert found.budget.min_pixels == found.budget.max_pixels == 200704
    assert not (tmp_path / "marker").exists()
    assert found.files == (
        "EditReward/config/One.yaml",
        "EditReward/dataset/prompts.py",
        "EditReward/dataset/data_collator_qwen_edit.py",
    )


def test_package_folder_zip_and_source_tree_are_the_same(release: Path, tmp_path: Path) -> None:
    archive = tmp_path / "release.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        for path in release.rglob("*.*"):
            stream.write(path, Path("EditReward-1234") / path.relative_to(release))
    found = [read(each) for each in (release, release / "EditReward", archive)]
    assert len({each.prompts.digest for each in found}) == 1
    assert found[0].settings == found[2].settings


def test_suffix_of_qwen3_is_found_where_its_file_imports_it_from(release: Path) -> None:
    found = read(release, "qwen3_vl")
    assert found.prompts.suffix == " <|Reward|> END"
    assert found.settings.positions == "multimodal"


@pytest.mark.parametrize(
    ("dimension", "first_word"),
    [("dim1", "Done?"), ("dim2", "Clean?"), ("overall", "Good?"), ("overall_detail", "Good,")],
)
def test_one_head_asks_what_reward_dim_says(dimension: str, first_word: str, release: Path) -> None:
    config = release / "EditReward/config/One.yaml"
    config.write_text(CONFIG.replace("ranknet_multi_head", "ranknet") + f"reward_dim: {dimension}")
    found = read(release)
    assert list(found.prompts.templates) == ["overall"]
    assert found.prompts.templates["overall"].startswith(first_word)
    assert found.settings.fusion == "none"


def test_shared_head_averages_where_the_release_has_no_sum(release: Path) -> None:
    config = release / "EditReward/config/One.yaml"
    config.write_text(
        CONFIG.replace("ranknet_multi_head", "ranknet_share_head").replace("mean", "sum")
    )
    found = read(release)
    assert (found.settings.head.num_heads, found.settings.fusion) == (1, "mean")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("ranknet_multi_head", "ranknet_tree"), "rm_head_type is 'ranknet_tree'"),
        (("use_special_tokens: true", "use_special_tokens: false"), "only models with the reward"),
        (("output_dim: 2", "output_dim: 4"), "has 4 outputs. Give 1 .mu. or 2"),
        (("min_pixels: 200704", "min_pixels: 300000"), "pixel budget is 300000 to 200704"),
        (("output_dim: 2", "output_dim: 2\nrm_head_kwargs: {depth: 2}"), r"unknown keys \['depth'"),
    ],
)
def test_configuration_that_cannot_be_is_refused(
    change: tuple[str, str], words: str, release: Path
) -> None:
    (release / "EditReward/config/One.yaml").write_text(CONFIG.replace(*change))
    with pytest.raises(UsageError, match=words):
        read(release)


def test_several_configurations_ask_for_a_name(release: Path) -> None:
    other = CONFIG.replace("pooling_strategy: mean", "pooling_strategy: min")
    (release / "EditReward/config/Two.yaml").write_text(other)
    with pytest.raises(UsageError, match=r"One\.yaml, Two\.yaml.*--config"):
        read(release)
    assert read(release, config="Two.yaml").settings.fusion == "min"
    with pytest.raises(ModelNotFoundError, match=r"has no EditReward/config/Three\.yaml"):
        read(release, config="Three.yaml")


def test_missing_file_and_missing_constant_are_named(release: Path) -> None:
    prompts = release / "EditReward/dataset/prompts.py"
    prompts.write_text(PROMPTS.replace("INSTRUCTION_EDIT_QUALITY", "SOMETHING"))
    with pytest.raises(
        WeightsError, match=r"assign no text to INSTRUCTION_EDIT_QUALITY.*SOMETHING"
    ):
        read(release)
    prompts.unlink()
    with pytest.raises(ModelNotFoundError, match=r"has no EditReward/dataset/prompts\.py"):
        read(release)


def test_prompt_with_other_fields_is_refused(release: Path) -> None:
    prompts = release / "EditReward/dataset/prompts.py"
    prompts.write_text(PROMPTS.replace("Clean? ", "Clean? {score} "))
    with pytest.raises(UsageError, match=r"'visual_quality' has the fields \['score', 'text_p"):
        read(release)


def test_file_that_is_not_python_is_said(release: Path) -> None:
    (release / "EditReward/dataset/prompts.py").write_text("INSTRUCTION = (\n")
    with pytest.raises(WeightsError, match="is not Python"):
        read(release)


def test_what_is_no_release_is_said(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("nothing")
    with pytest.raises(ModelNotFoundError, match="source tree of the release, or its wheel"):
        read(tmp_path / "note.txt")
    with pytest.raises(UsageError, match=r"has the configurations \(none\)"):
        read(tmp_path)


def test_backbone_of_another_release_is_refused(release: Path) -> None:
    with pytest.raises(UsageError, match="EditReward was not released on 'qwen2_vl'"):
        read(release, "qwen2_vl")
    with pytest.raises(UsageError, match="hpsv3 was not released on 'qwen3_vl'"):
        read_release(release, HPSV3, model_type="qwen3_vl")


def test_damaged_archive_and_configuration_are_said(release: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.zip"
    with zipfile.ZipFile(damaged, "w") as stream:
        for path in release.rglob("*.*"):
            stream.write(path, path.relative_to(release))
    damaged.write_bytes(damaged.read_bytes().replace(b"Clean? ", b"Wrong? "))
    with pytest.raises(WeightsError, match=r"dataset/prompts\.py cannot be unpacked.*CRC"):
        read(damaged)
    config = release / "EditReward/config/One.yaml"
    config.write_text("rm_head_type: [ranknet")
    with pytest.raises(WeightsError, match=r"config/One\.yaml is not YAML"):
        read(release)
    config.write_bytes(b"rm_head_type: \xff")
    with pytest.raises(WeightsError, match=r"config/One\.yaml is not text"):
        read(release)
