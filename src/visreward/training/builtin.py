"""Make the models that ship with the package again, from nothing: `make builtin`.

Stages, in order: scenes with captions, clip-mini, scenes as triplets, their labels, ict-mini,
triplets with a photographic finish, hp-mini, edits of scenes, vision-mini, editreward-mini,
hpsv3-mini, and the copy into the package. A finished stage is not repeated; an interrupted one goes
on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from visreward.data.scenes.write import write_captions, write_pick_high
from visreward.data.scenes.write_edits import write_edits
from visreward.models.clip.family import CLIPRewardModel
from visreward.models.loading import load_model
from visreward.training.data.labels import label_pick_high
from visreward.training.recipe import load_config
from visreward.training.reporting.journal import shown
from visreward.training.run import train

CAPTIONS, PICK_HIGH = Path("work/scenes-captions"), Path("work/scenes-pick-high")
PHOTOGRAPHIC, EDITS = Path("work/scenes-photographic"), Path("work/scenes-edit")
NUM_FAMILIES, NUM_TRIPLETS, NUM_EDITS = 60_000, 24_000, 24_000
CAPTION_SEED, TRIPLET_SEED, PHOTOGRAPHIC_SEED, EDIT_SEED = 11, 12, 13, 14
FINISH_SHARE = 0.7
CAPTION_SIZE, TRIPLET_SIZE, EDIT_SIZE = 64, 128, 96
MODELS = ("clip-mini", "ict-mini", "hp-mini", "editreward-mini", "hpsv3-mini")
PACKAGE_FOLDER = Path(__file__).resolve().parent.parent / "models" / "builtin"


@contextmanager
def counted(console: Console, title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar that is told how many more items are done."""
    done = 0
    with shown(console, title) as progress:

        def advance(num: int) -> None:
            nonlocal done
            done += num
            progress(done, total)

        yield advance


def make_captions(console: Console) -> None:
    """Write families of scenes with their captions."""
    with counted(console, "scenes with captions", NUM_FAMILIES) as progress:
        write_captions(
            CAPTIONS, num=NUM_FAMILIES, seed=CAPTION_SEED, size=CAPTION_SIZE, progress=progress
        )


def make_triplets(path: Path, *, seed: int, finish_share: float) -> Callable[[Console], None]:
    """Return the stage that writes triplets in Pick-High's layout."""

    def stage(console: Console) -> None:
        with counted(console, "scenes as triplets", NUM_TRIPLETS) as progress:
            write_pick_high(
                path,
                num=NUM_TRIPLETS,
                seed=seed,
                size=TRIPLET_SIZE,
                finish_share=finish_share,
                progress=progress,
            )

    return stage


def make_edits(console: Console) -> None:
    """Write edits in EditReward's layout."""
    with counted(console, "edits of scenes", NUM_EDITS) as progress:
        write_edits(EDITS, num=NUM_EDITS, seed=EDIT_SEED, size=EDIT_SIZE, progress=progress)


def make_labels(console: Console) -> None:
    """Label the triplets with clip-mini."""
    model = load_model("runs/clip-mini/model")
    assert isinstance(model, CLIPRewardModel)
    with shown(console, "labels") as progress:
        theta = label_pick_high(PICK_HIGH, model, progress=progress)
    console.print(f"labels made with theta {theta:.4f}")


def train_model(name: str, overrides: list[str]) -> Callable[[Console], None]:
    """Return the stage that trains one recipe."""

    def stage(console: Console) -> None:
        metrics = train(load_config(name, overrides), console=console, recipe=name)
        console.print(f"{name}: {json.dumps(metrics)}")

    return stage


def install(_: Console) -> None:
    """Copy the finished models into the package."""
    for name in MODELS:
        target = PACKAGE_FOLDER / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(Path("runs") / name / "model", target)


def stages(overrides: list[str]) -> list[tuple[str, Callable[[Console], None]]]:
    """Return all stages, in order."""
    return [
        ("captions", make_captions),
        ("clip-mini", train_model("clip-mini", overrides)),
        ("triplets", make_triplets(PICK_HIGH, seed=TRIPLET_SEED, finish_share=0)),
        ("labels", make_labels),
        ("ict-mini", train_model("ict-mini", overrides)),
        (
            "photographic",
            make_triplets(PHOTOGRAPHIC, seed=PHOTOGRAPHIC_SEED, finish_share=FINISH_SHARE),
        ),
        ("hp-mini", train_model("hp-mini", overrides)),
        ("edits", make_edits),
        ("vision-mini", train_model("vision-mini", overrides)),
        ("editreward-mini", train_model("editreward-mini", overrides)),
        ("hpsv3-mini", train_model("hpsv3-mini", overrides)),
        ("install", install),
    ]


def main(arguments: list[str] | None = None) -> None:
    """Run the stages that are not done yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", action="append", help="run just this stage; may be repeated")
    parser.add_argument("overrides", nargs="*", help="recipe overrides, such as device=cuda")
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    finished = Path("runs/builtin-stages.json")
    finished.parent.mkdir(parents=True, exist_ok=True)
    done: dict[str, float] = json.loads(finished.read_text()) if finished.is_file() else {}
    for name, stage in stages(options.overrides):
        if name in done or (options.only and name not in options.only):
            continue
        console.rule(name)
        started = time.monotonic()
        stage(console)
        done[name] = round((time.monotonic() - started) / 60, 1)
        finished.write_text(json.dumps(done, indent=2) + "\n")
        console.print(f"{name}: {done[name]} minutes")


if __name__ == "__main__":
    main()
