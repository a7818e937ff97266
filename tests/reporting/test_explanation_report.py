import json
import re
from base64 import b64decode
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from medfuse.errors import DataError
from medfuse.explanation_parts import Concept, Counterfactual, SimilarCase, TrustCheck
from medfuse.reporting import write_explanation_report
from medfuse.reporting.explanation_facts import CaseFacts, GroupFigure
from medfuse.types import CaseId, Explanation, Prediction

TEXT = "A spiculated, solid nodule. No calcification."
SCORES = ((2, 12, 0.8), (14, 19, 0.3), (31, 44, -0.4))
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def prediction(*, threshold=0.46, flags=(), **probabilities):
    values = {name: (1 - p, p) for name, p in probabilities.items()}
    used = tuple(name for name in values if name != "fused")
    return Prediction(
        CaseId("Sab12", "1"), "malignancy", ("benign", "malignant"), values, threshold, used, "m@1", flags
    )


def explanation(*, blob=(24, 16, 16), checks=None, **changes):
    image = np.full((32, 32, 32), 0.5, np.float32)
    image[0, 0, 0], image[-1, -1, -1] = 0.0, 1.0
    image_map = np.zeros((32, 32, 32), np.float32)
    image_map[tuple(slice(c - 2, c + 3) for c in blob)] = 1.0
    facts = {
        "prediction": prediction(image=0.58, text=0.81, fused=0.72),
        "image": image,
        "image_map": image_map,
        "affine": LPS,
        "text": TEXT,
        "token_scores": SCORES,
        "modality_shares": {"image": 0.35, "text": -0.2},
        "method": "integrated gradients",
        "checks": checks if checks is not None else {"completeness_delta": 0.01, "deletion_image": 3.0},
    }
    return Explanation(**{**facts, **changes})


def pictures(page):
    return [imread(BytesIO(b64decode(p))) for p in re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page.source)]


def orange(picture):
    """Columns and rows of the contour's colour, as shares of the picture."""
    red, green, blue = (picture[..., c] for c in range(3))
    rows, columns = np.nonzero((red > 0.8) & (green > 0.45) & (green < 0.75) & (blue < 0.35))
    return rows.mean() / picture.shape[0], columns.mean() / picture.shape[1]


@pytest.mark.parametrize(("i", "side"), [(24, "left"), (8, "right")])
def test_the_contour_is_drawn_on_the_patients_own_side(tmp_path, read_page, i, side):
    # In this affine the index i rises to the patient's left, which radiologists see on the right.
    page = read_page(write_explanation_report(explanation(blob=(i, 8, 24)), tmp_path, provenance={}))
    _, marked_axial, _, marked_coronal = pictures(page)[:4]
    expected = (i + 0.5) / 32
    assert orange(marked_axial) == pytest.approx((8.5 / 32, expected), abs=0.02)  # j rises to posterior, drawn below
    assert orange(marked_coronal) == pytest.approx((1 - 24.5 / 32, expected), abs=0.02)  # k rises upwards
    assert (expected > 0.5) == (side == "left")


def test_unmarked_slices_carry_no_contour(tmp_path, read_page):
    page = read_page(write_explanation_report(explanation(), tmp_path, provenance={}))
    coloured = [bool(np.ptp(picture[..., :3], axis=2).max() > 0.2) for picture in pictures(page)]
    assert coloured == [False, True] * 3


def test_the_answer_is_stated_in_counts_with_threshold_and_position(tmp_path, read_page):
    page = read_page(
        write_explanation_report(explanation(), tmp_path, provenance={"Config": "sha256:1"}, true_label="malignant")
    )
    text = re.sub(r"\s+", " ", page.text)
    assert "Of 100 cases that get this answer, about 72 are “malignant”" in text
    assert "72% is at or above the threshold of 46%" in text
    assert "x −24.0, y −16.0, z 16.0 mm, RAS" in text
    assert "Axial, slice 17 of 32 from inferior" in text
    assert "Known label of this case: “malignant”" in text
    assert "agree" in text and "sha256:1" in text and "Research use only." in text


@pytest.mark.parametrize(
    ("image", "report", "phrase"),
    [
        (0.2, 0.8, "Image and report disagree"),
        (0.4, 0.5, "different sides of the threshold, though not far apart"),
        (0.6, 0.9, "point the same way"),
        (0.1, 0.2, "point the same way"),
        (0.5, 0.95, "lie far apart, on the same side"),
    ],
)
def test_conflict_is_decided_by_the_two_probabilities(tmp_path, read_page, image, report, phrase):
    case = explanation(prediction=prediction(image=image, text=report, fused=0.5))
    assert phrase in read_page(write_explanation_report(case, tmp_path, provenance={})).text


def test_marks_follow_the_signed_scores(tmp_path, read_page):
    page = read_page(write_explanation_report(explanation(), tmp_path, provenance={}))
    assert '<span class="mark for s3">spiculated</span>' in page.source
    assert '<span class="mark against s2">calcification</span>' in page.source


