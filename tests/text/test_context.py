from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from medfuse.errors import UsageError
from medfuse.text import Assertion, annotate, assert_status

NEGEX = Path(__file__).resolve().parents[3] / "shared/data/nlp/negex/negex.tsv"


def status(text: str) -> str:
    """The status of the concept written in capitals."""
    concept = re.search(r"[A-Z]{3,}(?: [A-Z]{3,})*", text)
    assert concept
    return assert_status(text, [concept.span()])[0].status


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("There is a NODULE.", "present"),
        ("No NODULE.", "absent"),
        ("No effusion, edema or PNEUMOTHORAX.", "absent"),
        ("A NODULE is not seen.", "absent"),
        ("Effusion, edema or PNEUMOTHORAX was not detected.", "absent"),
        ("A NODULE is seen and an effusion is not seen.", "present"),
        ("No effusion, but a NODULE.", "present"),
        ("No effusion. A NODULE.", "present"),
        ("No effusion\nIMPRESSION: a NODULE.".replace("IMPRESSION", "Impression"), "present"),
        ("No change in the NODULE.", "present"),
        ("No significant interval change of the NODULE.", "present"),
        ("Not only a NODULE is seen.", "present"),
        ("Without evidence of EDEMA.", "absent"),
        ("Negative for PNEUMONIA.", "absent"),
        ("Cannot exclude PNEUMONIA.", "uncertain"),
        ("PNEUMONIA cannot be excluded.", "uncertain"),
        ("This may represent PNEUMONIA.", "uncertain"),
        ("Nothing; no findings to suggest PNEUMONIA.", "absent"),
        ("History of PNEUMONIA.", "historical"),
        ("No history of PNEUMONIA.", "absent"),
        ("PNEUMONIA two years ago.", "historical"),
        ("No  EFFUSION".replace("  ", " \r\n\t"), "absent"),
        ("AORTA WITHOUT ANEURYSM", "present"),
    ],
)
def test_trigger_phrases_set_the_status(text, expected):
    assert status(text) == expected


def test_negated_history_is_both():
    assertion = assert_status("No history of pneumonia.", [(14, 23)])[0]
    assert (assertion.negated, assertion.historical, assertion.status) == (True, True, "absent")


def test_family_history_is_not_the_patients():
    assert assert_status("Mother had pneumonia.", [(11, 20)])[0].experiencer == "family"


def test_answers_keep_the_order_of_the_spans():
    text = "No effusion. A nodule. No edema."
    assert [a.status for a in assert_status(text, [(26, 31), (15, 21), (3, 11)])] == ["absent", "present", "absent"]
    assert assert_status(text, []) == []


def test_span_inside_a_heading_is_just_stated():
    assert assert_status("No edema. FINDINGS: A nodule.", [(10, 18)]) == [Assertion()]


def test_span_that_is_a_heading_is_answered_by_what_follows():
    assert assert_status("No edema. FINDINGS: none", [(10, 18)])[0].status == "absent"


@pytest.mark.parametrize("span", [(0, 0), (-1, 3), (5, 99), (4, 2)])
def test_span_outside_the_text_is_refused(span):
    with pytest.raises(UsageError, match="span outside the text"):
        assert_status("A nodule.", [span])


