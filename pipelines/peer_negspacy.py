"""Run negspacy on the material of benchmark_text; it runs in an environment of its own, and imports nothing of medfuse.

Reads one JSON object from standard input and prints one: what negspacy says of each sentence and report, and how fast.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any


def main(argv: Sequence[str] | None = None) -> int:
    """Run negspacy.

    Parameters
    ----------
    argv : sequence of str, optional
        Not used: what is asked comes by standard input, as ``{"sentences": [[text, start, end], ...], "reports":
        [text, ...], "phrases": {label: [phrase, ...]}, "all_phrases": the same of
        every concept}``.

    Returns
    -------
    int
        0.
    """
    del argv
    asked = json.load(sys.stdin)
    importlib.import_module("negspacy.negation")
    answer = {"negated": negate(asked["sentences"]), **label(asked["reports"], asked["phrases"])}
    answer["full_reports_per_s"] = label(asked["reports"], asked["all_phrases"])["reports_per_s"]
    print(json.dumps(answer))
    return 0


def pipeline() -> Any:
    """Return a blank pipeline; its clinical negation is added last."""
    spacy = importlib.import_module("spacy")
    return spacy.blank("en")


def add_negation(nlp: Any) -> None:
    """Add negspacy with its clinical terms, as its documentation does."""
    terms = importlib.import_module("negspacy.termsets").termset("en_clinical")
    nlp.add_pipe("negex", config={"neg_termset": terms.get_patterns()})


def negate(sentences: Sequence[tuple[str, int, int]]) -> list[bool]:
    """Say of the concept in each sentence whether it is negated; a sentence is one sentence, as it comes."""
    nlp = pipeline()
    add_negation(nlp)
    negex = nlp.get_pipe("negex")
    said = []
    for text, start, end in sentences:
        doc = nlp.make_doc(text)
        for token in doc:
            token.is_sent_start = token.i == 0
        span = doc.char_span(start, end, label="CONCEPT", alignment_mode="expand")
        doc.ents = [span] if span is not None else []
        said.append(any(entity._.negex for entity in negex(doc).ents))
    return said


def label(reports: Sequence[str], phrases: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """Label reports by phrases and negation, and time it."""
    nlp = pipeline()
    nlp.add_pipe("sentencizer")
    ruler = nlp.add_pipe("entity_ruler", config={"phrase_matcher_attr": "LOWER"})
    ruler.add_patterns([{"label": name, "pattern": phrase} for name, words in phrases.items() for phrase in words])
    add_negation(nlp)
    list(nlp.pipe(reports[:20]))
    started = time.perf_counter()
    labels = [sorted({e.label_ for e in doc.ents if not e._.negex}) for doc in nlp.pipe(reports)]
    return {"labels": labels, "reports_per_s": len(reports) / (time.perf_counter() - started)}


if __name__ == "__main__":
    sys.exit(main())
