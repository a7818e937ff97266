"""Labels of a published scheme from the findings of a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from medfuse.text.words import read_data
from medfuse.types import Finding

__all__ = ["label_names", "make_labels"]

_RANK = {0: 0, -1: 1, 1: 2}
_NOT_READ = frozenset(["indication", "technique", "exam", "administrative"])
"""Sections whose findings are no result: what was asked, and how it was looked for."""


@dataclass(frozen=True, slots=True)
class _Rule:
    scheme: str
    label: str
    likely: float
    elsewhere: frozenset[str]


def make_labels(findings: Iterable[Finding]) -> dict[str, dict[str, int]]:
    """Return the labels of every scheme.

    Parameters
    ----------
    findings : iterable of Finding

    Returns
    -------
    dict of str to dict of str to int
        By scheme and label: 1 present, 0 absent, -1 uncertain; what no finding mentions is left out. A finding of
        another person, one of the past, and one that the indication names count as no mention.

    Examples
    --------
    >>> make_labels([Finding("pneumothorax", "absent", 3, 15)])["chest14"]
    {'Pneumothorax': 0}
    """
    labels: dict[str, dict[str, int]] = {scheme: {} for scheme in _schemes()}
    rules = _rules()
    for finding in findings:
        if finding.status == "historical" or finding.experiencer != "patient" or finding.section in _NOT_READ:
            continue
        for rule in rules.get(finding.concept, ()):
            if finding.anatomy in rule.elsewhere:
                continue
            value = 0 if finding.status == "absent" else 1 if finding.certainty >= rule.likely else -1
            known = labels[rule.scheme]
            if rule.label not in known or _RANK[value] > _RANK[known[rule.label]]:
                known[rule.label] = value
    return labels


def label_names(scheme: str) -> tuple[str, ...]:
    """Return the labels of a scheme, in order.

    Examples
    --------
    >>> len(label_names("chest14")), len(label_names("ctrate18"))
    (14, 18)
    """
    return tuple(read_data("labels.yaml")[scheme]["labels"])


@cache
def _schemes() -> tuple[str, ...]:
    return tuple(name for name in read_data("labels.yaml") if name != "elsewhere")


@cache
def _rules() -> Mapping[str, tuple[_Rule, ...]]:
    content = read_data("labels.yaml")
    rules: dict[str, tuple[_Rule, ...]] = {}
    for scheme in _schemes():
        for label, entry in content[scheme]["labels"].items():
            elsewhere = frozenset(content["elsewhere"].get(entry.get("elsewhere", ""), ()))
            rule = _Rule(scheme, label, content[scheme]["likely"], elsewhere)
            for concept in entry["concepts"]:
                rules[concept] = (*rules.get(concept, ()), rule)
    return rules
