"""Read images of several generators in folders, each image beside its prompt.

Layout, as HPSv3's evaluation takes it, one folder more for the generator:

    PATH/GENERATOR/CATEGORY/NAME.png    the image (.png, .jpg, .jpeg, .webp), at any depth
    PATH/GENERATOR/CATEGORY/NAME.txt    its prompt; or in place of all of a category's:
    PATH/CATEGORY.json                  [{"id": "NAME", "prompt": ...}, ...], or a list of prompts
                                        alone, whose images are 00000.png, 00001.png, ...
    PATH/human_scores.json              what people make of the generators: {"GENERATOR": 7.5, ...}

The lists are those of ImageReward's and HPSv2's benchmark prompts. Higher human scores are better;
that file may be left out. Images of one category, name and prompt are one row. Released code of
HPSv3: joins the lines of a prompt by two line breaks; here they are kept.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from visreward.core.errors import DataError
from visreward.data.base import Problem, ProblemLog, list_files
from visreward.data.json_rows import iterate_json_list
from visreward.data.preferences import JudgedImage, PreferenceRow
from visreward.data.row import Row

HUMAN_SCORES_FILE: Final = "human_scores.json"

_IMAGE_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorImages:
    """Images of several generators.

    Attributes:
        rows: One per category, name and prompt, with an image per generator that has one. No
            image has a rank; `overall` is what people make of its generator.
        problems: Images without a prompt, and generators that people did not score.
    """

    rows: tuple[PreferenceRow, ...]
    problems: tuple[Problem, ...]


def read_generator_images(path: Path) -> GeneratorImages:
    """Return the images below a folder. Deterministic; no image is opened.

    Raises:
        DataError: if there is no image with a prompt, or a JSON file cannot be read.
    """
    log = ProblemLog()
    names = set(list_files(path))
    human = _human_scores(path / HUMAN_SCORES_FILE) if HUMAN_SCORES_FILE in names else {}
    listed = _listed_prompts(path, names, log)
    found: dict[tuple[str, str, str], list[tuple[str, str]]] = defaultdict(list)
    for name in sorted(names):
        parts = PurePosixPath(name)
        if parts.suffix.lower() not in _IMAGE_SUFFIXES or len(parts.parts) < 3:
            continue
        generator, category = parts.parts[:2]
        key = "/".join(parts.with_suffix("").parts[2:])
        prompt = listed.get((category, key)) or _own_prompt(path, parts, names, log)
        if prompt is not None:
            found[category, key, prompt].append((generator, name))
    rows = tuple(
        PreferenceRow(
            id=f"{category}/{key}",
            prompt=prompt,
            images=tuple(
                JudgedImage(
                    image=path / name, rank=None, overall=human.get(generator), generator=generator
                )
                for generator, name in images
            ),
            category=category,
        )
        for (category, key, prompt), images in sorted(found.items())
    )
    if not rows:
        raise DataError(
            f"No image with a prompt was found in '{path}'. Lay images out as "
            "GENERATOR/CATEGORY/NAME.png, each beside its prompt in NAME.txt."
        )
    _compare_generators((image.generator or "" for row in rows for image in row.images), human, log)
    return GeneratorImages(rows=rows, problems=log.problems())


def _listed_prompts(path: Path, names: set[str], log: ProblemLog) -> dict[tuple[str, str], str]:
    """Return the prompts in files of whole categories, by category and name of the image."""
    found = {}
    for name in sorted(names):
        file = PurePosixPath(name)
        if file.suffix != ".json" or len(file.parts) > 1 or name == HUMAN_SCORES_FILE:
            continue
        for number, value in enumerate(iterate_json_list(path / name)):
            given = {"id": f"{number:05d}", "prompt": value} if isinstance(value, str) else value
            try:
                row = Row(given, file=path / name, number=number)
                found[file.stem, row.text("id")] = row.text("prompt")
            except DataError as error:
                log.add("malformed prompt", [str(error)])
    return found


def _own_prompt(path: Path, image: PurePosixPath, names: set[str], log: ProblemLog) -> str | None:
    text_name = str(image.with_suffix(".txt"))
    if text_name not in names:
        log.add("image without a prompt", [f"{image} has no {PurePosixPath(text_name).name}"])
        return None
    try:
        text = (path / text_name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        log.add("image without a prompt", [f"{text_name} cannot be read: {error}"])
        return None
    if not text:
        log.add("image without a prompt", [f"{text_name} is empty"])
        return None
    return text


def _compare_generators(there: Iterable[str], human: Mapping[str, float], log: ProblemLog) -> None:
    generators = set(there)
    if human:
        log.add(
            "generator that people did not score", sorted(generators - set(human)), is_warning=True
        )
        log.add("generator without images", sorted(set(human) - generators), is_warning=True)


def _human_scores(file: Path) -> dict[str, float]:
    try:
        held = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"'{file}' cannot be read as JSON: {error}. Write it again.") from error
    if not isinstance(held, dict) or not held:
        raise DataError(
            f"'{file}' holds a {type(held).__name__}, expected a score per generator. Write it as "
            '{"GENERATOR": 7.5}.'
        )
    for generator, score in held.items():
        is_number = isinstance(score, int | float) and not isinstance(score, bool)
        if not is_number or not math.isfinite(score):
            raise DataError(
                f"'{file}' has {score!r:.100} for '{generator}', expected a number. Give a score, "
                "higher is better; of a rank, its negative."
            )
    return {generator: float(score) for generator, score in held.items()}
