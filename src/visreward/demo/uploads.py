"""Where an upload lies and what its giver calls it.

Gradio's own reading would decode an upload with every parser that Pillow has, and know it by its
path only; events with `preprocess=False` hand over what the browser sent, checked for its shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from visreward.demo.scoring import Upload

# Any: a record of Gradio's, of which two entries are read.
FileRecord: TypeAlias = Mapping[str, Any]


def one_upload(given: FileRecord | None) -> Upload | None:
    """Return the image of a place for one, or None where there is none."""
    return None if given is None else _upload(given)


def all_uploads(given: Sequence[Mapping[str, Any]] | None) -> list[Upload]:
    """Return the files of a gallery in their order; a video is among them as it is."""
    return [_upload(each.get("image") or each["video"]) for each in given or ()]


def _upload(record: FileRecord) -> Upload:
    path = Path(record["path"])
    name = record.get("orig_name")
    return Upload(path=path, name=Path(name).name if name else path.name)
