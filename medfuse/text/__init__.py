"""What a report says: sections, sentences, findings with their status, token ids."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medfuse.text.annotation import annotate, annotate_many
    from medfuse.text.context import Assertion, assert_status
    from medfuse.text.deidentification import DeidentifiedText, deidentify, deidentify_report
    from medfuse.text.findings import find_findings
    from medfuse.text.flags import FindingFlags, finding_flags, flag_names
    from medfuse.text.labels import label_names
    from medfuse.text.lexicon import Lexicon, concept_wordings, load_lexicon
    from medfuse.text.masking import overlaps, term_spans
    from medfuse.text.plausibility import examination_of, report_warnings
    from medfuse.text.pretrained_tokens import PretrainedTokenizer, tokenizer_from_json
    from medfuse.text.sections import find_sections, select_sections
    from medfuse.text.sentences import find_sentences
    from medfuse.text.tokens import Encoding, ReportTokenizer, TextTokenizer

_HOME = {
    "Assertion": "context",
    "Encoding": "tokens",
    "FindingFlags": "flags",
    "Lexicon": "lexicon",
    "PretrainedTokenizer": "pretrained_tokens",
    "ReportTokenizer": "tokens",
    "TextTokenizer": "tokens",
    "DeidentifiedText": "deidentification",
    "annotate": "annotation",
    "annotate_many": "annotation",
    "assert_status": "context",
    "deidentify": "deidentification",
    "deidentify_report": "deidentification",
    "concept_wordings": "lexicon",
    "examination_of": "plausibility",
    "find_findings": "findings",
    "finding_flags": "flags",
    "flag_names": "flags",
    "find_sections": "sections",
    "find_sentences": "sentences",
    "label_names": "labels",
    "load_lexicon": "lexicon",
    "overlaps": "masking",
    "report_warnings": "plausibility",
    "select_sections": "sections",
    "term_spans": "masking",
    "tokenizer_from_json": "pretrained_tokens",
}

__all__ = [
    "Assertion",
    "DeidentifiedText",
    "Encoding",
    "FindingFlags",
    "Lexicon",
    "PretrainedTokenizer",
    "ReportTokenizer",
    "TextTokenizer",
    "annotate",
    "annotate_many",
    "assert_status",
    "concept_wordings",
    "deidentify",
    "deidentify_report",
    "examination_of",
    "find_findings",
    "find_sections",
    "find_sentences",
    "finding_flags",
    "flag_names",
    "label_names",
    "load_lexicon",
    "overlaps",
    "report_warnings",
    "select_sections",
    "term_spans",
    "tokenizer_from_json",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"medfuse.text.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
