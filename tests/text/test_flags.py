from __future__ import annotations

import pytest

from medfuse.text import annotate, finding_flags, flag_names, label_names

TEXT = "INDICATION: Rule out pneumonia. FINDINGS: A nodule. No pneumothorax. Possible consolidation."


def flags(text: str = TEXT, **options: object) -> dict[str, float]:
    values = finding_flags(text, scheme="chest14", **options).values  # type: ignore[arg-type]
    return {name: value for name, value in zip(flag_names("chest14"), values, strict=True) if value}


def test_presence_denial_and_doubt_have_their_own_values() -> None:
    assert flags() == {"Nodule present": 1.0, "Pneumothorax absent": 1.0, "Consolidation present": 0.5}


@pytest.mark.parametrize("scheme", ["chest14", "ctrate18"])
def test_flags_say_what_the_labels_say(scheme: str) -> None:
    text = TEXT + " Cardiomegaly. No pleural effusion. Pleural effusion on the left."
    found = dict(zip(flag_names(scheme), finding_flags(text, scheme=scheme).values, strict=True))
    labels = annotate(text).labels(scheme)
    for label in label_names(scheme):
        expected = {1: (1.0, 0.0), -1: (0.5, 0.0), 0: (0.0, 1.0), None: (0.0, 0.0)}[labels.get(label)]
        assert (found[f"{label} present"], found[f"{label} absent"]) == expected, label


def test_a_finding_outside_what_the_model_may_read_does_not_count() -> None:
    start = TEXT.index("FINDINGS")
    assert flags(within=[(start, TEXT.index("No pneumothorax"))]) == {"Nodule present": 1.0}


def test_a_masked_finding_does_not_count() -> None:
    start = TEXT.index("nodule")
    assert "Nodule present" not in flags(without=[(start + 1, start + 2)])


def test_each_value_points_at_the_mentions_that_made_it() -> None:
    found = finding_flags(TEXT, scheme="chest14")
    for value, spans, name in zip(found.values, found.spans, flag_names("chest14"), strict=True):
        assert bool(value) == bool(spans), name
    at = flag_names("chest14").index("Pneumothorax absent")
    assert [TEXT[a:b] for a, b in found.spans[at]] == ["pneumothorax"]
