from __future__ import annotations

import pytest

from medfuse.errors import ReportTextError
from medfuse.text import annotate, annotate_many


@pytest.mark.parametrize(
    "text",
    [
        "Kein Pneumothorax.",
        "Kein Nachweis eines Pneumothorax. Herz normal groß.",
        "Pleuraerguss links.",
        "Rundherd im rechten Oberlappen, 8 mm.",
        "Pas d'épanchement pleural.",
        "Nodule pulmonaire du lobe supérieur droit de 8 mm.",
        "Sin derrame pleural.",
        "No se identifica consolidación.",
        "Non versamento pleurico.",
        "Ausência de derrame pleural.",
        "Geen pneumothorax.",
        "Plevral efüzyon saptanmadı.",
        "Brak cech odmy opłucnowej.",
        "Ingen pneumothorax.",
        "Пневмоторакс не выявлен.",
        "双肺清晰，未见气胸。",
        "胸水なし。",
        "फेफड़े साफ हैं।",
        "لا يوجد استرواح صدري",
        "Lorem ipsum dolor sit amet consectetur adipiscing elit",
    ],
)
def test_report_in_another_language_is_refused_not_read_as_negative(text: str) -> None:
    with pytest.raises(ReportTextError, match="language") as caught:
        annotate(text)
    assert text.split()[0] not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "Cardiomegaly.",
        "No PTX.",
        "NAD",
        "CXR: wnl",
        "ET tube ok. LE edema.",
        "Lungs clear b/l. No eff/ptx.",
        "Pt s/p CABG. ETT in situ.",
        "Slurred speech, weakness, shortness of breath, chills, vertigo.",
        "XXXX nodule",
        "5 mm",
    ],
)
def test_terse_english_is_read(text: str) -> None:
    assert annotate(text).language == "en"


def test_one_report_among_many_is_refused_by_its_number() -> None:
    reports = annotate_many(["A nodule.", "Kein Pneumothorax."], batch_size=1)
    next(reports)
    with pytest.raises(ReportTextError, match="report 1"):
        next(reports)


def test_masked_words_alone_are_no_report() -> None:
    assert [report.language for report in annotate_many(["XXXX, XXXX.", "A nodule."])] == ["", "en"]