def test_a_map_that_failed_its_test_is_not_shown(tmp_path, read_page):
    checks = {"deletion_image": 0.9, "deletion_text": 0.5, "completeness_delta": 0.3}
    page = read_page(write_explanation_report(explanation(checks=checks), tmp_path, provenance={}))
    assert len(pictures(page)) == 3
    assert "The map failed a trust check" in page.text
    assert "The marks on the words failed" in page.text and "mark for s3" not in page.source
    assert page.text.count("failed") >= 5
    assert json.loads((tmp_path / "explanation.json").read_text())["map_shown"] is False


def test_missing_image_and_missing_report_are_said(tmp_path, read_page):
    no_image = explanation(
        prediction=prediction(text=0.04), image=None, image_map=None, affine=None, modality_shares={}
    )
    text = read_page(write_explanation_report(no_image, tmp_path / "a", provenance={})).text
    assert "No image was given" in text and "rests on the report alone" in text
    no_report = explanation(prediction=prediction(image=0.9, flags=("missing report",)), text="", token_scores=())
    text = read_page(write_explanation_report(no_report, tmp_path / "b", provenance={})).text
    assert "No report was given" in text and "Not given: report." in text


def test_json_holds_figures_and_never_words_of_the_report(tmp_path):
    write_explanation_report(explanation(), tmp_path, provenance={"Seed": "0"})
    source = (tmp_path / "explanation.json").read_text(encoding="utf-8")
    written = json.loads(source)
    assert "spiculated" not in source
    assert written["token_scores"][0] == [2, 12, 0.8]
    assert written["probabilities"]["fused"][1] == 0.72
    assert written["planes_meet_at_ras_mm"] == [-24.0, -16.0, 16.0]


def test_hostile_text_stays_text(tmp_path, read_page, hostile):
    classes = ("benign", hostile)
    base = prediction(image=0.6, fused=0.7)
    evil = Prediction(base.case, hostile, classes, base.probabilities, 0.5, ("image",), hostile, (hostile,))
    case = explanation(
        prediction=evil,
        text=hostile,
        token_scores=((0, 8, 1.0), (8, len(hostile), -1.0)),
        modality_shares={hostile: 1.0},
        method=hostile,
        checks={hostile: 1.0},
    )
    page = read_page(
        write_explanation_report(
            case, tmp_path, provenance={hostile: hostile}, true_label=hostile, facts=CaseFacts(limits=(hostile,))
        )
    )
    assert page.text.count(hostile) >= 8
    assert "in this text nothing is shown as denied" in page.text


def test_several_classes_get_the_likeliest(tmp_path, read_page):
    many = Prediction(CaseId("S1", "1"), "type", ("a", "b", "c"), {"image": (0.2, 0.1, 0.7)}, 0.5, ("image",), "m")
    text = read_page(write_explanation_report(explanation(prediction=many), tmp_path, provenance={})).text
    assert "Called “c”" in text and "It is the likeliest of 3 classes." in text


def test_offsets_outside_the_text_are_refused(tmp_path):
    with pytest.raises(DataError, match="offsets"):
        write_explanation_report(explanation(token_scores=((0, 999, 1.0),)), tmp_path, provenance={})


def test_same_explanation_gives_the_same_bytes(tmp_path):
    pages = [write_explanation_report(explanation(), tmp_path / n, provenance={}).read_bytes() for n in "ab"]
    assert pages[0] == pages[1]


def test_the_fusion_s_own_weights_are_stated_where_it_has_any(tmp_path, read_page):
    weighed = explanation(fusion_weights={"image": 0.25, "text": 0.75})
    text = read_page(write_explanation_report(weighed, tmp_path / "a", provenance={})).text
    assert "The fusion itself weighed: image 0.25, report 0.75; a weight is not an effect." in text
    text = read_page(write_explanation_report(explanation(), tmp_path / "b", provenance={})).text
    assert "The fusion itself weighed" not in text


def test_an_answer_is_rounded_alike_wherever_it_stands(tmp_path, read_page):
    found = prediction(fused=0.56531, image=0.9, text=0.1)
    write_explanation_report(explanation(prediction=found), tmp_path, provenance={})
    text = " ".join(read_page(tmp_path / "report.html").text.split())
    assert "57%" in text and "56%" not in text


def trusted(*failed, modalities=("image", "text")):
    names = [f"{test}_{m}" for m in modalities for test in ("faithfulness", "randomisation", "repeatability")]
    return tuple(TrustCheck(name, 0.3, name not in failed, 0.5) for name in names)


def test_a_withheld_map_is_not_shown_and_its_tests_are_named(tmp_path, read_page):
    names = ("faithfulness_image", "randomisation_image")
    case = explanation(trust=trusted(*names), withheld={"image": names})
    page = read_page(write_explanation_report(case, tmp_path, provenance={}))
    assert len(pictures(page)) == 3 and "mark for s3" in page.source
    assert "The contour failed: what it marks moves the answer more than chance and it depends on" in page.text
    assert "The marks on the report passed" in page.text


