"""Several runs, or tables of other models, on one page: the same cases, each against the first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medfuse.reporting.background import Background
from medfuse.reporting.catalogue import open_catalogue
from medfuse.reporting.comparison_report import comparison_context
from medfuse.reporting.curves import curve_figures
from medfuse.reporting.label_ceiling import learning_figure
from medfuse.reporting.one_target_report import standing_limits
from medfuse.reporting.pages import write_json, write_page
from medfuse.reporting.pdf import write_pdf
from medfuse.reporting.result_tables import figures_tables, threshold_words
from medfuse.reporting.sentences import Sentences

if TYPE_CHECKING:
    from medfuse.evaluation import ComparedModel, Evaluation

__all__ = ["write_models_report"]


def write_models_report(
    models: Sequence[ComparedModel],
    evaluation: Evaluation,
    folder: Path,
    *,
    background: Background,
    language: str = "en",
    pdf: bool = False,
) -> Path:
    """Write several models side by side as a self-contained page and as JSON.

    Parameters
    ----------
    models : sequence of ComparedModel
        One of them the reference.
    evaluation : Evaluation
        The same models as conditions of one table.
    folder : Path
        Made where needed.
    background : Background
    language : {"en", "zh"}
    pdf : bool
        Print it to ``report.pdf`` too, where WeasyPrint is installed.

    Returns
    -------
    Path
        ``folder/report.html``; ``folder/metrics.json`` lies beside it.
    """
    from medfuse.evaluation import plain

    say = open_catalogue(language)
    words = Sentences(say, level=evaluation.level, names=[one.name for one in models])
    best = max(models, key=lambda one: one.area.value).name
    more = [learning_figure(background.learning, words)] if background.learning else []
    context = {
        **comparison_context(models, words, costs={}),
        "title": background.title,
        "n": evaluation.n,
        "n_positive": evaluation.n_positive,
        "n_patients": evaluation.n_patients,
        "n_left_out": sum(evaluation.left_out.values()),
        "figures": [*curve_figures(evaluation, best, words), *more],
        "tables": figures_tables(evaluation, best, words),
        "thresholds": {
            words.condition(name): threshold_words(points[0], words)
            for name, points in evaluation.operating_points.items()
        },
        "design": background.design,
        "limits": [*background.limits, *standing_limits(evaluation, words)],
        "refused": (),
        "provenance": background.provenance,
    }
    against = {one.name: {"against": plain(one.against), "p_holm": plain(one.p_holm)} for one in models}
    figures = {**evaluation.to_json(), "models": against, "provenance": dict(background.provenance)}
    if background.learning is not None:
        figures["learning_curve"] = plain(background.learning)
    write_json(folder / "metrics.json", figures)
    page = write_page(folder / "report.html", "comparison.html", context)
    if pdf:
        write_pdf(page)
    return page
