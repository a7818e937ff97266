from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from medfuse.config import CacheConfig, RunConfig
from medfuse.data import Case
from medfuse.errors import ManifestError
from medfuse.inference import Bundle, Predictor, load_bundle
from medfuse.io import Manifest, Pseudonymizer, read_manifest
from medfuse.training import score_manifest, split_cases
from medfuse.training.parts import Parts
from medfuse.types import Study


@pytest.fixture(scope="module")
def bundle(toy_bundle: Path) -> Bundle:
    return load_bundle(toy_bundle)


@pytest.fixture(scope="module")
def parts(toy_cases: tuple[Case, ...], toy_config: RunConfig) -> Parts:
    return split_cases(toy_cases, toy_config.data, seed=toy_config.seed)


def write(manifest: Manifest, name: str, frame: pd.DataFrame) -> Manifest:
    path = manifest.path.with_name(name)
    frame.to_csv(path, index=False)
    return read_manifest(path)


def test_it_says_what_the_predictor_says_of_each_study(
    bundle: Bundle, toy: Any, names: Pseudonymizer, toy_studies: list[Study], tmp_path: Path
) -> None:
    frame = toy.manifest.frame
    unseen = write(toy.manifest, "unseen.csv", frame[frame["fold"] == "0"])
    cache = CacheConfig(folder=str(tmp_path), max_gb=0.1)
    found = score_manifest(bundle, unseen, pseudonymizer=names, cache=cache)
    rows = found.table[found.table["class"] == "positive"].set_index(["case_id", "condition"])["probability"]
    expected = {
        (str(one.case), condition): values[1]
        for predictions in Predictor(bundle).predict_many(toy_studies)
        for one in predictions
        for condition, values in one.probabilities.items()
    }
    assert rows.to_dict() == pytest.approx(expected, abs=1e-6)
    assert set(found.table["split"]) == {"test"}
    labels = found.table[found.table["class"] == "positive"].drop_duplicates("case_id")["label"]
    assert labels.tolist() == (unseen.frame["label_malignancy"] == "positive").astype(int).tolist()
    assert found.thresholds["malignancy"]["image"] == bundle.calibration["malignancy"]["image"].threshold
    assert (found.known_patients, found.known_images) == ((), ())
    assert "no patient one of its patients" in found.notes[0]


def test_cases_that_trained_the_model_are_known_by_patient_and_by_image(
    bundle: Bundle, toy: Any, names: Pseudonymizer, parts: Parts
) -> None:
    found = score_manifest(bundle, toy.manifest, pseudonymizer=names)
    trained = {case.patient_key for case in parts.train}
    assert set(found.known_patients) == {str(c.id) for c in found.loaded.cases if c.patient_key in trained}
    assert set(found.known_images) == {str(c.id) for c in parts.train if c.has_image}
    assert len(found.notes) == 2
    assert found.notes[0].startswith(f"{len(found.known_patients)} of {len(found.loaded.cases)} cases are of patients")


def test_under_another_key_images_are_known_again_and_patients_are_not(bundle: Bundle, toy: Any, parts: Parts) -> None:
    found = score_manifest(bundle, toy.manifest, pseudonymizer=Pseudonymizer(bytes(32)))
    assert found.known_patients == ()
    assert len(found.known_images) == sum(case.has_image for case in parts.train)


def test_a_manifest_of_other_labels_or_classes_is_refused(bundle: Bundle, toy: Any, names: Pseudonymizer) -> None:
    frame = toy.manifest.frame
    renamed = write(toy.manifest, "renamed.csv", frame.rename(columns={"label_malignancy": "label_cancer"}))
    with pytest.raises(ManifestError, match="found no column 'label_malignancy'"):
        score_manifest(bundle, renamed, pseudonymizer=names)
    other = write(toy.manifest, "other.csv", frame.replace({"label_malignancy": {"positive": "malignant"}}))
    with pytest.raises(ManifestError, match="found a label that is no class"):
        score_manifest(bundle, other, pseudonymizer=names)


def test_a_bad_study_is_named_and_the_others_are_scored(bundle: Bundle, toy: Any, names: Pseudonymizer) -> None:
    frame = toy.manifest.frame[:4].copy()
    frame.loc[0, "roi_x_mm"] = "9999"
    found = score_manifest(bundle, write(toy.manifest, "bad.csv", frame), pseudonymizer=names)
    assert found.table["case_id"].nunique() == 3
    [(key, _, reason)] = found.loaded.refused
    assert key == names.study(frame.loc[0, "study_uid"])
    assert "outside the image" in reason
