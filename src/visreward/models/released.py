"""Import of released checkpoints into native folders."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from safetensors.torch import load_file
from transformers import CLIPConfig

from visreward.core.errors import ModelNotFoundError, UsageError, WeightsError
from visreward.models.base import ModelFacts, RewardModel
from visreward.models.catalog import find_row
from visreward.models.clip.backbone import CLIPBackboneConfig
from visreward.models.key_maps import Translated, to_ours
from visreward.models.kinds import MODEL_KINDS
from visreward.models.layouts import Layout, WeightsFile, find_layout
from visreward.models.native_config import is_native_folder
from visreward.models.pickles import convert_pickle
from visreward.models.tensors import fill, opened, weights_digest, without_weights
from visreward.models.weights import WEIGHTS_NAME, save_native, write_parts

if TYPE_CHECKING:
    from torch import Tensor

    from visreward.models.native_config import Origin

_TEXT_TOWER: Final = (
    "backbone.clip.text_model.",
    "backbone.clip.text_projection.",
    "backbone.clip.logit_scale",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did.

    Attributes:
        output: The native folder.
        read: The files that were read, of the weights and of the backbone's configuration.
        left_out: Names of tensors and entries of the released files that the model has no use for.
        revision: Digest of the weights; those of the parts joined by `+`.
    """

    output: Path
    read: tuple[Path, ...]
    left_out: tuple[str, ...]
    revision: str


def import_released(
    layout: str,
    *,
    checkpoint: Path,
    backbone: Path,
    output: Path,
    force: bool = False,
    name: str | None = None,
    origin: Origin | None = None,
) -> ImportReport:
    """Turn a released checkpoint into a native folder; all of it appears at once, or nothing.

    The weights keep the dtype of the release. Pickles are read in a process of their own.

    Args:
        layout: Name of the released layout.
        checkpoint: Folder of the release.
        backbone: Folder of the backbone: config.json, preprocessor_config.json, tokenizer files.
        output: The native folder to write.
        force: Whether to replace a native folder that is there.
        name: The catalog row that gives the facts; None takes the one named like the layout.
        origin: Where the weights were downloaded from, or None.

    Raises:
        UnknownNameError: if the layout is unknown.
        ModelNotFoundError: if a file of the release or of the backbone is missing.
        UsageError: if `output` is there and may not be replaced.
        WeightsError: if the weights do not fit the backbone; UnsafePickleError if a pickle holds
            more than tensors.
    """
    wanted = find_layout(layout)
    facts = released_facts(name or layout)
    for part in (wanted, *(find_layout(part) for part in wanted.parts.values())):
        _find_files(part, checkpoint=checkpoint, backbone=backbone)
    with _replacing(output, force=force) as work:
        if not wanted.parts:
            report = _import_one(wanted, facts, checkpoint, backbone, work, origin)
        else:
            report = _import_parts(wanted, facts, checkpoint, backbone, work)
    return ImportReport(
        output=output, read=report.read, left_out=report.left_out, revision=report.revision
    )


def released_facts(name: str) -> ModelFacts:
    """Return the facts of a released model from its catalog row."""
    row = find_row(name)
    return ModelFacts(
        name=row.name,
        needs_prompt=row.needs_prompt,
        dimensions=row.dimensions,
        score_range=row.score_range,
        fidelity="released",
        licence=row.licence,
        note=row.note,
    )


def _import_parts(
    layout: Layout, facts: ModelFacts, checkpoint: Path, backbone: Path, work: Path
) -> ImportReport:
    reports = {
        part: _import_one(
            find_layout(of), released_facts(of), checkpoint, backbone, work / part, None
        )
        for part, of in layout.parts.items()
    }
    write_parts(facts, work, kind=layout.kind, parts={part: part for part in layout.parts})
    return ImportReport(
        output=work,
        read=tuple(dict.fromkeys(path for report in reports.values() for path in report.read)),
        left_out=tuple(
            f"{part}: {name}" for part, report in reports.items() for name in report.left_out
        ),
        revision="+".join(report.revision for report in reports.values()),
    )