@pytest.mark.parametrize(("low", "verdict"), [(0.3, "Uncertain"), (0.5, "Called “malignant”")])
def test_an_interval_over_the_threshold_makes_the_answer_uncertain(tmp_path, read_page, low, verdict):
    base = prediction(image=0.58, text=0.81, fused=0.72)
    sure = replace(base, intervals={"fused": ((0.1, 1 - low), (low, 0.9))}, interval_kind="Venn-Abers")
    text = read_page(write_explanation_report(explanation(prediction=sure), tmp_path, provenance={})).text
    assert verdict in text and f"It may be {100 * low:.0f} to 90 of 100" in text


def test_a_report_of_the_other_side_is_a_conflict(tmp_path, read_page):
    case = explanation(text="A nodule in the left lung.", token_scores=())
    for side, differs in (("right", True), ("left", False), ("", False)):
        path = write_explanation_report(case, tmp_path / f"s{side}", provenance={}, facts=CaseFacts(side=side))
        page = read_page(path)
        assert ("The side differs" in page.text) == differs
        # That the side differs says nothing against the two answers, which point the same way.
        agreed = re.search(r'class="verdict (\w+)[^"]*"><span>Image and report point', page.source)
        assert agreed is not None and agreed[1] == "yes"


def test_what_the_report_denies_is_shown_as_denied(tmp_path, read_page):
    source = read_page(write_explanation_report(explanation(), tmp_path, provenance={})).source
    assert (
        '<span class="said absent"><span class="mark against s2">calcification</span><span class="tag">negated</span>'
    ) in source


def test_the_appendix_holds_what_stands_behind_the_answer(tmp_path, read_page, hostile):
    case = explanation(
        counterfactuals=(
            Counterfactual("word", "", ((2, 12),), 0.4, -0.32),
            Counterfactual("modality", "text", (), 0.58, -0.14),
        ),
        concepts=(Concept("reader_margin", ("smooth", hostile), {"fused": (0.2, 0.8)}),),
        similar_cases=(SimilarCase("Sfe01-2", {"malignancy": "benign"}, 0.912),),
        interaction=-0.3,
    )
    facts = CaseFacts(groups=(GroupFigure("", "", 90, 40, (0.8, 0.7, 0.9)), GroupFigure("site", hostile, 9, 0, None)))
    text = read_page(write_explanation_report(case, tmp_path, provenance={}, facts=facts)).text
    assert "the word “spiculated”" in text and "40%" in text and "This would cross the threshold." in text
    assert "Sfe01-2" in text and "0.91" in text and f"{hostile} 80%" in text
    assert "0.80 (0.70 to 0.90)" in text and f"Site: {hostile}" in text and "not defined" in text


def test_other_channels_are_drawn_in_the_appendix(tmp_path, read_page):
    facts = CaseFacts(channel="t1", other_channels={"flair": np.linspace(0, 1, 32**3).reshape(32, 32, 32)})
    page = read_page(write_explanation_report(explanation(), tmp_path, provenance={}, facts=facts))
    assert len(pictures(page)) == 12
    assert "Channel shown: t1" in page.text and "flair" in page.text


def test_characters_that_turn_the_text_round_are_named(tmp_path, read_page):
    text = "left\u202e nodule"
    page = read_page(
        write_explanation_report(explanation(text=text, token_scores=((0, 4, 1.0),)), tmp_path, provenance={})
    )
    assert "[U+202E]" in page.text and "\u202e" not in page.source


def test_the_first_page_holds_all_but_the_appendix_in_the_worst_case(tmp_path):
    weasyprint = pytest.importorskip("weasyprint", reason="weasyprint is not installed: pip install 'medfuse[pdf]'")
    base = prediction(image=0.9, text=0.1, fused=0.4, flags=("report cut to 256 tokens", "missing table"))
    unsure = replace(
        base,
        intervals=dict.fromkeys(base.probabilities, ((0.1, 0.9), (0.1, 0.9))),
        interval_kind="Venn-Abers",
        sets={"fused": base.classes},
        set_level=0.9,
        novelty=3.0,
        spread=((0.3, 0.9), (0.1, 0.7)),
    )
    words = " ".join(f"Sentence {k} on a spiculated nodule of the left lung, and no calcification." for k in range(80))
    case = explanation(
        prediction=unsure,
        text=words,
        token_scores=((14, 24, 0.8),),
        trust=(TrustCheck("completeness", 0.01, passed=True, limit=0.05), *trusted()),
    )
    facts = CaseFacts((1.0, 2.0, 3.0), "right", 12.0, 3, "HU", "t1", {"t2": np.asarray(case.image)})
    path = write_explanation_report(case, tmp_path, provenance={"data": "x" * 64}, true_label="benign", facts=facts)
    first, second, *_ = weasyprint.HTML(path).render().pages
    assert {"answer", "trust", "image", "text", "reader", "stamp"} <= set(first.anchors)
    assert "appendix" in second.anchors and "appendix" not in first.anchors
