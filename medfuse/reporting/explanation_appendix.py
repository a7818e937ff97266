"""The appendix of an explanation page: tables of what stands behind page 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medfuse.explanation_parts import Counterfactual
from medfuse.reporting.explanation_facts import CaseFacts
from medfuse.reporting.explanation_sentences import explanation_sentences, percent
from medfuse.reporting.marks import visible
from medfuse.reporting.words import number, signed
from medfuse.types import Explanation, Finding

__all__ = ["Share", "Table", "appendix_tables", "findings_table", "group_table", "share_bars", "share_notes"]

LONGEST_QUOTE = 90


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts; ``key`` names its heading."""

    key: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Share:
    """How far an input moved the answer; ``percent`` is its bar's length, half a track at most."""

    name: str
    value: float
    percent: float


def share_bars(shares: Mapping[str, float]) -> list[Share]:
    """Return shares as bars to both sides of zero; the longest fills its side."""
    say = explanation_sentences()
    longest = max((abs(v) for v in shares.values()), default=0.0) or 1.0
    return [
        Share(_capital(say.of("modality", name, name)), value, round(50 * abs(value) / longest, 1))
        for name, value in shares.items()
    ]


def share_notes(explanation: Explanation) -> list[str]:
    """Return what else is known of how the inputs work together."""
    say, notes = explanation_sentences(), []
    if explanation.interaction is not None:
        key = "share.interaction_more" if explanation.interaction >= 0 else "share.interaction_less"
        notes.append(say(key, value=number(abs(explanation.interaction), 2)))
    if explanation.fusion_weights:
        named = [f"{say.of('modality', name, name)} {w:.2f}" for name, w in explanation.fusion_weights.items()]
        notes.append(say("share.weights", weights=", ".join(named)))
    return notes


def appendix_tables(explanation: Explanation, *, last_class: str) -> list[Table]:
    """Return counterfactuals, sentences, columns, concepts and similar cases, as far as there are any.

    Parameters
    ----------
    explanation : Explanation
    last_class : str
        The class that all scores speak of.
    """
    made = [
        _counterfactuals(explanation, last_class),
        _sentences(explanation, last_class),
        _columns(explanation, last_class),
        _concepts(explanation),
        _similar(explanation),
    ]
    return [table for table in made if table.rows]


def findings_table(findings: Sequence[Finding]) -> Table:
    """Return what the report states, as rules read it."""
    say = explanation_sentences()
    rows = []
    for one in findings:
        size = " × ".join(f"{axis:g}" for axis in one.size_mm)
        before = " × ".join(f"{axis:g}" for axis in one.previous_size_mm)
        sizes = [say("finding.size_mm", size=size)] if size else []
        if one.size_below_mm is not None and not size:
            sizes = [say("finding.below", size=f"{one.size_below_mm:g}")]
        if before:
            sizes.append(say("finding.before", size=before))
        about = ", ".join(word.replace("_", " ") for word in (one.laterality, one.anatomy, one.change) if word)
        rows.append((_plain(one.concept), say(f"finding.{one.status}"), ", ".join(sizes), about))
    head = tuple(say(f"finding.{name}") for name in ("concept", "status", "size", "place"))
    return Table("findings", say("finding.caption"), head, tuple(dict.fromkeys(rows)))


def group_table(facts: CaseFacts) -> Table:
    """Return how well the model does in groups of test cases."""
    say, rows = explanation_sentences(), []
    for group in facts.groups:
        key = "card.value" if group.name else "card.missing"
        column = _plain(group.column)
        name = say(key, column=column, name=group.name) if group.column else say("card.all")
        area = say("card.undefined")
        if group.area is not None:
            value, low, high = (number(figure, 2) for figure in group.area)
            area = f"{value} ({low} to {high})"
        rows.append((name, f"{group.n}", area))
    head = (say("card.group"), say("card.cases"), say("card.area"))
    return Table("card", say("card.caption", level=f"{100 * facts.level:g}%"), head, tuple(rows))


def _counterfactuals(explanation: Explanation, last_class: str) -> Table:
    say, prediction = explanation_sentences(), explanation.prediction
    full = prediction.probabilities[prediction.condition][-1]
    rows = []
    for one in explanation.counterfactuals:
        crosses = (one.probability >= prediction.threshold) != (full >= prediction.threshold)
        note = say("counterfactual.side_note") if crosses and len(prediction.classes) == 2 else ""
        change = signed(100 * one.change, 0)
        rows.append((_hidden_part(one, explanation.text), percent(one.probability, full), change, note))
    head = tuple(say(f"counterfactual.{name}") for name in ("without", "probability", "change", "note"))
    caption = say("counterfactual.caption", asked=last_class, full=percent(full))
    return Table("counterfactuals", caption, head, tuple(rows))


def _hidden_part(one: Counterfactual, text: str) -> str:
    say = explanation_sentences()
    if one.kind == "modality":
        return say("counterfactual.modality", name=say.of("modality", one.name, one.name))
    if one.kind == "finding":
        return say("counterfactual.finding", name=_plain(one.name).lower())
    start, end = one.spans[0] if one.spans else (0, 0)
    return say(f"counterfactual.{one.kind}", words=_quoted(text[start:end]))


def _sentences(explanation: Explanation, last_class: str) -> Table:
    say = explanation_sentences()
    ranked = sorted(explanation.sentence_scores, key=lambda one: -abs(one[2]))
    rows = tuple((_quoted(explanation.text[a:b]), signed(score, 2)) for a, b, score in ranked)
    head = (say("sentence.name"), say("sentence.score"))
    return Table("sentences", say("sentence.caption", asked=last_class), head, rows)


def _columns(explanation: Explanation, last_class: str) -> Table:
    say = explanation_sentences()
    ranked = sorted(explanation.column_scores.items(), key=lambda one: -abs(one[1]))
    rows = tuple((_plain(name), signed(score, 2)) for name, score in ranked)
    head = (say("column.name"), say("column.score"))
    return Table("columns", say("column.caption", asked=last_class), head, rows)


def _concepts(explanation: Explanation) -> Table:
    say, rows = explanation_sentences(), []
    for one in explanation.concepts:
        named = {by: _likeliest(one.classes, values) for by, values in one.probabilities.items()}
        main = named.get("fused") or next(iter(named.values()), "")
        alone = [f"{say.of('modality', by, by)}: {found}" for by, found in named.items() if by != "fused"]
        rows.append((_plain(one.name), main, "; ".join(alone)))
    head = (say("concept.name"), say("concept.likeliest"), say("concept.alone"))
    return Table("concepts", say("concept.caption"), head, tuple(rows))


def _likeliest(classes: Sequence[str], values: Sequence[float]) -> str:
    best = max(range(len(values)), key=lambda index: values[index])
    return explanation_sentences()("concept.by", **{"class": classes[best], "probability": percent(values[best])})


def _similar(explanation: Explanation) -> Table:
    say = explanation_sentences()
    rows = tuple(
        (one.case_key, ", ".join(f"{_plain(t)}: {label}" for t, label in one.labels.items()), number(one.similarity, 2))
        for one in explanation.similar_cases
    )
    head = tuple(say(f"similar.{name}") for name in ("case", "labels", "similarity"))
    return Table("similar", say("similar.caption"), head, rows)


def _quoted(text: str) -> str:
    shown = visible(" ".join(text.split()))
    return shown if len(shown) <= LONGEST_QUOTE else shown[: LONGEST_QUOTE - 1] + "…"


def _plain(name: str) -> str:
    return _capital(name.replace("_", " "))


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]
