"""Components for spaCy: medfuse's sentences and findings in any pipeline, blank or trained.

Found by spaCy through the entry points of the package; importing this module does nothing but define the factories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from spacy.language import Language
from spacy.tokens import Doc, Span

if TYPE_CHECKING:
    from medfuse.types import Finding

__all__ = ["FindingsComponent", "SentencesComponent", "make_findings", "make_pipeline", "make_sentences"]


@Language.factory("medfuse_sentences", assigns=["token.is_sent_start"])
def make_sentences(nlp: Language, name: str) -> SentencesComponent:  # noqa: ARG001 - as spaCy calls it
    """Make the component "medfuse_sentences"."""
    return SentencesComponent()


@Language.factory(
    "medfuse_findings",
    default_config={"concepts": "lexicon", "spans_key": "medfuse"},
    assigns=["doc.spans", "doc._.medfuse", "span._.medfuse"],
)
def make_findings(
    nlp: Language,  # noqa: ARG001 - as spaCy calls it
    name: str,  # noqa: ARG001
    concepts: Literal["lexicon", "entities"],
    spans_key: str,
) -> FindingsComponent:
    """Make the component "medfuse_findings"."""
    return FindingsComponent(concepts, spans_key)


def make_pipeline() -> Language:
    """Return ``spacy.blank("en")`` with medfuse's sentences and findings: no trained part, nothing to download.

    Returns
    -------
    spacy.language.Language

    Examples
    --------
    >>> doc = make_pipeline()("No effusion, but an 8 mm nodule.")
    >>> [(span.text, span.label_, span._.medfuse.status) for span in doc.spans["medfuse"]]
    [('effusion', 'pleural_effusion', 'absent'), ('nodule', 'nodule', 'present')]
    """
    import spacy

    nlp = spacy.blank("en")
    nlp.add_pipe("medfuse_sentences")
    nlp.add_pipe("medfuse_findings")
    return nlp


class SentencesComponent:
    """Marks the tokens that begin a sentence or a heading of a report."""

    def __call__(self, doc: Doc) -> Doc:
        """Set ``token.is_sent_start`` of every token."""
        from medfuse.text.sections import find_headings
        from medfuse.text.sentences import sentences_of

        headings = find_headings(doc.text)
        starts = [start for start, _ in sentences_of(doc.text, headings)] + [start for _, start, _ in headings]
        begins = {span.start for start in starts if (span := _span(doc, start, start + 1)) is not None}
        for token in doc:
            token.is_sent_start = token.i == 0 or token.i in begins
        return doc


class FindingsComponent:
    """Adds the findings of a report as spans, each with its `Finding` in ``span._.medfuse``.

    Parameters
    ----------
    concepts : {"lexicon", "entities"}
        Whether the concepts are those of medfuse's lexicon, or the entities that a trained part of the pipeline
        found (``doc.ents``), of which only the status is then told.
    spans_key : str
        Key of ``doc.spans``.

    Raises
    ------
    UsageError
        If ``concepts`` is neither.
    """

    def __init__(self, concepts: str = "lexicon", spans_key: str = "medfuse") -> None:
        from medfuse.errors import UsageError, nearest_name

        known = ("lexicon", "entities")
        if concepts not in known:
            raise UsageError(
                f"medfuse_findings concepts {concepts!r}",
                "found no such source",
                expected=nearest_name(concepts, known),
            )
        self._concepts, self._key = concepts, spans_key
        Span.set_extension("medfuse", default=None, force=True)
        Doc.set_extension("medfuse", default=None, force=True)

    def __call__(self, doc: Doc) -> Doc:
        """Set ``doc.spans`` and, with the lexicon, the `RadiologyReport` in ``doc._.medfuse``."""
        findings = self._annotated(doc) if self._concepts == "lexicon" else _asserted(doc)
        spans = []
        for finding in findings:
            if (span := _span(doc, finding.start, finding.end)) is not None:
                span.label_ = finding.concept
                spans.append((span, finding))
        doc.spans[self._key] = [span for span, _ in spans]
        for span, finding in spans:
            span._.medfuse = finding
        return doc

    def _annotated(self, doc: Doc) -> tuple[Finding, ...]:
        from medfuse.text.annotation import annotate_many

        doc._.medfuse = next(annotate_many([doc.text]))
        findings: tuple[Finding, ...] = doc._.medfuse.findings
        return findings


def _asserted(doc: Doc) -> list[Finding]:
    """Return the entities of a document with what the report says of each."""
    from medfuse.text.context import assert_status
    from medfuse.types import Finding

    spans = [(entity.start_char, entity.end_char) for entity in doc.ents]
    return [
        Finding(entity.label_, said.status, *span, experiencer=said.experiencer, certainty=said.certainty)
        for entity, span, said in zip(doc.ents, spans, assert_status(doc.text, spans), strict=True)
    ]


def _span(doc: Doc, start: int, end: int) -> Span | None:
    return doc.char_span(start, end, alignment_mode="expand")
