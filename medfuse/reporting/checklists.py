"""Reporting checklists: each item filled from the data, or marked as not available; the authors fill in the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medfuse.reporting.catalogue import Catalogue

__all__ = ["CHECKLISTS", "MODEL_CARD", "Item", "card_rows", "checklist_items"]

CLAIM: dict[str, tuple[str, ...]] = {
    "1": ("technology",), "2": ("summary",), "3": (), "4": ("objective",), "5": (), "6": ("goal",),
    "7": ("sources", "dates"), "8": ("eligibility",), "9": ("preprocessing",), "10": ("subset",),
    "11": ("deidentified",), "12": ("missing",), "13": (), "14": ("reference",), "15": (), "16": (), "17": (),
    "18": ("readers",), "19": ("split", "development"), "20": ("disjoint",), "21": ("power",),
    "22": ("model", "size"), "23": ("software",), "24": ("start",), "25": ("training",), "26": ("selection",),
    "27": ("ensemble",), "28": ("metrics",), "29": ("uncertainty",), "30": ("robustness",), "31": (),
    "32": ("internal",), "33": ("external",), "34": (), "35": ("numbers",), "36": ("characteristics",),
    "37": ("performance",), "38": ("threshold",), "39": ("failures",), "40": ("limits",), "41": (), "42": (),
    "43": (), "44": (),
}  # fmt: skip
"""Topics by item. Source: Tejani et al. 2024, Checklist for Artificial Intelligence in Medical Imaging: 2024 Update."""

TRIPOD: dict[str, tuple[str, ...]] = {
    "1": ("technology",), "2": ("summary",), "3a": (), "3b": (), "3c": (), "4": ("objective", "goal"),
    "5a": ("sources",), "5b": ("dates",), "6a": (), "6b": ("eligibility",), "6c": (), "7": ("preprocessing",),
    "8a": ("reference",), "8b": (), "8c": (), "9a": ("subset",), "9b": (), "9c": (), "10": ("power",),
    "11": ("missing",), "12a": ("split", "development"), "12b": ("preprocessing",), "12c": ("model", "training"),
    "12d": ("clusters",), "12e": ("metrics", "uncertainty"), "12f": ("updating",), "12g": ("calculated",),
    "13": ("imbalance",), "14": ("fairness",), "15": ("output", "threshold"), "16": (), "17": (), "18a": (),
    "18b": (), "18c": (), "18d": (), "18e": (), "18f": (), "19": (), "20a": ("numbers",),
    "20b": ("characteristics",), "20c": ("characteristics",), "21": ("development", "numbers"),
    "22": ("model", "size"), "23a": ("performance",), "23b": ("fairness",), "24": ("updating",),
    "25": ("summary",), "26": ("limits",), "27a": ("unusable",), "27b": (), "27c": (),
}  # fmt: skip
"""Topics by item. Source: Collins et al. 2024, TRIPOD+AI statement, table 2."""

CHECKLISTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {"claim": CLAIM, "tripod": TRIPOD}
MODEL_CARD: Mapping[str, tuple[str, ...]] = {
    "purpose": ("predicts", "output"), "model": ("model", "size", "ensemble"), "inputs": ("preprocessing", "subset"),
    "data": ("sources", "development"), "choices": ("selection", "threshold"), "tested": ("numbers", "performance"),
    "groups": ("fairness",), "not_for": ("not_for",),
}  # fmt: skip
"""Topics by heading. Source: Mitchell et al. 2019, Model Cards for Model Reporting."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a checklist; an empty answer is shown as not available."""

    number: str
    name: str
    answer: str


def checklist_items(name: str, topics: Mapping[str, str], say: Catalogue) -> list[Item]:
    """Return the items of a checklist, each with what the data say.

    Parameters
    ----------
    name : {"claim", "tripod"}
    topics : mapping of str to str
        See `medfuse.reporting.topics.topics_of`.
    say : Catalogue

    Returns
    -------
    list of Item
    """
    return [
        Item(number, say(f"{name}.{number}"), _answer(wanted, topics, say))
        for number, wanted in CHECKLISTS[name].items()
    ]


def card_rows(topics: Mapping[str, str], say: Catalogue) -> list[Item]:
    """Return the rows of the model card.

    Parameters
    ----------
    topics : mapping of str to str
    say : Catalogue

    Returns
    -------
    list of Item
    """
    known = {**topics, "not_for": say("topic.not_for")}
    return [Item("", say(f"card.{name}"), _answer(wanted, known, say)) for name, wanted in MODEL_CARD.items()]


def _answer(wanted: tuple[str, ...], topics: Mapping[str, str], say: Catalogue) -> str:
    return say("sentence.gap").join(topics[topic] for topic in wanted if topic in topics)
