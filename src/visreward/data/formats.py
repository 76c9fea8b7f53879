"""The formats of preference data, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from visreward.data.editreward_data import EDITREWARD
from visreward.data.editreward_tables import EDITREWARD_BENCH, EDITREWARD_DATA
from visreward.data.hpdv3 import HPDV3
from visreward.data.imagerewarddb import IMAGEREWARDDB
from visreward.data.pick_a_pic import PICK_A_PIC
from visreward.data.preference_files import PreferenceFormat

PREFERENCE_FORMATS: Final[Mapping[str, PreferenceFormat]] = {
    layout.name: layout
    for layout in (
        HPDV3,
        EDITREWARD,
        EDITREWARD_DATA,
        EDITREWARD_BENCH,
        PICK_A_PIC,
        IMAGEREWARDDB,
    )
}
