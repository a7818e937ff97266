"""The explanation report: one page for a clinician on one answer and how far to believe it, and its appendix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medfuse import __version__
from medfuse.errors import ReportTextError
from medfuse.reporting import explanation_appendix as appendix
from medfuse.reporting import explanation_text as words
from medfuse.reporting.explanation_answer import CONFLICT_GAP, FAR_GAP, agreement, answer_of, bars_of
from medfuse.reporting.explanation_facts import CaseFacts
from medfuse.reporting.explanation_pictures import Pictures, contour_sentence, pictures_of
from medfuse.reporting.explanation_sentences import explanation_sentences
from medfuse.reporting.explanation_trust import check_rows, checks_of, marks_failed, trust_headline, trust_verdicts
from medfuse.reporting.feedback import feedback_form
from medfuse.reporting.marks import marked_pieces, strongest
from medfuse.reporting.pages import write_json, write_page
from medfuse.reporting.shown_text import without_identity
from medfuse.reporting.words import number
from medfuse.text import annotate, find_sentences
from medfuse.types import Explanation, Finding

__all__ = ["write_explanation_report"]


def write_explanation_report(
    explanation: Explanation,
    folder: str | Path,
    *,
    provenance: Mapping[str, str],
    true_label: str = "",
    window: tuple[float, float] | None = None,
    facts: CaseFacts | None = None,
) -> Path:
    """Write one explanation as a self-contained page, its figures as JSON, and a form for the reader's own view.

    The map as NIfTI is not written here: image files belong to ``medfuse.io``.

    Parameters
    ----------
    explanation : Explanation
        Image or text may be missing. Marks that failed a trust check are not shown; of the report's text what looks
        like identity is replaced, while the offsets in explanation.json are those of the untouched text.
    folder : str or Path
        Made where needed.
    provenance : mapping of str to str
        Shown as given; must hold no patient data.
    true_label : str
        Known label of the case, shown where given.
    window : tuple of float, optional
        Level and width in the units of ``explanation.image``; by default its own percentiles.
    facts : CaseFacts, optional
        What is known of the lesion and the model.

    Returns
    -------
    Path
        ``folder/report.html``; beside it explanation.json (figures only, no report text) and feedback.json, which
        `medfuse.reporting.collect_feedback` reads once a reader has filled it in.

    Raises
    ------
    DataError
        If token scores leave the text.
    """
    folder, facts = Path(folder), facts or CaseFacts()
    shown = without_identity(explanation)
    findings = _findings(shown.text)
    pictures = pictures_of(explanation, facts, window=window)
    context = {
        **_page_one(shown, facts, findings or ()),
        **_report(shown, findings or ()),
        **_appendix(shown, facts, findings or ()),
        "is_read": findings is not None,
        "pictures": pictures,
        "contour": contour_sentence(),
        "true_label": true_label,
        "provenance": _provenance(explanation, provenance),
    }
    write_json(folder / "explanation.json", _figures(explanation, pictures, provenance))
    write_json(folder / "feedback.json", feedback_form(explanation.prediction))
    return write_page(folder / "report.html", "explanation.html", context)


def _findings(text: str) -> Sequence[Finding] | None:
    """Return what the rules read of a report; None if it is in a language that they do not cover."""
    try:
        return annotate(text).findings if text else ()
    except ReportTextError:
        return None


def _page_one(explanation: Explanation, facts: CaseFacts, findings: Sequence[Finding]) -> dict[str, Any]:
    say, prediction = explanation_sentences(), explanation.prediction
    answer = answer_of(prediction)
    agreed = agreement(prediction, side=facts.side, findings=findings)
    verdicts = trust_verdicts(explanation, agreed)
    target = prediction.target.replace("_", " ")
    case = prediction.case
    return {
        "tell": say,
        "title": say("page.title", target=target[:1].upper() + target[1:], lesion=case.lesion_id, study=case.study_key),
        "where": _where(facts),
        "prediction": prediction,
        "explanation": explanation,
        "answer": answer,
        "bars": bars_of(prediction),
        "is_binary": len(prediction.classes) == 2,
        "last_class": prediction.classes[-1],
        "agreed": agreed,
        "headline": trust_headline(verdicts),
        "verdicts": verdicts,
    }


def _where(facts: CaseFacts) -> str:
    say, parts = explanation_sentences(), []
    if facts.position_mm is not None:
        x, y, z = (number(value, 1) for value in facts.position_mm)
        parts.append(say("page.where", x=x, y=y, z=z))
    if facts.side:
        parts.append(say("page.side", side=facts.side))
    if facts.diameter_mm is not None:
        parts.append(say("page.diameter", diameter=number(facts.diameter_mm, 1)))
    if facts.n_lesions > 1:
        parts.append(say("page.others", n=facts.n_lesions))
    return ", ".join(parts)


def _report(explanation: Explanation, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the report as page 1 shows it, and whole where that is shortened."""
    text, failed = explanation.text, bool(marks_failed(explanation, "text"))
    scores = () if failed else explanation.token_scores
    spans = words.excerpt(text, scores) if text else []
    is_short = spans == [(0, len(text))]
    pieces = marked_pieces(text, scores)
    return {
        "parts": [words.text_runs(text, scores, findings, span=span) for span in words.passages(text, spans)],
        "whole_report": [] if is_short else words.text_runs(text, scores, findings),
        "shortened": "" if is_short else explanation_sentences()(
            "text.shortened", n=len(spans), total=len(find_sentences(text))
        ),
        "has_statuses": any(finding.status != "present" for finding in findings),
        "words_failed": failed,
        "strongest": {side: strongest(pieces, side) for side in ("for", "against")} if scores else {},
    }  # fmt: skip


