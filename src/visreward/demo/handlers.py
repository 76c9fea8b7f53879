"""What the page's buttons do; each returns the HTML of its result, or of the reason for none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from visreward.core.errors import VisrewardError
from visreward.demo.loaded_models import is_builtin
from visreward.demo.results import error_html, ranking_html, score_html
from visreward.demo.scoring import Scored, score_uploads
from visreward.demo.uploads import FileRecord, all_uploads, one_upload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visreward.demo.examples import Examples
    from visreward.demo.loaded_models import LoadedModels
    from visreward.models.base import RewardModel


class Handlers:
    """Score with the loaded models."""

    def __init__(self, models: LoadedModels, examples: Examples) -> None:
        self._models = models
        self._examples = examples
        self._landmarks: dict[str, Scored] = {}

    def score(
        self,
        name: str | None,
        prompt: str | None,
        image: FileRecord | None,
        source: FileRecord | None,
    ) -> str:
        """Score one image."""
        try:
            model, given = self._models[name], one_upload(image)
            scored = score_uploads(
                model,
                prompt=prompt or "",
                images=[] if given is None else [given],
                source=one_upload(source),
            )
            return score_html(scored, model, landmarks=self._landmarks_of(model))
        except VisrewardError as error:
            return error_html(str(error))

    def rank(
        self,
        name: str | None,
        prompt: str | None,
        images: Sequence[FileRecord] | None,
        source: FileRecord | None = None,
    ) -> str:
        """Rank images of one prompt, or edits of one source image."""
        try:
            model = self._models[name]
            scored = score_uploads(
                model,
                prompt=prompt or "",
                images=all_uploads(images),
                source=one_upload(source),
            )
            return ranking_html(scored, model)
        except VisrewardError as error:
            return error_html(str(error))

    def _landmarks_of(self, model: RewardModel) -> Scored | None:
        """Return the scores of the examples; they mean something to the built-in models only."""
        if not is_builtin(model.facts):
            return None
        if model.facts.name not in self._landmarks:
            known = self._examples
            of_edits = model.facts.needs_source
            self._landmarks[model.facts.name] = score_uploads(
                model,
                prompt=known.instruction if of_edits else known.prompt,
                images=known.edits if of_edits else known.images,
                source=known.source if of_edits else None,
            )
        return self._landmarks[model.facts.name]
