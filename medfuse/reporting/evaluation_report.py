"""The evaluation report: what was asked, the answer in words made from the numbers, then the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medfuse.reporting.background import Background
from medfuse.reporting.catalogue import Catalogue, open_catalogue
from medfuse.reporting.checklists import CHECKLISTS, card_rows, checklist_items
from medfuse.reporting.cohort_tables import Box, cohort_rows, flow_boxes, parts_of
from medfuse.reporting.one_target_report import one_target_context, standing_limits
from medfuse.reporting.pages import write_json, write_page
from medfuse.reporting.pdf import write_pdf
from medfuse.reporting.sentences import Sentences
from medfuse.reporting.targets_report import targets_context
from medfuse.reporting.topics import topics_of

if TYPE_CHECKING:
    from medfuse.evaluation import Evaluation, TargetEvaluation

__all__ = ["write_evaluation_report"]

ONE = ("studied", "told", "curves", "threshold", "subgroups", "real", "missing", "sure", "worst", "design", "limits",
       "card", "checklists")  # fmt: skip
SEVERAL = ("studied", "told", "curves", "subgroups", "real", "design", "limits", "card", "checklists")


def write_evaluation_report(
    found: Evaluation | Mapping[str, TargetEvaluation],
    folder: str | Path,
    *,
    background: Background,
    language: str = "en",
    pdf: bool = False,
) -> Path:
    """Write an evaluation as a self-contained page and as JSON.

    Parameters
    ----------
    found : Evaluation, or mapping of str to TargetEvaluation
        Of one binary target, or of every target by its name; a single binary one among them gets the full page.
    folder : str or Path
        Made where needed.
    background : Background
        Title, and what is known beside the numbers.
    language : {"en", "zh"}
    pdf : bool
        Print it to ``report.pdf`` too, where WeasyPrint is installed.

    Returns
    -------
    Path
        ``folder/report.html``; ``folder/metrics.json`` lies beside it.

    Raises
    ------
    UsageError
        If there is no such language.
    """
    from medfuse.evaluation import plain

    folder, say = Path(folder), open_catalogue(language)
    one = _only(found) if isinstance(found, Mapping) else found
    targets = found if isinstance(found, Mapping) else {}
    level = one.level if one else next(iter(targets.values())).level
    words = Sentences(say, level=level)
    any_of = one or next((each for target in targets.values() for each in target.by_class.values()), None)
    topics = topics_of(any_of, background, words, is_only=one is not None)
    context = _shared(one, background, topics, words)
    if one is None:
        figures: dict[str, object] = {"targets": {name: each.to_json() for name, each in targets.items()}}
        context |= {"contents": SEVERAL, "kind": say("page.kind"), **targets_context(targets, background, words)}
    else:
        figures = one.to_json()
        if background.readers is not None:
            figures["readers"] = plain(background.readers)
        context |= {"contents": ONE, "kind": _kind(one, say), **one_target_context(one, background, words)}
    write_json(folder / "metrics.json", {**figures, "provenance": dict(background.provenance)})
    page = write_page(folder / "report.html", "targets.html" if one is None else "evaluation.html", context)
    if pdf:
        write_pdf(page)
    return page


def _only(found: Mapping[str, TargetEvaluation]) -> Evaluation | None:
    """Return the evaluation of a single binary target."""
    if len(found) != 1:
        return None
    target = next(iter(found.values()))
    return next(iter(target.by_class.values())) if target.kind == "binary" and target.by_class else None


def _kind(evaluation: Evaluation, say: Catalogue) -> str:
    said = [say("page.kind")]
    if evaluation.target:
        said.append(say("page.target", target=evaluation.target))
    if evaluation.positive:
        said.append(say("page.positive", positive=evaluation.positive))
    return " · ".join(said)


def _shared(
    evaluation: Evaluation | None, background: Background, topics: Mapping[str, str], words: Sentences
) -> dict[str, Any]:
    """Return what every page shows, whatever its targets."""
    say, cohort = words.say, background.cohort
    return {
        "say": say,
        "words": words,
        "title": background.title,
        "flow": _flow(evaluation, background, say),
        "cohort_parts": [] if cohort is None else [say.of("part", part, part) for part in parts_of(cohort)],
        "cohort": [] if cohort is None else cohort_rows(cohort, say),
        "design": _design(evaluation, background, say),
        "limits": [*background.limits, *(standing_limits(evaluation, words) if evaluation else [])],
        "card": card_rows(topics, say),
        "checklists": [_checklist(name, topics, say) for name in CHECKLISTS],
        "provenance": background.provenance,
    }


def _flow(evaluation: Evaluation | None, background: Background, say: Catalogue) -> list[Box]:
    if evaluation is None:
        return flow_boxes(background.cohort_facts, evaluated=None, left_out={}, say=say)
    counts = {
        "cases": evaluation.n,
        "patients": evaluation.n_patients,
        "positive": evaluation.n_positive,
        "negative": evaluation.n - evaluation.n_positive,
    }
    return flow_boxes(background.cohort_facts, evaluated=counts, left_out=evaluation.left_out, say=say)


def _design(evaluation: Evaluation | None, background: Background, say: Catalogue) -> list[str]:
    external = [say("design.external")] if background.is_external else []
    second = [say("design.second", positive=evaluation.positive)] if evaluation and evaluation.is_second else []
    looks = say("design.looks", n=background.looks) if background.looks else say("design.looks_unknown")
    return [*external, *background.design, *second, looks]


def _checklist(name: str, topics: Mapping[str, str], say: Catalogue) -> dict[str, object]:
    items = checklist_items(name, topics, say)
    n_filled = sum(bool(item.answer) for item in items)
    return {
        "title": say(f"{name}.title"),
        "lead": say(f"{name}.lead", filled=n_filled, n=len(items)),
        "rows": items,
    }