def _appendix(explanation: Explanation, facts: CaseFacts, findings: Sequence[Finding]) -> dict[str, Any]:
    say = explanation_sentences()
    last_class = explanation.prediction.classes[-1]
    rule = say("agreement.rule", gap=f"{100 * CONFLICT_GAP:g}", far=f"{100 * FAR_GAP:g}")
    limits = [say(f"limit.{name}") for name in ("marks", "average", "box", "tests", "research")]
    return {
        "checks": check_rows(explanation),
        "rule": rule,
        "shares": appendix.share_bars(explanation.modality_shares),
        "share_notes": appendix.share_notes(explanation),
        "findings": appendix.findings_table(findings),
        "tables": appendix.appendix_tables(explanation, last_class=last_class),
        "groups": appendix.group_table(facts),
        "limits": [*facts.limits, *limits],
    }


def _provenance(explanation: Explanation, given: Mapping[str, str]) -> dict[str, str]:
    say = explanation_sentences()
    methods = explanation.method or "; ".join(dict.fromkeys(explanation.methods.values()))
    rest = {name: value for name, value in given.items() if value != explanation.prediction.model_id}
    return {
        say("provenance.model"): explanation.prediction.model_id,
        say("provenance.method"): methods or say("provenance.none"),
        say("provenance.version"): f"medfuse {__version__}",
        **rest,
    }


def _figures(explanation: Explanation, pictures: Pictures | None, provenance: Mapping[str, str]) -> dict[str, object]:
    """Return the page's figures for machines; of the text only offsets, never words."""
    prediction = explanation.prediction
    return {
        "case_id": str(prediction.case),
        "target": prediction.target,
        "classes": list(prediction.classes),
        "probabilities": {name: list(map(float, p)) for name, p in prediction.probabilities.items()},
        "intervals": {name: [list(map(float, one)) for one in found] for name, found in prediction.intervals.items()},
        "interval_kind": prediction.interval_kind,
        "prediction_sets": {name: list(found) for name, found in prediction.sets.items()},
        "threshold": float(prediction.threshold),
        "modalities_used": list(prediction.modalities_used),
        "flags": list(prediction.flags),
        "model_id": prediction.model_id,
        "method": explanation.method,
        "modality_shares": {name: float(v) for name, v in explanation.modality_shares.items()},
        "fusion_weights": {name: float(v) for name, v in explanation.fusion_weights.items()},
        "token_scores": [[int(a), int(b), float(s)] for a, b, s in explanation.token_scores],
        "sentence_scores": [[int(a), int(b), float(s)] for a, b, s in explanation.sentence_scores],
        "column_scores": {name: float(v) for name, v in explanation.column_scores.items()},
        "counterfactuals": [
            {
                "kind": one.kind,
                "modality": one.name if one.kind == "modality" else None,
                "spans": [list(span) for span in one.spans],
                "probability": float(one.probability),
            }
            for one in explanation.counterfactuals
        ],
        "checks": {name: float(v) for name, v in explanation.checks.items()},
        "trust": [
            {"name": c.name, "value": float(c.value), "limit": c.limit, "passed": c.passed}
            for c in checks_of(explanation)
        ],
        "withheld": {name: list(failed) for name, failed in explanation.withheld.items()},
        "planes_meet_at_ras_mm": list(pictures.position_mm) if pictures and pictures.position_mm else None,
        "map_shown": bool(pictures and not pictures.why_no_map),
        "provenance": dict(provenance),
    }
