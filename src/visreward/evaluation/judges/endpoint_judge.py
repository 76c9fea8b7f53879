"""What all judges that ask an endpoint share: name, revision, cache, and reading of answers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from visreward.core.errors import UsageError
from visreward.evaluation.judges.account import Account
from visreward.evaluation.judges.answers import AnswerForm, Unparsed
from visreward.evaluation.judges.cache import AnswerCache
from visreward.evaluation.judges.client import Failure, Session
from visreward.evaluation.judges.questions import Question
from visreward.evaluation.judges.rating_prompts import (
    Kind,
    Part,
    RatingPrompt,
    builtin_text,
    parse_rating_prompt,
)
from visreward.scoring.records import printable

if TYPE_CHECKING:
    from visreward.evaluation.judges.config import JudgeConfig
    from visreward.evaluation.judges.spending import JudgeCounts

T = TypeVar("T")

MAX_RAW_CHARACTERS: Final = 2000
"""How much of an answer that cannot be read is shown in the reason; the cache has all of it."""


class EndpointJudge:
    """A judge that asks an endpoint of chat completions."""

    def __init__(
        self, config: JudgeConfig, *, kind: Kind, templates: dict[str, Path], folder: Path
    ) -> None:
        """Read templates and key, and open the cache.

        Args:
            config: Of the judge.
            kind: What its rating prompts ask for.
            templates: Files of rating prompts by name; where one of that name is wanted, and it
                is not there, ours is taken.
            folder: What paths are relative to.

        Raises:
            UsageError: if a template cannot be used, or there is no key.
            DataError: if the cache is no cache.
        """
        self._config = config
        self._kind: Kind = kind
        texts = {name: _read_template(folder / path) for name, path in templates.items()}
        self._templates = {
            name: parse_rating_prompt(text, kind=kind, name=f"'{templates[name]}'")
            for name, text in texts.items()
        }
        self._builtin = {
            is_edit: parse_rating_prompt(builtin_text(name), kind=kind, name=f"'{name}' (ours)")
            for is_edit, name in ((False, f"{kind}_generated"), (True, f"{kind}_edited"))
        }
        self._digest = self._digested(texts)
        cache = None if config.cache is None else folder / config.cache
        self._account = Account(config.endpoint, AnswerCache(cache))

    @property
    def name(self) -> str:
        """Return what to call it."""
        return self._config.name or self._config.endpoint.model

    @property
    def revision(self) -> str:
        """Return 12 hexadecimal digits that stand for endpoint, parameters and rating prompts."""
        return self._digest[:12]

    @property
    def counts(self) -> JudgeCounts:
        """Return what it has done so far: answers, tokens, cost, unparsed answers."""
        return self._account.counts

    @property
    def _window(self) -> int:
        """How many items are under way at once: some more than requests, as some take longer."""
        return 4 * self._config.endpoint.concurrency

    def _session(self) -> Session:
        return Session(self._account)

    def _rating_prompt(self, name: str, *, is_edit: bool) -> RatingPrompt:
        return self._templates.get(name) or self._builtin[is_edit]

    async def _read(
        self, session: Session, parts: tuple[Part, ...], form: AnswerForm[T]
    ) -> T | Failure:
        """Ask, and return what the answer says, or why it says nothing."""
        answer = await session.ask(
            Question(parts=parts, endpoint=self._config.endpoint, images=self._config.images)
        )
        if isinstance(answer, Failure):
            return answer
        found = Unparsed(answer.trouble) if answer.trouble is not None else form.read(answer.text)
        if not isinstance(found, Unparsed):
            return found
        self._account.count(num_unparsed=1, num_refused=1 if answer.is_refusal else 0)
        raw = answer.text
        if len(raw) > MAX_RAW_CHARACTERS:
            raw = f"{raw[:MAX_RAW_CHARACTERS]}... ({len(raw)} characters)"
        return Failure(f"unparsed: {found.reason}. The answer: {printable(raw)!r}")

    def _digested(self, texts: dict[str, str]) -> str:
        """Return the SHA-256 of all that verdicts depend on."""
        shown = self._config.model_dump(mode="json", exclude={"name", "cache", "template"})
        endpoint = self._config.endpoint
        shown["endpoint"] = [endpoint.base_url, endpoint.model, endpoint.parameters]
        ours = {} if texts else {str(key): each.texts for key, each in self._builtin.items()}
        return hashlib.sha256(json.dumps([shown, texts, ours], sort_keys=True).encode()).hexdigest()


def _read_template(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The rating prompt '{path}' cannot be read: {error}. Give a UTF-8 text file."
        ) from error
