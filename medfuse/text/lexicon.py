"""The words that the annotator knows, read from the room's data files and compiled into one trie."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from medfuse.errors import ConfigError
from medfuse.text.words import PhraseTrie, read_data, read_yaml, with_plural
from medfuse.types import Status

__all__ = ["Lexicon", "Predicate", "Trigger", "concept_wordings", "load_lexicon"]

REGIONS = ("general", "chest", "abdomen", "brain", "musculoskeletal")
_TRIGGERS = (
    "absent_before", "absent_after", "likely_before", "likely_after", "either_before", "either_after",
    "possible_before", "possible_after", "doubtful_before", "doubtful_after", "query",
    "historical_before", "historical_after", "family", "ends", "nothing",
)  # fmt: skip

Phrase = tuple[str, str, Any]


class Trigger(NamedTuple):
    """What a phrase says of the concepts behind it and before it.

    Parameters
    ----------
    forwards, backwards : frozenset of str
        "absent", "likely", "either", "possible", "doubtful", "historical", "family".
    ends : bool
        Whether it ends the reach of other phrases.
    doubts : bool
        Whether it is a question mark, which doubts the words right before it.
    """

    forwards: frozenset[str]
    backwards: frozenset[str]
    ends: bool
    doubts: bool


@dataclass(frozen=True, slots=True)
class Predicate:
    """What words say of a subject: "enlarged" of statement 3 is cardiomegaly, present.

    Parameters
    ----------
    statement : int
        Number of the statement whose subjects it is said of.
    concept : str
    status : {"present", "absent", "uncertain"}
    """

    statement: int
    concept: str
    status: Status


@dataclass(frozen=True, slots=True, eq=False)
class Lexicon:
    """All phrases in one trie, and what concerns concepts alone.

    Parameters
    ----------
    trie : PhraseTrie
        Kinds "concept", "subject", "predicate", "trigger", "verb", "region", "side", "change".
    wordings : mapping of str to tuple of str
        The wordings of each concept, without plurals.
    measured, describing : frozenset of str
        Concepts that can have a size, and those that only describe the next one.
    homes : mapping of str to str
        The one region of a concept that is in no other, for example ``"heart"`` of cardiomegaly.
    enlarged : mapping of str to (float, str)
        Smallest axis in mm from which a concept is another one: a lymph node of 10 mm is lymphadenopathy.
    """

    trie: PhraseTrie[Any]
    wordings: Mapping[str, tuple[str, ...]]
    measured: frozenset[str]
    describing: frozenset[str]
    enlarged: Mapping[str, tuple[float, str]]
    homes: Mapping[str, str]


def load_lexicon(extensions: Sequence[Path] = ()) -> Lexicon:
    """Compile the lexicon.

    Parameters
    ----------
    extensions : sequence of Path
        YAML files with further ``concepts``, ``measured``, ``describing``, ``statements``, ``enlarged_from`` and
        ``homes``, in the form of the room's own ``lexicon_<region>.yaml``. A concept that exists gains wordings.

    Returns
    -------
    Lexicon

    Raises
    ------
    ConfigError
        If a file cannot be read as such.

    Examples
    --------
    >>> "pleural effusion" in load_lexicon().wordings["pleural_effusion"]
    True
    """
    return _load(tuple(extensions))


def concept_wordings(concept: str) -> tuple[str, ...]:
    """Return the wordings of a concept, without plurals; empty for one that the lexicon does not hold.

    Examples
    --------
    >>> "pneumothorax" in concept_wordings("pneumothorax")
    True
    """
    return load_lexicon().wordings.get(concept, ())


@cache
def _load(extensions: tuple[Path, ...]) -> Lexicon:
    contents = [read_data(f"lexicon_{region}.yaml") for region in REGIONS] + [_read(path) for path in extensions]
    wordings: dict[str, tuple[str, ...]] = {}
    for content in contents:
        for concept, words in content.get("concepts", {}).items():
            wordings[concept] = (*wordings.get(concept, ()), *words)
    phrases = [
        *_concept_phrases(wordings),
        *_statement_phrases([s for content in contents for s in content.get("statements", ())]),
        *_trigger_phrases(read_data("triggers.yaml")),
        *_anatomy_phrases(read_data("anatomy.yaml")),
    ]
    measured, describing = (
        frozenset(concept for content in contents for concept in content.get(key, ()))
        for key in ("measured", "describing")
    )
    homes = {c: region for content in contents for region, names in content.get("homes", {}).items() for c in names}
    enlarged = {
        concept: (float(entry["mm"]), entry["is"])
        for content in contents
        for concept, entry in content.get("enlarged_from", {}).items()
    }
    return Lexicon(PhraseTrie(phrases), wordings, measured, describing, enlarged, homes)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"lexicon {path.name}", "cannot be read", expected="a YAML file") from error
    known = {
        "concepts": dict,
        "measured": list,
        "describing": list,
        "statements": list,
        "enlarged_from": dict,
        "homes": dict,
    }
    if not isinstance(content, dict) or any(not isinstance(content[k], known.get(k, ())) for k in content):
        raise ConfigError(f"lexicon {path.name}", "found another form", expected=f"the keys {', '.join(known)}")
    return content


def _concept_phrases(wordings: Mapping[str, Iterable[str]]) -> Iterator[Phrase]:
    for concept, words in wordings.items():
        yield from (("concept", form, concept) for word in words for form in with_plural(word))


def _statement_phrases(statements: Sequence[Mapping[str, Any]]) -> Iterator[Phrase]:
    subjects: dict[str, list[int]] = defaultdict(list)
    predicates: dict[str, list[Predicate]] = defaultdict(list)
    for number, statement in enumerate(statements):
        for subject in statement["about"]:
            for form in with_plural(subject):
                subjects[form].append(number)
        for concept, said in statement["says"].items():
            for status, words in said.items():
                for form in {form for word in words for form in with_plural(word)}:
                    predicates[form].append(Predicate(number, concept, status))
    yield from (("subject", subject, tuple(numbers)) for subject, numbers in subjects.items())
    yield from (("predicate", word, tuple(said)) for word, said in predicates.items())


def _trigger_phrases(content: Mapping[str, Any]) -> Iterator[Phrase]:
    kinds: dict[str, set[str]] = defaultdict(set)
    for kind in _TRIGGERS:
        for phrase in content[kind]:
            kinds[phrase].add(kind)
    for entry in content["both"]:
        kinds[entry["phrase"]] = set(entry["is"])
    for phrase, said in kinds.items():
        forwards = frozenset(kind.removesuffix("_before") for kind in said if kind.endswith("_before"))
        backwards = frozenset(kind.removesuffix("_after") for kind in said if kind.endswith("_after"))
        family = said & {"family"}
        yield "trigger", phrase, Trigger(forwards | family, backwards, "ends" in said, "query" in said)
    yield from (("verb", verb, None) for verb in content["clause_verbs"])


def _anatomy_phrases(content: Mapping[str, Any]) -> Iterator[Phrase]:
    for kind, key in (("region", "regions"), ("side", "sides"), ("change", "changes")):
        yield from ((kind, word, name) for name, words in content[key].items() for word in words)
