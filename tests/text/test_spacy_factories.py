from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest
import spacy
from spacy.language import Language
from thinc.api import ConfigValidationError

from medfuse.errors import UsageError
from medfuse.text import annotate
from medfuse.text.spacy_factories import FindingsComponent, make_pipeline

TEXT = "FINDINGS: Dr. Low saw a 1.2 cm nodule at 4 p.m. today. No effusion.\nIMPRESSION: Nodule; mother had pneumonia."


@pytest.fixture(scope="module")
def nlp() -> Language:
    return make_pipeline()


def test_the_package_names_its_factories_to_spacy() -> None:
    names = {point.name: point.value for point in entry_points(group="spacy_factories")}
    assert {"medfuse_sentences", "medfuse_findings"} <= set(names)
    assert all(value.startswith("medfuse.text.spacy_factories:") for name, value in names.items() if "medfuse" in name)


def test_a_users_spacy_pays_nothing_for_the_entry_points() -> None:
    code = (
        "import sys, spacy; spacy.blank('en').add_pipe('sentencizer');"
        "sys.exit(any(m.startswith('medfuse') and m not in"
        " ('medfuse', 'medfuse.text', 'medfuse.text.spacy_factories') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_spans_are_the_findings_of_annotate(nlp: Language) -> None:
    doc = nlp(TEXT)
    assert doc._.medfuse == annotate(TEXT)
    assert [span._.medfuse for span in doc.spans["medfuse"]] == list(doc._.medfuse.findings)
    assert [(span.text, span.label_) for span in doc.spans["medfuse"]] == [
        (TEXT[f.start : f.end], f.concept) for f in doc._.medfuse.findings
    ]


def test_sentences_begin_where_ours_do(nlp: Language) -> None:
    doc = nlp(TEXT)
    begins = {sentence.start_char for sentence in doc.sents}
    assert begins >= {start for start, _ in annotate(TEXT).sentences}
    assert len(begins) == 5  # three sentences and two headings


def test_pipeline_is_saved_and_loaded(nlp: Language, tmp_path) -> None:
    nlp.to_disk(tmp_path / "nlp")
    again = spacy.load(tmp_path / "nlp")
    assert again(TEXT)._.medfuse == nlp(TEXT)._.medfuse


def test_entities_of_another_component_get_a_status() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "SIGN", "pattern": "halo sign"}])
    nlp.add_pipe("medfuse_findings", config={"concepts": "entities", "spans_key": "status"})
    doc = nlp("No halo sign. There may be a halo sign.")
    assert [(s.label_, s._.medfuse.status) for s in doc.spans["status"]] == [("SIGN", "absent"), ("SIGN", "uncertain")]


def test_unknown_source_of_concepts_is_refused() -> None:
    with pytest.raises(ConfigValidationError):
        spacy.blank("en").add_pipe("medfuse_findings", config={"concepts": "entitys"})
    with pytest.raises(UsageError, match="did you mean 'entities'"):
        FindingsComponent("entitys")


def test_empty_document_has_no_findings(nlp: Language) -> None:
    doc = nlp("")
    assert len(doc.spans["medfuse"]) == 0
