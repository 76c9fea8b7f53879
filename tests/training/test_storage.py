"""A folder or file is there whole or not at all, and a full disk is one sentence."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from safetensors import SafetensorError

from visreward.core.errors import StorageError
from visreward.training.checkpoints.storage import building, replace_folder, storing, write_text


class Killed(BaseException):
    """Stands for a process that ends between two system calls."""


def test_replace_folder_keeps_the_old_one_while_there_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A kill between the renames left only `.old`; the next time must not delete it first.
    place, old, made = (tmp_path / name for name in ("best", "best.old", "best.building"))
    old.mkdir()
    made.mkdir()

    def killed(self: Path, target: Path) -> Path:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(Killed):
            replace_folder(made, place)
    assert old.is_dir()
    replace_folder(made, place)
    assert place.is_dir()
    assert not old.exists()


def test_building_that_fails_gives_its_room_back_and_keeps_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "best"
    with building(place) as made:
        (made / "a").write_text("one")

    def fill_up() -> None:
        with building(place) as made:
            (made / "a").write_text("two")
            raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        fill_up()
    assert [entry.name for entry in tmp_path.iterdir()] == ["best"]
    assert (place / "a").read_text() == "one"


def test_write_text_replaces_a_file_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "recipe.yaml"
    write_text(path, "one")

    def killed(self: Path, target: Path) -> Path:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(Killed):
            write_text(path, "two")
    assert path.read_text() == "one"
    write_text(path, "two")
    assert [entry.name for entry in tmp_path.iterdir()] == ["recipe.yaml"]
    assert path.read_text() == "two"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "-"), "No space left on device"),
        (OSError(errno.EDQUOT, "-"), "Disk quota exceeded"),
        (SafetensorError("Error while serializing: I/O error: - (os error 27)"), "File too large"),
    ],
)
def test_storing_on_a_full_disk_is_one_sentence(error: Exception, reason: str) -> None:
    with (
        pytest.raises(StorageError, match=rf"^The log could not be written: {reason}\. All is in"),
        storing("The log", lambda: "All is intact."),
    ):
        raise error


@pytest.mark.parametrize(
    "error", [FileNotFoundError(errno.ENOENT, "-"), SafetensorError("header"), OSError("closed")]
)
def test_storing_leaves_other_errors_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, storing("The log", lambda: ""):
        raise error
    assert raised.value is error
