"""Trainings that are killed, stopped, or run out of disk, as processes of their own."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from visreward.training.config import TrainConfig

MakeRecipe = Callable[..., TrainConfig]
WriteRecipe = Callable[..., Path]

OF_MACHINE = ("images_per_s", "pairs_per_s", "memory_gb")
"""Figures of a log that a machine decides."""
NUM_KILLS = 20
SLOW_S = 0.03
"""How long the slow disk takes for a file; a checkpoint is five of them."""


@pytest.fixture
def write_recipe(recipe: MakeRecipe, tmp_path: Path) -> WriteRecipe:
    """Return a function that writes the recipe of a run of a tiny HP model to a file."""

    def write(run: str, **sections: Any) -> Path:
        config = recipe("hp", run=run, **sections)
        place = tmp_path / f"{run}.yaml"
        place.write_text(yaml.safe_dump(config.model_dump(mode="json")))
        return place

    return write


def log_of(run: Path) -> list[dict[str, Any]]:
    """Return the log without what depends on the machine."""
    entries = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in entry.items() if k not in OF_MACHINE} for entry in entries]


def checkpoints(run: Path) -> list[str]:
    return sorted(place.name for place in (run / "checkpoints").iterdir())


def wait_until(is_so: Callable[[], bool], training: Any) -> None:
    """Wait for something that a running training brings about."""
    while not is_so():
        assert training.is_running(), training.log.read_text()
        time.sleep(0.002)


def log_identity(run: Path) -> tuple[int, bool]:
    """Return which file the log is, and whether it holds anything."""
    try:
        status = (run / "log.jsonl").stat()
    except FileNotFoundError:
        return 0, False
    return status.st_ino, status.st_size > 0


def is_writing(run: Path) -> bool:
    return any(run.glob("*.building")) or any(run.glob("checkpoints/*.building"))


def kill_somewhere(training: Any, run: Path, *, before: int, chance: random.Random) -> bool:
    """Kill a training at a random moment of its steps; return whether it was writing then."""
    # A training writes its log anew before it adds to it.
    wait_until(lambda: log_identity(run)[0] != before and log_identity(run)[1], training)
    if chance.random() < 0.5:
        wait_until(lambda: is_writing(run), training)
        time.sleep(chance.uniform(0, 4 * SLOW_S))
    else:
        time.sleep(chance.uniform(0, 12 * SLOW_S))
    training.kill(signal.SIGKILL)
    assert training.wait() == -signal.SIGKILL, training.log.read_text()
    return is_writing(run)


# Twenty starts: half a minute of two quiet cores, but minutes where others have them.
@pytest.mark.timeout(2400)
def test_training_killed_at_twenty_moments_repeats_the_uninterrupted_one_bit_for_bit(
    train_server: Any, write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    sections = {"optim": {"steps": 60}, "save_every": 1, "validate_every": 4}
    whole, killed = (write_recipe(name, **sections) for name in ("whole", "killed"))
    run, log = tmp_path / "killed", tmp_path / "killed.txt"
    train_server.finish([str(whole)], log=tmp_path / "whole.txt")
    chance = random.Random(7)
    writing = 0
    for _ in range(NUM_KILLS):
        before = log_identity(run)[0]
        training = train_server.start([str(killed)], log=log, slow_s=SLOW_S)
        writing += kill_somewhere(training, run, before=before, chance=chance)
    assert writing >= 1
    last = subprocess.run(
        [sys.executable, "-m", "visreward", "train", str(killed)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert last.returncode == 0, last.stderr
    assert "resumed at step" in last.stderr
    assert "damaged" not in log.read_text() + last.stderr
    assert [entry["step"] for entry in log_of(run) if entry["kind"] == "train"] == [*range(1, 61)]
    assert log_of(run) == log_of(tmp_path / "whole")
    for place in ("model", "best", "checkpoints/step-00000060"):
        name = f"{place}/model.safetensors"
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert checkpoints(run) == ["step-00000059", "step-00000060"]
    assert not is_writing(run)


def signal_all(training: Any, number: int) -> None:
    """Send a signal to a training and its workers, as a terminal and some schedulers do."""
    children = Path(f"/proc/{training.pid}/task/{training.pid}/children").read_text().split()
    for pid in (training.pid, *map(int, children)):
        os.kill(pid, number)


@pytest.mark.parametrize(
    ("number", "status", "num_workers"),
    [(signal.SIGTERM, 143, 0), (signal.SIGINT, 130, 1)],
    ids=["SIGTERM", "SIGINT-with-workers"],
)
def test_training_asked_to_stop_saves_says_so_and_goes_on_to_the_same_end(
    train_server: Any,
    write_recipe: WriteRecipe,
    tmp_path: Path,
    number: int,
    status: int,
    num_workers: int,
) -> None:
    sections = {
        "optim": {"steps": 20},
        "save_every": 20,
        "validate_every": 1,
        "data": {"cache_pixels": num_workers == 0, "num_workers": num_workers},
    }
    stopped = write_recipe("stopped", **sections)
    run = tmp_path / "stopped"
    training = train_server.start([str(stopped)], log=tmp_path / "stopped.txt", slow_s=SLOW_S)
    wait_until(lambda: log_identity(run)[1], training)
    signal_all(training, number)
    training.kill(number)
    assert training.wait() == status, training.log.read_text()
    text = " ".join(training.log.read_text().split())
    name = signal.Signals(number).name
    assert f"{name}: stopping after the current step." in text
    (place,) = checkpoints(run)
    step = int(place.removeprefix("step-"))
    assert 1 <= step < 20
    assert (
        f"Error: Stopped by {name} after step {step}; the checkpoint is saved. "
        "Run the same command again to go on."
    ) in text
    assert "Traceback" not in text
    train_server.finish([str(write_recipe("whole", **sections))], log=tmp_path / "whole.txt")
    train_server.finish([str(stopped)], log=tmp_path / "again.txt")
    assert log_of(run) == log_of(tmp_path / "whole")


def test_training_of_two_processes_stops_when_one_of_them_is_asked_to(
    train_server: Any, write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    place = write_recipe("two", optim={"steps": 400}, save_every=400, validate_every=400)
    run = tmp_path / "two"
    both = train_server.start_many(2, [str(place)], log=tmp_path / "two.log")
    wait_until(lambda: log_identity(run)[1], both[0])
    both[1].kill(signal.SIGTERM)
    assert [training.wait() for training in both] == [143, 143], both[0].log.read_text()
    texts = [" ".join(training.log.read_text().split()) for training in both]
    assert "2 process(es) on cpu" in texts[0]
    (name,) = checkpoints(run)
    for text in texts:
        assert f"Stopped by SIGTERM after step {int(name[5:])}; the checkpoint is saved." in text


def test_training_of_two_processes_with_a_bad_loss_stops_both_and_names_the_rows_of_both(
    train_server: Any, write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    place = write_recipe("bad", optim={"steps": 3, "learning_rate": 1e30}, save_every=1)
    both = train_server.start_many(2, [str(place)], log=tmp_path / "bad.log")
    assert [training.wait() for training in both] == [2, 2], both[0].log.read_text()
    for training in both:
        text = " ".join(training.log.read_text().split())
        assert "Error: Loss or gradient is nan at step 2, rows " in text
        assert text.count("pick_refine_img/train/") == 6
        assert "No step was taken; the last checkpoint is intact." in text
    assert checkpoints(tmp_path / "bad") == ["step-00000001"]


def test_training_on_a_full_disk_stops_with_the_last_checkpoint_intact(
    train_server: Any, write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    # The largest size of a file stands for the size of the disk: writing fails half-way.
    constant = {"schedule": "constant"}
    begun = write_recipe("run", optim={**constant, "steps": 4}, save_every=2)
    run = tmp_path / "run"
    train_server.finish([str(begun)], log=tmp_path / "begun.txt")
    longer = write_recipe("run", optim={**constant, "steps": 8}, save_every=2)
    kept = {place: place.read_bytes() for place in run.glob("checkpoints/*/*")}
    limit = (run / "checkpoints" / "step-00000004" / "optimizer.safetensors").stat().st_size - 1
    training = train_server.start([str(longer)], log=tmp_path / "full.txt", file_limit=limit)
    assert training.wait() == 2
    text = " ".join(training.log.read_text().split())
    assert (
        f"Error: What belongs into {run} could not be written: File too large. The checkpoint "
        "step-00000004 is intact. Free some room, then run the same command again."
    ) in text
    assert "Traceback" not in text
    assert {place: place.read_bytes() for place in run.glob("checkpoints/*/*")} == kept
    train_server.finish([str(longer)], log=tmp_path / "again.txt")
    whole = write_recipe("whole", optim={**constant, "steps": 8}, save_every=2)
    train_server.finish([str(whole)], log=tmp_path / "whole.txt")
    weights = "model/model.safetensors"
    assert (run / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()


def test_training_with_no_room_for_its_log_stops_in_a_sentence(
    train_server: Any, write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    place = write_recipe("run", optim={"steps": 200}, save_every=200, validate_every=200)
    # Room for recipe and versions, and for some lines of the log. TensorBoard's own thread may run
    # out of it too, and then says so in its own way.
    limit = 4_000
    training = train_server.start([str(place)], log=tmp_path / "full.txt", file_limit=limit)
    assert training.wait() == 2, training.log.read_text()
    text = " ".join(training.log.read_text().split())
    assert "could not be written: File too large. There is no checkpoint yet. Free some" in text
