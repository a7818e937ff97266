from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from medfuse.errors import UsageError
from medfuse.text import annotate, annotate_many, label_names
from medfuse.text.words import read_data
from medfuse.types import RadiologyReport

SHARED = Path(__file__).resolve().parents[3] / "shared/data"
OPENI = SHARED / "nlp/openi/openi_reports.jsonl"
CTRATE = SHARED / "ctrate_reports/train.csv"


def labels(text: str, scheme: str = "chest14") -> dict[str, int]:
    return annotate(text).labels(scheme)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No pneumothorax. Small effusion.", {"Pneumothorax": 0, "Effusion": 1}),
        ("Pneumonia cannot be excluded.", {"Pneumonia": -1}),
        ("Probable pneumonia.", {"Pneumonia": 1}),
        ("Possible pneumonia. No pneumonia.", {"Pneumonia": -1}),
        ("No pneumonia. Pneumonia in the left lower lobe.", {"Pneumonia": 1}),
        ("History of pneumonia.", {}),
        ("INDICATION: pneumonia\nFINDINGS: edema of the lungs.", {"Edema": 1}),
        ("Mother had pneumonia.", {}),
        ("Nodule in the thyroid gland.", {}),
        ("Nodule in the left upper lobe.", {"Nodule": 1}),
        ("The bones are intact.", {}),
    ],
)
def test_labels_say_what_the_report_says(text, expected):
    assert labels(text) == expected


def test_ct_labels_know_where_calcium_is():
    found = labels("Calcific plaques in the coronary arteries. No hiatal hernia.", "ctrate18")
    assert found == {"Coronary artery wall calcification": 1, "Hiatal hernia": 0}


@pytest.mark.parametrize("scheme", ["chest14", "ctrate18"])
def test_every_label_is_made_of_concepts_that_can_be_found(scheme):
    said = {
        concept
        for region in ("general", "chest", "abdomen", "brain", "musculoskeletal")
        for content in [read_data(f"lexicon_{region}.yaml")]
        for concept in [*content["concepts"], *(c for s in content["statements"] for c in s["says"])]
    }
    entries = read_data("labels.yaml")[scheme]["labels"]
    assert tuple(entries) == label_names(scheme)
    assert all(set(entry["concepts"]) <= said for entry in entries.values())


def test_regions_left_out_are_regions():
    regions = set(read_data("anatomy.yaml")["regions"])
    assert all(set(names) <= regions for names in read_data("labels.yaml")["elsewhere"].values())


def test_unknown_scheme_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match="did you mean 'chest14'"):
        labels("A nodule.", "chest_14")
    with pytest.raises(UsageError, match="no such scheme"):
        RadiologyReport("A nodule.").labels("chest14")


def test_labels_given_out_are_the_callers_own():
    report = annotate("A nodule.")
    report.labels("chest14")["Nodule"] = 7
    assert report.labels("chest14") == {"Nodule": 1}


def f1(rows, scheme: str) -> tuple[float, float]:
    counts = {name: [0, 0] for name in rows[0][1]}
    for (_, wanted), report in zip(rows, annotate_many(text for text, _ in rows), strict=True):
        found = report.labels(scheme)
        for name, count in counts.items():
            got = found.get(name) == 1
            count[0] += got and wanted[name]
            count[1] += got + wanted[name]
    return 2 * sum(c[0] for c in counts.values()) / sum(c[1] for c in counts.values()), sum(
        2 * c[0] / max(1, c[1]) for c in counts.values()
    ) / len(counts)


@pytest.mark.skipif(not OPENI.exists(), reason="needs the OpenI reports in ../shared")
def test_chest_labels_reach_their_figure_on_openi():
    rows = []
    for line in OPENI.read_text(encoding="utf-8").splitlines():
        report = json.loads(line)
        wanted = {name: bool(report["labels14"][name]) for name in label_names("chest14") if name != "Hernia"}
        rows.append(((report["findings"].strip() + " " + report["impression"].strip()).strip(), wanted))
    micro, macro = f1(rows, "chest14")
    assert micro >= 0.87
    assert macro >= 0.80


@pytest.mark.skipif(not CTRATE.exists(), reason="needs the CT-RATE reports in ../shared")
def test_ct_labels_beat_a_model_that_was_trained_on_them():
    with CTRATE.open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))[::4]
    rows = [
        (row["report_text"], {name: float(row[name] or 0) > 0 for name in label_names("ctrate18")}) for row in table
    ]
    micro, macro = f1(rows, "ctrate18")
    assert micro >= 0.90
    assert macro >= 0.90