@pytest.mark.skipif(not NEGEX.exists(), reason="needs the NegEx sentences in ../shared")
def test_negation_reaches_its_figure_on_the_negex_sentences():
    right = wrong = 0
    with NEGEX.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            words = r"\s+".join(re.escape(word) for word in row["concept"].split())
            if found := re.search(words.upper(), row["sentence"]) or re.search(words, row["sentence"], re.IGNORECASE):
                got = assert_status(row["sentence"], [found.span()])[0].negated
                wanted = row["negation"] == "Negated"
                right += got and wanted
                wrong += got != wanted
    assert right > 200
    assert 2 * right / (2 * right + wrong) >= 0.975


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No change in the NODULE since the prior study.", "present"),
        ("No new NODULE.", "absent"),
        ("The patient denies any chest pain or DYSPNEA.", "absent"),
        ("Gram-negative SEPSIS.", "present"),
        ("Chest CT was negative for PULMONARY EMBOLISM.", "absent"),
        ("No evidence of FRACTURE or dislocation.", "absent"),
        ("There is no pleural effusion, PNEUMOTHORAX or consolidation.", "absent"),
        ("No effusion, stable CARDIOMEGALY.", "present"),
        ("Without contrast, MULTIPLE LESIONS are seen.", "present"),
        ("EFFUSION: none", "absent"),
        ("PNEUMOTHORAX is no longer seen.", "absent"),
        ("Previously seen EFFUSION has resolved.", "absent"),
        ("Cannot exclude small EFFUSION.", "uncertain"),
        ("Findings may represent PNEUMONIA.", "uncertain"),
        ("ATELECTASIS versus scar.", "uncertain"),
        ("Pneumonia vs ATELECTASIS.", "uncertain"),
        ("History of BREAST CANCER.", "historical"),
        ("Status post LOBECTOMY.", "historical"),
        ("New EFFUSION since the prior study, which showed none.", "present"),
        ("He has no fever, chills, COUGH, or night sweats.", "absent"),
        ("No fever but has a COUGH.", "present"),
        ("COUGH was denied.", "absent"),
        ("She was ruled out for MYOCARDIAL INFARCTION.", "absent"),
        ("MYOCARDIAL INFARCTION was ruled out.", "absent"),
        ("Rule out PNEUMONIA.", "uncertain"),
        ("The patient was not able to walk because of PAIN.", "present"),
        ("Lungs are clear without INFILTRATE.", "absent"),
        ("Lungs: no focal CONSOLIDATION seen.", "absent"),
        ("Not significantly changed EFFUSION.", "present"),
        ("EFFUSION is not significantly changed.", "present"),
        ("There is no doubt that there is a MASS.", "present"),
        ("Absence of LYMPHADENOPATHY.", "absent"),
        ("No effusion; moderate EDEMA persists.", "present"),
        ("No mass, NODULE, or adenopathy identified in either lung.", "absent"),
        ("Neither effusion nor PNEUMOTHORAX.", "absent"),
        ("I do not see a PNEUMOTHORAX.", "absent"),
        ("I see no PNEUMOTHORAX.", "absent"),
        ("No PNEUMOTHORAX after chest tube removal.", "absent"),
        ("Improved but not completely resolved EFFUSION.", "present"),
        ("EFFUSION has not resolved.", "present"),
        ("NODULE not seen on prior exam.", "present"),
        ("There is a NODULE not seen previously.", "present"),
        ("The previously noted NODULE is not seen.", "absent"),
        ("No significant interval change in bilateral EFFUSION.", "present"),
        ("Free of DISEASE.", "absent"),
        ("Questionable NODULE in the left lung.", "uncertain"),
        ("Concern for EARLY PNEUMONIA.", "uncertain"),
        ("Patient is afebrile with no signs of INFECTION.", "absent"),
        ("Patient has no known allergies and presents with COUGH.", "present"),
        ("No acute FRACTURE is demonstrated.", "absent"),
        ("Unlikely to be PNEUMONIA.", "absent"),
        ("PNEUMONIA is unlikely.", "absent"),
        ("No CT evidence of acute PULMONARY EMBOLUS.", "absent"),
        ("Unremarkable except for a small CYST.", "present"),
        ("Normal apart from NODULE.", "present"),
        ("Denies headache, nausea, vomiting, DIARRHEA.", "absent"),
        ("She denied chest pain but complained of DYSPNEA.", "present"),
        ("The liver is free of MASSES.", "absent"),
        ("If PNEUMONIA is suspected clinically, CT may help.", "uncertain"),
        ("Stable appearance of the NODULE without change.", "present"),
        ("w/o EDEMA", "absent"),
        ("-ve for BLEEDING", "absent"),
        ("No hx of DIABETES", "absent"),
        ("Pt denies SOB, CP, or PALPITATIONS.", "absent"),
        ("Heart without MURMUR, rub or gallop.", "absent"),
        ("Abdomen soft, nontender, no HEPATOMEGALY.", "absent"),
        ("Extremities: no clubbing, cyanosis, or EDEMA.", "absent"),
        ("No evidence for acute cardiopulmonary DISEASE.", "absent"),
        ("Failed conservative therapy for BACK PAIN.", "present"),
        ("Failed to demonstrate STENOSIS.", "absent"),
        ("Effusion is absent, NODULE is seen.", "present"),
    ],
)
def test_sentences_of_the_clinic_are_read_as_they_are_meant(text, expected):
    concept = [*re.finditer(r"\b[A-Z]{4,}(?: [A-Z]{4,})*\b", text)][-1]
    assert assert_status(text, [concept.span()])[0].status == expected


@pytest.mark.parametrize(
    ("text", "historical"),
    [
        ("PAST MEDICAL HISTORY: Gout, ASTHMA.", True),
        ("SOCIAL HISTORY: SMOKER.", True),
        ("PAST MEDICAL HISTORY: Gout.\nFINDINGS: EFFUSION.", False),
        ("A three day history of COUGH.", False),
        ("History of gout and denies FEVER.", False),
        ("Her sister had BREAST CANCER.", True),
        ("STATUS POST LOBECTOMY", True),
    ],
)
def test_history_is_told_by_heading_and_phrase(text, historical):
    concept = [*re.finditer(r"\b[A-Z]{4,}(?: [A-Z]{4,})*\b", text)][-1]
    assert assert_status(text, [concept.span()])[0].historical == historical


def test_finding_under_a_heading_of_history_is_historical():
    found = annotate("PAST MEDICAL HISTORY: Pneumonia.\nFINDINGS: Effusion.").findings
    assert [(f.concept, f.status) for f in found] == [("pneumonia", "historical"), ("pleural_effusion", "present")]
