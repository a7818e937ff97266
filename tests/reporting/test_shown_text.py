import pytest

from medfuse.explanation_parts import Counterfactual
from medfuse.reporting.shown_text import without_identity
from medfuse.types import CaseId, Explanation, Prediction

TEXT = "FINDINGS: Dr. Alan Miller saw a spiculated nodule. Tel. 555-123-4567."


def prediction() -> Prediction:
    classes, p = ("negative", "positive"), {"fused": (0.2, 0.8)}
    return Prediction(CaseId("S1", "1"), "malignancy", classes, p, 0.5, ("image", "text"), "model")


def spans(*words: str) -> list[tuple[int, int]]:
    return [(TEXT.index(word), TEXT.index(word) + len(word)) for word in words]


def test_identity_is_replaced_and_every_mark_stays_at_its_words() -> None:
    words = ["Alan", "Miller", "spiculated", "nodule"]
    scores = tuple(
        (start, end, score) for (start, end), score in zip(spans(*words), (0.25, 0.5, 1.0, -1.0), strict=True)
    )
    hidden = Counterfactual("word", "", tuple(spans("Alan", "Miller", "nodule")), 0.5, -0.3)
    found = without_identity(Explanation(prediction(), text=TEXT, token_scores=scores, counterfactuals=(hidden,)))
    assert "Miller" not in found.text and "Alan" not in found.text and "4567" not in found.text
    assert [(found.text[start:end], score) for start, end, score in found.token_scores] == [
        ("[NAME]", 0.75),
        ("spiculated", 1.0),
        ("nodule", -1.0),
    ]
    assert [found.text[slice(*span)] for span in found.counterfactuals[0].spans] == ["[NAME]", "nodule"]


@pytest.mark.parametrize("text", ["", "A 6 mm nodule."])
def test_a_text_without_identity_is_left_as_it_is(text: str) -> None:
    explanation = Explanation(prediction(), text=text)
    assert without_identity(explanation) is explanation