def _import_one(
    layout: Layout,
    facts: ModelFacts,
    checkpoint: Path,
    backbone: Path,
    work: Path,
    origin: Origin | None,
) -> ImportReport:
    found = _find_files(layout, checkpoint=checkpoint, backbone=backbone)
    work.mkdir(exist_ok=True)
    tensors: dict[str, Tensor] = {}
    left_out: list[str] = []
    with tempfile.TemporaryDirectory(dir=work, prefix=".converted-") as scratch:
        for number, (file, path) in enumerate(found.items()):
            translated = _read(file, path, Path(scratch) / f"{number}.safetensors", layout)
            tensors.update(translated.tensors)
            left_out.extend(translated.left_out)
        model = _empty_model(layout, facts, backbone)
        fill(
            model,
            shapes={name: tuple(tensor.shape) for name, tensor in tensors.items()},
            read=tensors.__getitem__,
            source=", ".join(str(path) for path in found.values()),
        )
        save_native(model, work, origin=origin)
    return ImportReport(
        output=work,
        read=(*found.values(), *_backbone_files(layout, backbone)),
        left_out=tuple(left_out),
        revision=weights_digest(work / WEIGHTS_NAME),
    )


def _read(file: WeightsFile, path: Path, converted: Path, layout: Layout) -> Translated:
    beside: list[str] = []
    if path.suffix == ".safetensors":
        converted = path
    else:
        beside = convert_pickle(path, output=converted)
    with opened(converted):
        tensors = load_file(converted)
    translated = to_ours(tensors, file.key_map, without=() if layout.text_cleaning else _TEXT_TOWER)
    return Translated(tensors=translated.tensors, left_out=(*translated.left_out, *beside))


def _empty_model(layout: Layout, facts: ModelFacts, backbone: Path) -> RewardModel:
    wanted = CLIPBackboneConfig.from_clip(
        CLIPConfig.from_dict(_clip_values(backbone)), image_only=layout.text_cleaning is None
    )
    values: dict[str, object] = {"backbone": wanted.to_dict()}
    if wanted.text is not None:
        values["context"] = wanted.text["max_position_embeddings"]
        values["text_cleaning"] = layout.text_cleaning
    with without_weights():
        return MODEL_KINDS.get(layout.kind).from_config(values, facts, backbone)


def _clip_values(backbone: Path) -> dict[str, object]:
    path = backbone / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path} is not JSON: {error}. Download it again.") from error
    if not isinstance(values, dict) or values.get("model_type") != "clip":
        kind = values.get("model_type") if isinstance(values, dict) else type(values).__name__
        raise WeightsError(
            f"{path} describes a {kind!r} model, expected 'clip'. Give the folder of the CLIP "
            "model that the release was trained from as --backbone."
        )
    return values


def _find_files(layout: Layout, *, checkpoint: Path, backbone: Path) -> dict[WeightsFile, Path]:
    """Return where each file of weights lies, once all files of the import are there."""
    found = {}
    for file in layout.files:
        folder = checkpoint if file.place == "checkpoint" else backbone
        existing = [folder / name for name in file.names if (folder / name).is_file()]
        if not existing:
            raise ModelNotFoundError(
                f"{folder} lacks the weights of '{layout.kind}': none of "
                f"{', '.join(file.names)} is there. Give the folder that holds it as "
                f"--{file.place}."
            )
        found[file] = existing[0]
    if layout.files:
        _backbone_files(layout, backbone)
    return found


def _backbone_files(layout: Layout, backbone: Path) -> tuple[Path, ...]:
    needed: list[tuple[str, ...]] = [("config.json",), ("preprocessor_config.json",)]
    if layout.text_cleaning is not None:
        needed.append(("tokenizer.json", "vocab.json"))
    found = []
    for names in needed:
        existing = [backbone / name for name in names if (backbone / name).is_file()]
        if not existing:
            raise ModelNotFoundError(
                f"The backbone folder {backbone} has no {' or '.join(names)}. Give the folder of "
                "the CLIP model that the release was trained from as --backbone."
            )
        found.append(existing[0])
    return tuple(found)


@contextmanager
def _replacing(output: Path, *, force: bool) -> Iterator[Path]:
    """Give a folder to build in; it takes the place of `output` when all went well."""
    if output.exists() and not force:
        raise UsageError(f"{output} is already there. Choose another --output, or add --force.")
    if output.exists() and not is_native_folder(output):
        raise UsageError(
            f"{output} is there and is no native folder, so it is not replaced. "
            "Choose another --output."
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as scratch:
        work = Path(scratch) / "model"
        work.mkdir()
        yield work
        if output.exists():
            output.rename(Path(scratch) / "replaced")
        work.rename(output)
