"""The page as a whole: score one image, compare many, compare edits, and what the models are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import gradio
from gradio.utils import get_upload_folder

from visreward.demo.examples import draw_examples
from visreward.demo.handlers import Handlers
from visreward.demo.results import models_html
from visreward.demo.scoring import KEPT_S
from visreward.demo.tabs import Page, add_compare_tab, add_edit_tab, add_score_tab

if TYPE_CHECKING:
    from visreward.demo.loaded_models import LoadedModels

_SWEEP_S: Final = 600
_MAX_WAITING: Final = 64
_HEADING: Final = """<div class="shown masthead"><h1>visreward</h1>
<p>What reward models say about generated and edited images. Everything is computed on this
machine; uploads are deleted after an hour and when the page stops.</p></div>"""


def build_app(models: LoadedModels) -> gradio.Blocks:
    """Return the page; examples are drawn into Gradio's folder of uploads."""
    examples = draw_examples(Path(get_upload_folder()) / "examples")
    page = Page(models=models, examples=examples, handlers=Handlers(models, examples))
    blocks: gradio.Blocks
    with gradio.Blocks(
        title="visreward", analytics_enabled=False, delete_cache=(_SWEEP_S, KEPT_S)
    ) as blocks:
        gradio.HTML(_HEADING)
        with gradio.Tabs():
            add_score_tab(page)
            add_compare_tab(page)
            add_edit_tab(page)
            with gradio.Tab("Models"):
                gradio.HTML(models_html(models))
        blocks.queue(max_size=_MAX_WAITING)
    return blocks
