"""How the pages look: system fonts, calm colours, enough contrast in light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from visreward.evaluation.reports.page import cards_css

if TYPE_CHECKING:
    from gradio.themes import Base

_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")
_FIXED_FONTS = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def page_theme() -> Base:
    """Return the theme of all pages; it names system fonts only, so no font is fetched."""
    from gradio.themes import Base, colors, sizes

    theme = Base(
        primary_hue=colors.blue,
        secondary_hue=colors.blue,
        neutral_hue=colors.slate,
        text_size=sizes.text_lg,
        radius_size=sizes.radius_md,
        font=_FONTS,
        font_mono=_FIXED_FONTS,
    )
    return theme.set(
        body_background_fill="#f6f7f9",
        body_background_fill_dark="#12161c",
        background_fill_primary_dark="#1b212a",
        background_fill_secondary="#f6f7f9",
        background_fill_secondary_dark="#151a21",
        block_background_fill_dark="#1b212a",
        input_background_fill_dark="#151a21",
        border_color_primary="#dfe3e8",
        border_color_primary_dark="#2d3641",
        body_text_color_subdued="#5d6a7a",
        body_text_color_subdued_dark="#9aa8b8",
        block_label_text_color="#3f4b5a",
        block_label_text_color_dark="#c3cedb",
        block_title_text_color="#3f4b5a",
        block_title_text_color_dark="#c3cedb",
        input_placeholder_color="#5d6a7a",
        input_placeholder_color_dark="#9aa8b8",
        input_border_color="#8a97a8",
        input_border_color_dark="#5d6a7a",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
    )


def page_css() -> str:
    """Return the rules of all pages; those of reports hold inside the class `shown`."""
    own = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    return f".shown {{\n{cards_css()}}}\n{own}"


def page_head() -> str:
    """Return the script that makes elements of the class `live` live regions."""
    script = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
    return f"<script>{script}</script>"
