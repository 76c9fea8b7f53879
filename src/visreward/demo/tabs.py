"""The tabs of the page: what stands on each, and which button does what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import gradio

from visreward.demo.examples import words_of
from visreward.demo.results import hint_html, needs_text
from visreward.demo.scoring import MAX_IMAGES

if TYPE_CHECKING:
    from visreward.demo.examples import Examples
    from visreward.demo.handlers import Handlers
    from visreward.demo.loaded_models import LoadedModels
    from visreward.demo.scoring import Upload
    from visreward.demo.uploads import FileRecord
    from visreward.models.facts import ModelFacts

# Any: Gradio takes options of many types by keyword.
_ONE_AT_A_TIME: Final[dict[str, Any]] = {
    "concurrency_id": "models",
    "concurrency_limit": 1,
    "api_visibility": "private",
    "show_progress": "minimal",
    "preprocess": False,
}
_AT_ONCE: Final[dict[str, Any]] = {
    "api_visibility": "private",
    "show_progress": "hidden",
    "preprocess": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What all tabs use.

    Attributes:
        models: The reward models to choose from.
        examples: The example pictures.
        handlers: What buttons do.
    """

    models: LoadedModels
    examples: Examples
    handlers: Handlers

    def facts(self, name: str) -> ModelFacts:
        """Return the facts of a model by its name."""
        return self.models[name].facts


def add_score_tab(page: Page) -> None:
    """Add the tab that scores one image."""
    names = [facts.name for facts in page.models.facts]
    first = page.facts(names[0])
    with gradio.Tab("Score"), gradio.Row(equal_height=False):
        with _inputs():
            model = _model_choice(page, names)
            prompt = _prompt_box(first)
            image = _image_box("Image to score")
            source = _image_box("Source image: before the edit", visible=first.needs_source)
            go = gradio.Button("Score this image", variant="primary")
            buttons: list[tuple[gradio.Button, list[Any]]] = []
            rows = []
            for of_edits in (False, True):
                with gradio.Group(visible=first.needs_source == of_edits) as row:
                    buttons += _example_buttons(page.examples, of_edits=of_edits)
                rows.append(row)
        result = _results("The score will stand here.", label="Score of the image")

    def fit_to_model(name: str, given: FileRecord | None) -> list[Any]:
        facts = page.facts(name)
        return [
            _model_update(facts),
            _prompt_update(facts),
            # A source that the model does not take stays in sight, where it can be removed.
            gradio.update(visible=facts.needs_source or given is not None),
            gradio.update(visible=not facts.needs_source),
            gradio.update(visible=facts.needs_source),
        ]

    model.input(fit_to_model, [model, source], [model, prompt, source, *rows], **_AT_ONCE)
    inputs = [model, prompt, image, source]
    gradio.on([go.click, prompt.submit], page.handlers.score, inputs, result, **_ONE_AT_A_TIME)
    for button, values in buttons:
        filled = button.click(_given(values), None, [prompt, image, source], **_AT_ONCE)
        filled.then(page.handlers.score, inputs, result, **_ONE_AT_A_TIME)


def add_compare_tab(page: Page) -> None:
    """Add the tab that ranks images of one prompt."""
    names = page.models.names(of_edits=False)
    with gradio.Tab("Compare"):
        if not names:
            gradio.HTML(_none_loaded("scores single images", "ict-hp-mini"))
            return
        with gradio.Row(equal_height=False):
            with _inputs():
                model = _model_choice(page, names)
                prompt = _prompt_box(page.facts(names[0]))
                images = _gallery_box(f"Images to compare, up to {MAX_IMAGES}")
                go = gradio.Button("Rank these images", variant="primary")
                example = gradio.Button("Try it with six example images")
            result = _results("The images will stand here, best first.", label="Ranking of images")
    model.input(
        lambda name: [_model_update(page.facts(name)), _prompt_update(page.facts(name))],
        model,
        [model, prompt],
        **_AT_ONCE,
    )
    inputs = [model, prompt, images]
    gradio.on([go.click, prompt.submit], page.handlers.rank, inputs, result, **_ONE_AT_A_TIME)
    values = [page.examples.prompt, _files(page.examples.images)]
    filled = example.click(_given(values), None, [prompt, images], **_AT_ONCE)
    filled.then(page.handlers.rank, inputs, result, **_ONE_AT_A_TIME)


