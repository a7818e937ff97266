from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.text import annotate

PIECES = [
    "No ",
    "nodule",
    " effusion",
    " 5 mm",
    ", ",
    ". ",
    "\r\n",
    "FINDINGS: ",
    " but ",
    "İ",
    "\u202e",
    "mass",
    " is not seen",
    "1.2 x 3 cm ",
]


def statuses(text: str) -> dict[str, str]:
    return {finding.concept: finding.status for finding in annotate(text).findings}


def sizes(text: str) -> dict[str, tuple[float, ...]]:
    return {finding.concept: finding.size_mm for finding in annotate(text).findings}


@pytest.mark.parametrize(
    "text",
    [
        "No nodule, mass, or pneumothorax.",
        "No evidence of nodule, mass or pneumothorax is seen.",
        "There is no nodule or mass and no pneumothorax.",
        "Negative for nodule, mass and pneumothorax.",
        "Neither nodule nor mass nor pneumothorax.",
        "Lungs are without nodule, mass, or pneumothorax.",
        "no\r\nnodule, mass or pneumothorax",
    ],
)
def test_negation_reaches_every_item_of_a_list(text: str) -> None:
    assert statuses(text) == {"nodule": "absent", "mass": "absent", "pneumothorax": "absent"}


@pytest.mark.parametrize(
    "text",
    [
        "No effusion, but there is a nodule.",
        "No effusion; however, a nodule persists.",
        "No effusion although a nodule is seen.",
        "No effusion. A nodule is seen.",
        "No effusion\nA nodule is seen",
        "A nodule without effusion.",
        "Effusion is not seen. Nodule is unchanged.",
        "A nodule is present, effusion is absent.",
        "Pleural effusion: none. Nodule: present.",
        "Pleural effusion: No\nNodule: Yes",
        "Nodule in the left lung. Effusion: not seen.",
    ],
)
def test_negation_stops_where_its_clause_ends(text: str) -> None:
    assert statuses(text) == {"pleural_effusion": "absent", "nodule": "present"}


@pytest.mark.parametrize(
    "text",
    [
        "There is no change in the nodule.",
        "No significant change in size of the nodule.",
        "No interval change of the nodule.",
        "Without change, the nodule is seen.",
        "The nodule has not changed.",
        "Nodule: no change.",
        "Not only a nodule was seen.",
        "Compared with the prior CT there is a nodule.",
    ],
)
def test_words_that_only_look_like_a_negation_deny_nothing(text: str) -> None:
    assert statuses(text)["nodule"] == "present"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Possible pneumonia.", "uncertain"),
        ("Pneumonia cannot be excluded.", "uncertain"),
        ("This may represent pneumonia.", "uncertain"),
        ("Suspicious for pneumonia.", "uncertain"),
        ("Pneumonia versus edema.", "uncertain"),
        ("Pneumonia: possible.", "uncertain"),
        ("History of pneumonia.", "historical"),
        ("Status post pneumonia.", "historical"),
        ("Pneumonia two years ago.", "historical"),
        ("No history of pneumonia.", "absent"),
        ("Pneumonia has resolved.", "absent"),
        ("Pneumonia is unlikely.", "absent"),
        ("Right lower lobe pneumonia.", "present"),
    ],
)
def test_status_is_what_the_sentence_says(text: str, status: str) -> None:
    assert statuses(text)["pneumonia"] == status


def test_answer_behind_a_colon_belongs_to_what_stands_before_it() -> None:
    assert statuses("Effusion: no pneumothorax.")["pneumothorax"] == "absent"
    assert statuses("Findings: no nodule. Mass: none seen.") == {"nodule": "absent", "mass": "absent"}


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("5 mm", (5,)),
        ("5mm", (5,)),
        ("8-mm", (8,)),
        ("1.25 cm", (12.5,)),
        ("1,2 cm", (12,)),
        ("12 x 9 mm", (12, 9)),
        ("12x9 mm", (12, 9)),
        ("1.2 cm × 0.8 cm", (12, 8)),
        ("2.3 x 1.1 x 4 cm", (23, 11, 40)),
        ("1 x 2 x 3 CM", (10, 20, 30)),
        ("3 centimetres", (30,)),
        ("6 by 4 millimeters", (6, 4)),
        ("1 cm x 8 mm", (10, 8)),
    ],
)
def test_sizes_come_in_millimetres(size: str, expected: tuple[float, ...]) -> None:
    assert sizes(f"A nodule measuring {size} in the right lobe.") == {"nodule": pytest.approx(expected)}


@pytest.mark.parametrize(
    "text", ["Image 5: a nodule.", "A nodule, 120 mmHg.", "T10 cm nodule", "A 5 nodule", "3.2.1 cm nodule"]
)
def test_number_that_is_no_size_is_left_alone(text: str) -> None:
    assert sizes(text)["nodule"] == ()


def test_each_size_goes_to_the_nearest_finding() -> None:
    assert sizes("A 5 mm nodule and a 2.1 x 3 cm mass; trace effusion.") == {
        "nodule": (5.0,),
        "mass": (21.0, 30.0),
        "pleural_effusion": (),
    }


def test_size_of_what_is_absent_is_given_to_nobody() -> None:
    assert sizes("No nodule above 5 mm.") == {"nodule": ()}


def test_finding_names_its_section() -> None:
    report = annotate("INDICATION: Effusion.\nFINDINGS: A nodule.\nIMPRESSION: A mass.")
    assert [(f.concept, f.section) for f in report.findings] == [
        ("pleural_effusion", "indication"),
        ("nodule", "findings"),
        ("mass", "impression"),
    ]


def test_longest_wording_wins() -> None:
    assert [f.concept for f in annotate("Coronary artery calcification.").findings] == ["coronary_calcification"]


def test_finding_of_a_relative_is_not_the_patients() -> None:
    report = annotate("Mother had pneumonia. A nodule.")
    assert {f.concept: f.experiencer for f in report.findings} == {"pneumonia": "family", "nodule": "patient"}


@given(pieces=st.lists(st.sampled_from(PIECES), max_size=20))
def test_offsets_point_at_the_words_in_the_untouched_text(pieces: list[str]) -> None:
    text = "A nodule. " + "".join(pieces)
    wordings = {"nodule": "nodule", "mass": "mass", "pleural_effusion": "effusion"}
    span = (0, 0)
    for finding in annotate(text).findings:
        assert span[1] <= finding.start or span == (finding.start, finding.end)
        span = (finding.start, finding.end)
        assert text[finding.start : finding.end].lower() == wordings[finding.concept]


@pytest.mark.parametrize(
    "piece",
    [
        "A",
        "enlarged aorta ",
        "nodule ",
        "No nodule. ",
        "nodule 1 cm ",
        "no ",
        "1x",
        "\n",
        "vs. ",
        "LESION 1: nodule ",
        ": no",
        "1" * 50,
    ],
)
def test_quarter_megabyte_takes_bounded_time(piece: str) -> None:
    annotate("warm")
    text = "x" + piece * (250_000 // len(piece)) + "x"
    started = time.process_time()
    annotate(text)
    assert time.process_time() - started < 5
