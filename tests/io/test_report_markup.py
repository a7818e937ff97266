from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.errors import ReportTextError
from medfuse.io.report_markup import plain_text

OUTSIDE = "file:///etc/hostname"


def test_html_keeps_its_blocks_and_loses_what_no_reader_sees() -> None:
    page = (
        "<!DOCTYPE html><html><head><title>x</title><style>p {}</style></head><body><h1>CT CHEST</h1>"
        "<p>FINDINGS: a <b>6</b>&nbsp;mm &lt;nodule&gt;<br>No   effusion.</p><script>alert(1)</script>"
        "<table><tr><td>Lungs</td><td>clear</td></tr></table></body></html>"
    )
    text, kind = plain_text(page)
    assert kind == "HTML"
    assert " ".join(text.split()) == "CT CHEST FINDINGS: a 6 mm <nodule> No effusion. Lungs clear"
    assert "mm <nodule>\nNo effusion." in text


def test_of_xml_with_sections_only_those_are_read() -> None:
    text, kind = plain_text(
        "<?xml version='1.0'?><study><PatientName>Doe</PatientName><Findings>A &amp; B.</Findings>"
        "<AbstractText Label='IMPRESSION'>Normal.</AbstractText></study>"
    )
    assert (text, kind) == ("FINDINGS:\nA & B.\n\nIMPRESSION:\nNormal.", "XML")


def test_of_a_clinical_document_the_header_is_left_out() -> None:
    text, _ = plain_text(
        '<ClinicalDocument xmlns="urn:hl7-org:v3"><recordTarget><name>Doe</name></recordTarget><component>'
        "<structuredBody><component><section><title>Findings</title><text><paragraph>A <content>6 mm</content> nodule."
        "</paragraph></text></section></component></structuredBody></component></ClinicalDocument>"
    )
    assert text == "Findings\n\nA 6 mm nodule."


@pytest.mark.parametrize(
    "document",
    [
        f'<!DOCTYPE r [<!ENTITY x SYSTEM "{OUTSIDE}">]><r>&x;</r>',
        f'<!DOCTYPE r [<!ENTITY % x SYSTEM "{OUTSIDE}"> %x;]><r>a</r>',
        '<!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><r>&b;</r>',
    ],
)
def test_xml_that_declares_entities_is_refused(document: str) -> None:
    with pytest.raises(ReportTextError, match="declares entities"):
        plain_text(document)


@pytest.mark.parametrize("document", ["<report>&x;</report>", "<a>" * 300 + "</a>", "<?xml version='1.0'?>"])
def test_broken_xml_is_refused(document: str) -> None:
    with pytest.raises(ReportTextError, match="broken XML"):
        plain_text(document)


def test_rtf_keeps_its_characters_and_loses_its_author() -> None:
    rtf = r"{\rtf1\ansi\ansicpg1252{\info{\author Doe}}Gr\'f6\'dfe \u24038?\par No \b nodule\b0 .\par}"
    assert plain_text(rtf) == ("Größe 左\nNo nodule.\n", "RTF")


@pytest.mark.parametrize("text", ["Size <5 mm.", "<NAME> has a cough.", "a <script>x</script>", "{\\b}", "<a><b>"])
def test_plain_text_is_left_as_it_stands(text: str) -> None:
    assert plain_text(text) == (text, "")


@pytest.mark.parametrize(
    "start", ["<html>" + "<!--" * 100_000, "<p>" + "<div>" * 100_000, r"{\rtf1" + "{" * 300_000, "<p>" + "&" * 300_000]
)
def test_hostile_markup_takes_no_time(start: str) -> None:
    began = time.perf_counter()
    plain_text(start)
    assert time.perf_counter() - began < 5


@given(
    st.text(alphabet="<>/!?&;{}\\'\"=-abprtfx1 \n", max_size=200), st.sampled_from(["", "<p>", "<?xml?>", "{\\rtf1"])
)
def test_any_text_is_read_or_refused(text: str, start: str) -> None:
    try:
        plain_text(start + text)
    except ReportTextError as error:
        assert error.expected
