from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from medfuse.explain.edges import EdgeDetector
from medfuse.reporting.faithfulness_report import faithfulness_page
from pipelines import explanations


def rows(method: str, *, gain: float, forgets: float, setting: str = "real") -> list[dict[str, Any]]:
    rng = np.random.default_rng(len(method))
    found = []
    for part in ("validation", "test"):
        for number in range(12):
            moved = float(rng.normal(0, 0.02))
            figures = {
                "deletion": 0.4 - gain / 2,
                "insertion": 0.5 + gain / 2 + moved,
                "gain": 0.1 + gain + moved,
                "deletion_by_chance": 0.4,
                "insertion_by_chance": 0.5,
                "gain_by_chance": 0.1,
                "beats_best": float(gain > 0.1),
                "randomisation": forgets,
                "signed": forgets,
                "unsigned": forgets,
                "repeatability": 0.9,
                "seconds": 0.1,
                "mass_inside": 0.02 + gain,
                "volume_share": 0.02,
                "pointing": 1.0,
            }
            about = {"setting": setting, "part": part, "input": "image", "patient": f"P{number // 2}"}
            found.append({**about, "case": f"S{number}", "method": method, **figures})
    return found


@pytest.fixture
def summary() -> dict[str, Any]:
    return explanations.summary(
        [
            *rows("occlusion", gain=0.3, forgets=0.2),
            *rows("layer_cam", gain=0.5, forgets=0.8),
            *rows("grad_cam", gain=0.1, forgets=0.1),
            *rows(explanations.EDGES, gain=0.9, forgets=1.0),
            {"setting": "real", "part": "test", "input": "image", "method": "deep_lift", "refused": "no rule"},
            {"setting": "real", "part": "test", "input": "image", "method": "", "bypass": 0.25},
        ]
    )


def test_the_default_gains_most_of_those_that_change_with_the_model(summary: Mapping[str, Any]) -> None:
    assert explanations.ranking([summary]) == ["occlusion", "grad_cam"]
    assert summary["refused"] == {"deep_lift": "no rule"} and summary["bypass_median"] == 0.25


def test_a_default_s_lead_is_over_the_same_validation_cases() -> None:
    measured = [*rows("occlusion", gain=0.3, forgets=0.2), *rows("grad_cam", gain=0.1, forgets=0.1)]
    measured += rows("grad_cam", gain=0.9, forgets=0.1, setting="drawn")  # of no case of the other
    found = explanations.ahead(measured, "image", ["occlusion", "grad_cam"])
    assert found["of"] == "grad_cam" and found["by"]["n"] == 12
    assert found["by"]["low"] < found["by"]["value"] == pytest.approx(0.2, abs=0.05)
    metrics = {"default": {"image": "occlusion"}, "ahead": {"image": found}, "settings": {}, "cascade": {}, "reach": {}}
    assert "above that of `grad_cam`." in faithfulness_page(metrics)
    found["by"]["low"] = -0.1
    assert "above that of `grad_cam`: no certain difference." in faithfulness_page(metrics)


def test_what_was_aimed_at_is_said_to_be_reached_or_not(summary: Mapping[str, Any]) -> None:
    found = explanations.reach(summary["test"], "occlusion")
    assert found["mass_over_volume"]["found"] == pytest.approx(16.0)
    assert found["mass_over_volume"]["reached"]
    assert found["default_passes_randomisation"] and found["edge_detector_fails_randomisation"]
    worse = explanations.reach(summary["test"], "layer_cam")
    assert not worse["default_passes_randomisation"]


def test_the_page_shows_every_method_and_what_failed(summary: Mapping[str, Any]) -> None:
    metrics = {
        "default": {"image": "occlusion"},
        "settings": {"real": {"image": summary}},
        "cascade": {"occlusion": {"heads": 0.1, "fusion": 0.2}},
        "reach": explanations.reach(summary["test"], "occlusion"),
    }
    page = faithfulness_page(metrics)
    lines = page.splitlines()
    assert "| mass over volume, at least 5 | 16.00 | yes |" in lines
    edges = next(line for line in lines if line.startswith("| edge detector |"))
    assert "1.00 **failed**" in edges
    assert "| deep lift | refused: no rule |" in lines
    assert "25 % (median) does not pass" in page
    assert len(page) < 5000


def test_only_what_passes_every_test_is_shown() -> None:
    [good, *_] = rows("occlusion", gain=0.3, forgets=0.2)
    assert explanations.passes(good)
    for change in ({"beats_best": 0.0}, {"repeatability": 0.5}, {"randomisation": 0.6}, {"completeness": 0.2}):
        assert not explanations.passes({**good, **change})


def test_a_drawn_case_shows_two_patients() -> None:
    case = SimpleNamespace(row={"patients": "12 320-323"})
    assert explanations.patients_of(case) == {12, 320, 321, 322, 323}  # type: ignore[arg-type]


def test_the_planted_detector_sees_edges_alone() -> None:
    image = torch.zeros(1, 1, 8, 8, 8)
    image[..., 4:] = 1.0
    case = SimpleNamespace(batch=SimpleNamespace(image=image))
    scores = EdgeDetector()(case)["image"]  # type: ignore[arg-type]
    assert scores[..., 3:5].min() > 0 and scores[..., :3].max() == 0 == scores[..., 5:].max()
