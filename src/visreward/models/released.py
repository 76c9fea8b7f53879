"""Import of released checkpoints into native folders."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from visreward.core.errors import UsageError
from visreward.models.catalog import catalog, find_row
from visreward.models.clip.released import TEXT_TOWER, empty_clip
from visreward.models.facts import ModelFacts
from visreward.models.layouts import Layout, find_layout
from visreward.models.native_config import is_native_folder
from visreward.models.released_files import find_backbone_files, find_weights, read_weights
from visreward.models.tensors import fill, weights_digest
from visreward.models.vlm.released import empty_vlm, read_vlm_source
from visreward.models.weights import WEIGHTS_NAME, save_native, write_parts

if TYPE_CHECKING:
    from torch import Tensor

    from visreward.models.native_config import Origin
    from visreward.models.vlm.release import KnownPrompts


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedSource:
    """Where a release lies on this machine.

    Attributes:
        checkpoint: Folder of the released weights.
        backbone: Folder of the backbone: config.json, preprocessor_config.json, tokenizer files.
        release: Source tree or wheel of the release, which holds the rating prompts of a
            vision-language model; None for CLIP models.
        config_name: Name of the release's training configuration; None takes its only one.
        known_prompts: What the release's rating prompts must be; None takes them as they are.
        origin: Where the weights were downloaded from, or None.
    """

    checkpoint: Path
    backbone: Path
    release: Path | None = None
    config_name: str | None = None
    known_prompts: KnownPrompts | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did.

    Attributes:
        output: The native folder.
        read: The files that were read, of the weights and of the backbone's configuration.
        left_out: Names of tensors and entries of the released files that the model has no use for.
        revision: Digest of the weights; those of the parts joined by `+`.
        prompts_sha256: Digest of the rating prompts; None for CLIP models.
    """

    output: Path
    read: tuple[Path, ...]
    left_out: tuple[str, ...]
    revision: str
    prompts_sha256: str | None = None


def import_released(
    layout: str,
    source: ReleasedSource,
    *,
    output: Path,
    force: bool = False,
    name: str | None = None,
) -> ImportReport:
    """Turn a released checkpoint into a native folder; all of it appears at once, or nothing.

    The weights keep the dtype of the release. Pickles are read in a process of their own.

    Args:
        layout: Name of the released layout.
        source: Where the release lies.
        output: The native folder to write.
        force: Whether to replace a native folder that is there.
        name: The catalog row that gives the facts; None takes the one named like the layout.

    Raises:
        UnknownNameError: if the layout is unknown.
        ModelNotFoundError: if a file of the release or of the backbone is missing.
        UsageError: if `output` is there and may not be replaced, or the release is not given.
        WeightsError: if the weights do not fit the backbone, or the rating prompts were changed;
            UnsafePickleError if a pickle holds more than tensors.
    """
    wanted = find_layout(layout)
    facts = released_facts(name or layout)
    for part in (wanted, *(find_layout(part) for part in wanted.parts.values())):
        if part.files:
            find_weights(part, checkpoint=source.checkpoint, backbone=source.backbone)
            find_backbone_files(part, source.backbone)
    with _replacing(output, force=force) as work:
        importer = _import_parts if wanted.parts else _import_one
        return replace(importer(wanted, facts, work, source), output=output)


def released_facts(name: str) -> ModelFacts:
    """Return the facts of a released model from its catalog row, or of a layout from its first."""
    rows = [row for row in catalog().values() if row.layout == name and row.name != name]
    row = rows[0] if rows and name not in catalog() else find_row(name)
    return ModelFacts(
        name=name,
        needs_prompt=row.needs_prompt,
        needs_source=row.needs_source,
        dimensions=row.dimensions,
        score_range=row.score_range,
        fidelity="released",
        licence=row.licence,
        note=row.note,
    )


def _import_parts(
    layout: Layout, facts: ModelFacts, work: Path, source: ReleasedSource
) -> ImportReport:
    reports = {
        part: _import_one(find_layout(of), released_facts(of), work / part, source)
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
    layout: Layout, facts: ModelFacts, work: Path, source: ReleasedSource
) -> ImportReport:
    checkpoint, backbone = source.checkpoint, source.backbone
    found = find_weights(layout, checkpoint=checkpoint, backbone=backbone)
    # What describes a model is checked before its weights, which may be 16 GB, are read.
    vlm = None
    if layout.release is not None:
        vlm = read_vlm_source(
            layout,
            backbone,
            release=source.release,
            config_name=source.config_name,
            known=source.known_prompts,
        )
    work.mkdir(exist_ok=True)
    is_image_only = vlm is None and layout.text_cleaning is None
    tensors: dict[str, Tensor] = {}
    left_out: list[str] = []
    with tempfile.TemporaryDirectory(dir=work, prefix=".converted-") as scratch:
        for file, paths in found.items():
            translated = read_weights(
                file, paths, scratch=Path(scratch), without=TEXT_TOWER if is_image_only else ()
            )
            tensors.update(translated.tensors)
            left_out.extend(translated.left_out)
        if vlm is None:
            model = empty_clip(layout, facts, backbone)
        else:
            empty = empty_vlm(layout, facts, vlm, tensors)
            model, tensors = empty.model, dict(empty.tensors)
        weights = [path for paths in found.values() for path in paths]
        fill(
            model,
            shapes={name: tuple(tensor.shape) for name, tensor in tensors.items()},
            read=tensors.__getitem__,
            source=", ".join(map(str, weights)),
        )
        save_native(model, work, origin=source.origin)
    described = (*find_backbone_files(layout, backbone), *(vlm.files if vlm else ()))
    return ImportReport(
        output=work,
        read=(*weights, *described),
        left_out=tuple(left_out),
        revision=weights_digest(work / WEIGHTS_NAME),
        prompts_sha256=vlm.read.prompts.digest if vlm else None,
    )


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
