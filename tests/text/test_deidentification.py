from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.text import annotate, deidentify, deidentify_report

# All made up.
REPORT = """PATIENT: DOE, JANE A   MRN: 00123456   DOB: 02/03/1951
Accession No: QQ86634EZ
Referring physician: Dr. Alan van der Berg, M.D.
EXAM DATE: 2021-05-03 10:32:11
St. Odo's Hospital, 12 Long Acre Road, Springvale, IL 62704
FINDINGS: 93-year-old woman. A 6 mm nodule in the left lower lobe (series 4, image 32). No effusion.
IMPRESSION: 1. Nodule, discussed with Dr. Okonkwo at 3:45 PM on 5/4/21; OKONKWO agreed.
Electronically signed by: Maria O'Neill, MD  tel. (555) 123-4567
"""
SECRETS = (
    "DOE", "JANE", "00123456", "1951", "QQ86634EZ", "Alan", "Berg", "2021-05-03", "10:32", "Odo", "Long Acre", "Springvale",
    "62704", "93", "Okonkwo", "OKONKWO", "3:45", "5/4/21", "Maria", "Neill", "123-4567",
)  # fmt: skip


def test_what_the_rules_know_is_replaced_and_the_findings_stay() -> None:
    done = deidentify(REPORT)
    assert [secret for secret in SECRETS if secret in done.text] == []
    for kept in ("6 mm nodule in the left lower lobe (series 4, image 32). No effusion.", "IMPRESSION: 1. Nodule"):
        assert kept in done.text


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("Mrs. Ada Byron came.", "Mrs. [NAME] came."),
        ("patient: jane doe", "patient: [NAME]"),
        ("Name: DOE^JANE^^^", "Name: [NAME]"),
        ("DISCUSSED WITH DR. MILLER AT 1430 HOURS.", "DISCUSSED WITH DR. [NAME] AT [TIME] HOURS."),
        ("Dictated by J. Kowalski", "Dictated by [NAME]"),
        ("Report: Anna Zeller, MBBS", "Report: [NAME], MBBS"),
        ("Study of 3rd May 2021, prior 12/2019 and Jun 2018.", "Study of [DATE], prior [DATE] and [DATE]."),
        ("on 03-MAY-2021 at 14:05", "on [DATE] at [TIME]"),
        ("a.b@clinic.example or https://x.example/p?id=1", "[EMAIL] or [URL]"),
        ("UID 1.2.840.113619.2.55.3.60", "UID [ID]"),
        ("SSN 078-05-1120", "SSN [ID]"),
        ("Patient ID 99-12A", "Patient ID [ID]"),
        ("call +44 20 7946 0958", "call [PHONE]"),
        ("pager 12345", "pager [PHONE]"),
        ("101 y/o man, aged 95", "[AGE] y/o man, aged [AGE]"),
        ("from Eastern General Hospital to the University of Northfield", "from [INSTITUTION] to the [INSTITUTION]"),
        ("P.O. Box 12", "[ADDRESS]"),
    ],
)
def test_each_rule_replaces_its_form(text: str, new: str) -> None:
    assert deidentify(text).text == new


@pytest.mark.parametrize(
    "text",
    [
        "A 6 mm nodule, series 4 image 32 (4:32), 3.5 x 2.1 cm, L4/5, T2/3, 10-12 mm, 1/3 of the lobe.",
        "Patient: 54-year-old man with cough. Patient is stable. The hospital course was mild.",
        "May represent pneumonia. 89-year-old. 95 mm mass. HU 120 to 130. Grade 4/5 strength. SUV 9.5.",
        "XXXX compared to XXXX. Dr. XXXX was told. **NAME[AAA]. Prior study from 2019.",
        "Mild cardiomegaly. Fleischner criteria. Hiatal hernia. Dr.",
    ],
)
def test_medicine_is_left_alone(text: str) -> None:
    assert deidentify(text).text == text


def test_offsets_of_an_annotated_report_move_along() -> None:
    report = annotate(REPORT)
    moved = deidentify_report(report)
    assert [moved.text[f.start : f.end] for f in moved.findings] == [REPORT[f.start : f.end] for f in report.findings]
    assert moved.text[slice(*moved.sentences[-1])].endswith("[PHONE]")
    assert [s.name for s in moved.sections] == [s.name for s in report.sections]


FRAGMENTS = st.lists(
    st.sampled_from([*REPORT.split(" "), "\n", "Dr.", "MRN:", "May", "3", "2021", "é", "\u202e"]), max_size=40
)


@given(st.text(max_size=200) | FRAGMENTS.map(" ".join))
def test_no_text_fails_and_offsets_map_back(text: str) -> None:
    done = deidentify(text)
    kept, at, at_new = [], 0, 0
    for part in done.replacements:
        assert at <= part.start < part.end and done.text[part.new_start : part.new_end] == f"[{part.kind}]"
        kept.append((at, part.start, at_new))
        at, at_new = part.end, part.new_end
        assert done.to_original(part.new_start, part.new_end) == (part.start, part.end)
        assert done.to_new(part.start, part.end) == (part.new_start, part.new_end)
    for start, end, new in [*kept, (at, len(text), at_new)]:
        assert text[start:end] == done.text[new : new + end - start]
        if start < end:
            assert done.to_original(*done.to_new(start, end)) == (start, end)


@pytest.mark.parametrize(
    "piece", ["Dr. ", "A ", "1.", "a@", "May ", "1-", "St. Odo's ", "12 Acre ", "Hospital of ", "MRN: ", " "]
)
def test_no_text_takes_long(piece: str) -> None:
    began = time.perf_counter()
    deidentify(piece * (100_000 // len(piece)))
    assert time.perf_counter() - began < 5
