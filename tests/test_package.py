"""The package's public names, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import visreward


def test_public_names_are_sorted_and_are_these() -> None:
    assert visreward.__all__ == [
        "DimensionScore",
        "PreferenceGroup",
        "PreferencePair",
        "Ranked",
        "RewardModel",
        "Sample",
        "Score",
        "ScoringEngine",
        "VisrewardError",
        "load_model",
        "read_image",
    ]


@pytest.mark.parametrize("name", visreward.__all__)
def test_public_name_is_found_and_documented(name: str) -> None:
    value = getattr(visreward, name)
    assert value.__name__ == name
    assert value.__doc__


def test_dir_lists_public_names_before_their_first_use() -> None:
    code = "import visreward; print(set(visreward.__all__) <= set(dir(visreward)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "True\n"


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'load_modle'"):
        _ = visreward.load_modle  # type: ignore[attr-defined]


def test_import_loads_no_other_module_of_ours_and_few_of_python() -> None:
    code = (
        "import sys; before = set(sys.modules); import visreward; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {src()!r}); {code}"],
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = done.stdout.split()
    assert [name for name in loaded if name.startswith("visreward")] == ["visreward"]
    third_party = {"torch", "numpy", "PIL", "transformers", "typer", "rich"}
    assert not third_party.intersection(loaded)
    assert len(loaded) < 40


def src() -> str:
    assert visreward.__file__ is not None
    return visreward.__file__.rpartition("/visreward/")[0]


def test_core_names_need_no_torch() -> None:
    code = (
        "import sys, visreward; visreward.Sample; visreward.PreferenceGroup; "
        "visreward.VisrewardError; visreward.read_image; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
