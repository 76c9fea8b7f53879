"""Who takes part in a benchmark: reward models, chance, and judges from files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from rich.text import Text

from visreward.cli.console import notes_console, progress_bar
from visreward.cli.scoring_run import ModelChoice, load_engine
from visreward.core.errors import JudgeError, UsageError
from visreward.evaluation.benchmarks.base import BenchData, Benchmark
from visreward.evaluation.benchmarks.records import PairJudge, Scorer
from visreward.evaluation.benchmarks.runner import Answers, judge_groups, score_groups
from visreward.evaluation.benchmarks.scorers import RANDOM, EngineScorer, RandomScorer
from visreward.evaluation.judges.baselines import HumanJudge
from visreward.evaluation.judges.endpoint_judge import EndpointJudge
from visreward.evaluation.judges.loading import load_judge
from visreward.scoring.records import printable

if TYPE_CHECKING:
    from visreward.models.facts import ModelFacts

Entrant: TypeAlias = Scorer | PairJudge


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Who was asked to take part.

    Attributes:
        name: What folders and messages call it.
        judge: Of a judge; a model has none.
    """

    name: str
    judge: Entrant | None = None


def entries(models: Sequence[str], judges: Sequence[Path]) -> list[Entry]:
    """Return who takes part, models first; judges are opened and asked nothing yet.

    Raises:
        UsageError: if there is nobody, or an annotator beside others.
        VisrewardError: if a judge's file cannot be used.
    """
    opened = [load_judge(path) for path in judges]
    found = [Entry(name=name) for name in models]
    found += [Entry(name=judge.name, judge=judge) for judge in opened]
    if not found:
        raise UsageError("No model was given. Give --model NAME or --judge FILE, once for each.")
    people = [judge.name for judge in opened if isinstance(judge, HumanJudge)]
    if people and len(found) > 1:
        raise UsageError(
            f"The annotator '{people[0]}' is held against the other annotators, on labels without "
            "this one; those of the others differ. Run annotators one at a time."
        )
    return found


def labels_for(entry: Entry, data: BenchData) -> BenchData:
    """Return the data to measure on: for an annotator, labelled by the others."""
    if not isinstance(entry.judge, HumanJudge):
        return data
    return replace(data, groups=list(entry.judge.others(data.groups)))


def open_entrant(
    entry: Entry, how: ModelChoice, *, benchmark: Benchmark, data: BenchData, folder: Path
) -> Entrant:
    """Return who answers; models are loaded.

    Raises:
        VisrewardError: if a model cannot be loaded, or scores other things.
    """
    if entry.judge is not None:
        return entry.judge
    if entry.name == RANDOM:
        return RandomScorer()
    engine = load_engine(how, name=entry.name)
    _check_fits(engine.model.facts, benchmark, data)
    log = folder / f"scores_{benchmark.name}.jsonl"
    return EngineScorer(engine, name=entry.name, log=log, dtype=how.dtype.value)


def _check_fits(facts: ModelFacts, benchmark: Benchmark, data: BenchData) -> None:
    """Refuse a model of edits for single images, and the other way round, before all is scored."""
    first = next(iter(data.groups), None)
    if first is None or bool(first.row.sources) == facts.needs_source:
        return
    if facts.needs_source:
        reason = f"'{facts.name}' scores edits, but '{benchmark.name}' has no source images"
    else:
        reason = f"'{benchmark.name}' is of edits, but '{facts.name}' scores single images"
    raise UsageError(f"{reason}. Choose another model: visreward models list.")


def ask(entrant: Entrant, data: BenchData, *, limit: int | None) -> Answers:
    """Return the groups with all answers, under a progress bar.

    Raises:
        JudgeError: if a judge's endpoint cannot be used; what was answered is in its cache.
    """
    total = len(data.groups) if limit is None else min(limit, len(data.groups))
    title = f"Asking {printable(entrant.name)}"
    with (
        _counted(entrant),
        progress_bar(title, total=total, console=notes_console()) as advance,
    ):
        if isinstance(entrant, PairJudge):
            return judge_groups(data.groups, entrant, limit=limit, on_groups=advance)
        return score_groups(data.groups, entrant, limit=limit, on_groups=advance)


@contextmanager
def _counted(entrant: Entrant) -> Iterator[None]:
    """Say what a judge did, also where it stops the run."""
    try:
        yield
    except JudgeError as error:
        raise type(error)(
            f"{error} The same command goes on from the judge's cache, if it has one."
        ) from error
    finally:
        told = answer_counts(entrant)
        if told:
            words = ", ".join(
                f"{value:g} {name.removeprefix('num_').replace('_', ' ')}"
                for name, value in told.items()
            )
            notes_console().print(Text(f"{printable(entrant.name)}: {words}"))


def answer_counts(entrant: Entrant) -> dict[str, Any]:  # JSON values
    """Return what was asked of a judge's endpoint so far and what it cost; empty for others."""
    if not isinstance(entrant, EndpointJudge):
        return {}
    return {name: value for name, value in asdict(entrant.counts).items() if value}


def settings_of(entry: Entry, how: ModelChoice) -> dict[str, Any]:  # JSON values
    """Return the settings of whoever answers; a judge's are in its revision."""
    if entry.judge is not None or entry.name == RANDOM:
        return {}
    return {
        "batch_size": how.batch_size,
        "device": how.device,
        "dtype": how.dtype.value,
        "batch_invariant": how.batch_invariant,
        "attention": how.attention,
    }
