"""Plots as files and as part of a page: one drawing, readable in light and in dark.

Matplotlib draws in the page's light colours. On a page each of those becomes the CSS variable of
the same name, so that a plot follows the reader's colour scheme as text does.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from visreward.core.errors import missing_extra
from visreward.core.whole_files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK: Final = "#1b2430"
SOFT: Final = "#5d6a7a"
LINE: Final = "#dfe3e8"
CARD: Final = "#ffffff"
TRACK: Final = "#e9edf1"
SERIES: Final = (
    "#2f6fdf",
    "#b9501a",
    "#17804a",
    "#8a5bd6",
    "#b3243a",
    "#007a91",
    "#856a00",
    "#b83a86",
)
"""One colour for each model; all stand out from white by 4.5 to 1 or more."""

MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")
"""One sign for each model, for readers to whom colours look alike."""

WIDTH: Final = 5.0
"""Inches, 360 points: as wide as a phone, so that text is neither scaled up nor down there."""

_VARIABLES: Final = {
    INK: "var(--ink)",
    SOFT: "var(--soft)",
    LINE: "var(--line)",
    CARD: "var(--card)",
    TRACK: "var(--track)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(SERIES)},
}
_COLOUR: Final = re.compile(rf"(?<=: )({'|'.join(_VARIABLES)})\b")
_ID: Final = re.compile(r'\bid="([^"]+)"')
_REFERENCE: Final = re.compile(r'(href="#|url\(#)([^")]+)')
_SETTINGS: Final = {
    "svg.hashsalt": "visreward",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.facecolor": CARD,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "figure.facecolor": CARD,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}
"""All that a style sheet or a user's matplotlibrc would change; the rest is matplotlib's own."""

Draw: TypeAlias = "Callable[[Figure], None]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A plot, and what it shows in words and numbers for those who cannot see it.

    Attributes:
        name: Stem of its files; also what its parts are called on a page.
        title: Plain text above it.
        caption: Plain text below it: how to read it.
        alt: What it shows, in a sentence.
        columns: Heads of the table of its numbers; the first heads the rows.
        rows: The cells.
        height: Inches.
        draw: Draws it.
    """

    name: str
    title: str
    caption: str
    alt: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    height: float
    draw: Draw


def colour_of(place: int) -> str:
    """Return the colour of a model by its place among those shown."""
    return SERIES[place % len(SERIES)]


def marker_of(place: int) -> str:
    """Return the sign of a model by its place among those shown."""
    return MARKERS[place % len(MARKERS)]


def save_plot(plot: Plot, folder: Path | None) -> str:
    """Draw a plot and return it as an SVG element for a page; the same plot gives the same bytes.

    Args:
        plot: What to draw.
        folder: Where `NAME.svg` and `NAME.png` go, made where it is missing; None writes none.

    Raises:
        MissingExtraError: if matplotlib is not installed.
        OSError: if a file cannot be written.
    """
    with _settings() as figure:
        figure.set_size_inches(WIDTH, plot.height)
        plot.draw(figure)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
        drawing = stream.getvalue()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            with whole_file(folder / f"{plot.name}.svg") as part:
                part.write_text(drawing, encoding="utf-8")
            with whole_file(folder / f"{plot.name}.png") as part:
                figure.savefig(part, format="png", dpi=200, metadata={"Software": None})
    return _element(drawing, plot)


def share_axis(axis: Axes, *, is_x: bool = False, low: float = 0.0, high: float = 1.0) -> None:
    """Make an axis of shares read in per cent, from `low` to `high`."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    scale = axis.xaxis if is_x else axis.yaxis
    scale.set_major_formatter(PercentFormatter(1.0, decimals=0))
    scale.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    margin = 0.02 * (high - low)
    (axis.set_xlim if is_x else axis.set_ylim)(low - margin, high + margin)


def legend_below(figure: Figure, axis: Axes, names: Sequence[str]) -> None:
    """Name the models below the plot, where there is more than one."""
    if len(names) > 1:
        handles, labels = axis.get_legend_handles_labels()
        columns = 2 if max(map(len, names)) <= 22 else 1
        figure.legend(handles, labels, loc="outside lower left", ncols=columns)


def shortened(name: str, length: int = 28) -> str:
    """Return a name that fits beside a plot; matplotlib is kept from reading it as a formula."""
    name = name if len(name) <= length else f"{name[: length - 1]}…"
    return name.replace("$", r"\$")


@contextmanager
def _settings() -> Iterator[Figure]:
    try:
        from matplotlib import rc_context, rcParamsDefault
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "bench") from error
    backend = {"backend", "backend_fallback", "interactive"}
    settings: dict[Any, Any] = {  # matplotlib's own names
        **{key: value for key, value in rcParamsDefault.items() if key not in backend},
        **_SETTINGS,
    }
    with rc_context(settings):
        yield Figure(layout="constrained")


def _element(drawing: str, plot: Plot) -> str:
    """Return the SVG element of a drawing, in the page's colours and with names of its own."""
    drawing = drawing[drawing.index("<svg") :]
    # The drawing's own style would hold for the whole page.
    drawing = re.sub(r"<(metadata|style)\b.*?</\1>\s*", "", drawing, flags=re.DOTALL)
    # Names of parts are kept only where another part points at them.
    wanted = {name for _, name in _REFERENCE.findall(drawing)}
    drawing = _ID.sub(
        lambda found: f'id="{plot.name}-{found[1]}"' if found[1] in wanted else "", drawing
    )
    drawing = _REFERENCE.sub(rf"\1{plot.name}-\2", drawing)
    drawing = _COLOUR.sub(lambda found: _VARIABLES[found[0]], drawing)
    head, rest = drawing.split(">", 1)
    head = re.sub(r' (?:width|height)="[^"]*"', "", head).removeprefix("<svg")
    return f'<svg class="plot" role="img" aria-label="{html.escape(plot.alt)}"{head}>{rest}'