def add_edit_tab(page: Page) -> None:
    """Add the tab that ranks edits of one source image."""
    names = page.models.names(of_edits=True)
    with gradio.Tab("Edit"):
        if not names:
            gradio.HTML(_none_loaded("scores edits", "editreward-mini"))
            return
        with gradio.Row(equal_height=False):
            with _inputs():
                model = _model_choice(page, names)
                prompt = _prompt_box(page.facts(names[0]))
                source = _image_box("Source image: before the edit")
                images = _gallery_box(f"Edited images, up to {MAX_IMAGES}")
                go = gradio.Button("Rank these edits", variant="primary")
                example = gradio.Button("Try it with six example edits")
            result = _results("The edits will stand here, best first.", label="Ranking of edits")
    model.input(lambda name: _model_update(page.facts(name)), model, model, **_AT_ONCE)
    inputs = [model, prompt, images, source]
    gradio.on([go.click, prompt.submit], page.handlers.rank, inputs, result, **_ONE_AT_A_TIME)
    known = page.examples
    values = [known.instruction, str(known.source.path), _files(known.edits)]
    filled = example.click(_given(values), None, [prompt, source, images], **_AT_ONCE)
    filled.then(page.handlers.rank, inputs, result, **_ONE_AT_A_TIME)


def _inputs() -> gradio.Column:
    return gradio.Column(scale=2, min_width=300, elem_classes="inputs")


def _results(hint: str, *, label: str) -> gradio.HTML:
    with gradio.Column(scale=3, min_width=300, elem_classes="results"):
        return gradio.HTML(hint_html(hint), label=label, elem_classes="live")


def _model_choice(page: Page, names: list[str]) -> gradio.Radio:
    return gradio.Radio(
        names, value=names[0], label="Reward model", info=needs_text(page.facts(names[0]))
    )


def _model_update(facts: ModelFacts) -> Any:  # noqa: ANN401  Gradio's own
    return gradio.update(info=needs_text(facts))


def _prompt_words(facts: ModelFacts) -> dict[str, Any]:
    return {
        "label": "Edit instruction" if facts.needs_source else "Prompt",
        "placeholder": "What was asked to be changed"
        if facts.needs_source
        else "What the image was asked to show",
        "visible": facts.needs_prompt,
    }


def _prompt_box(facts: ModelFacts) -> gradio.Textbox:
    return gradio.Textbox(lines=1, max_lines=6, **_prompt_words(facts))


def _prompt_update(facts: ModelFacts) -> Any:  # noqa: ANN401  Gradio's own
    return gradio.update(**_prompt_words(facts))


def _image_box(label: str, *, visible: bool = True) -> gradio.Image:
    return gradio.Image(
        label=label,
        type="filepath",
        sources=["upload", "clipboard"],
        height=220,
        buttons=[],
        visible=visible,
        alt_text=label,
    )


def _gallery_box(label: str) -> gradio.Gallery:
    return gradio.Gallery(
        label=label,
        type="filepath",
        file_types=["image"],
        sources=["upload", "clipboard"],
        columns=3,
        height=260,
        object_fit="contain",
        buttons=[],
        interactive=True,
    )


def _example_buttons(
    examples: Examples, *, of_edits: bool
) -> list[tuple[gradio.Button, list[Any]]]:
    """Return a button for each example, and what it fills in."""
    prompt = examples.instruction if of_edits else examples.prompt
    source = str(examples.source.path) if of_edits else None
    gradio.HTML(hint_html(f"Examples for “{prompt}”"))
    found = []
    with gradio.Row(elem_classes="examples"):
        for upload in examples.edits if of_edits else examples.images:
            path = str(upload.path)
            button = gradio.Button(words_of(upload.name), icon=path, size="sm", min_width=130)
            found.append((button, [prompt, path, source]))
    return found


def _files(uploads: tuple[Upload, ...]) -> list[str]:
    return [str(upload.path) for upload in uploads]


def _given(values: list[Any]) -> Callable[[], list[Any]]:
    return partial(list, values)


def _none_loaded(what: str, name: str) -> str:
    return hint_html(
        f"No model that {what} is loaded. Start the page with one, as in: "
        f"visreward demo --model {name}"
    )
