import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medfuse.inference import Predictor
from medfuse.io import Manifest, Pseudonymizer, index_archive, read_manifest, read_volume, write_nifti
from medfuse.io.inputs import FoundStudies
from medfuse.scoring import score
from medfuse.types import Volume
from pipelines import scoring_faults as faults
from pipelines.scoring_tools.faults_page import faults_page
from pipelines.scoring_tools.inputs import SMALL_SCAN, write_archive
from pipelines.scoring_tools.killing import Run, n_done
from pipelines.scoring_tools.poison import POISONS, Archive, make_archive

N_GOOD, PADDING = 5, 4


@pytest.fixture(scope="module")
def lesions(toy: Any, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Lesions of the toy cohort with a report in a file each, their values whole HU as DICOM holds them."""
    folder = tmp_path_factory.mktemp("lesions")
    rows = toy.manifest.frame.head(4).to_dict("records")
    for number, row in enumerate(rows):
        image = read_volume(toy.manifest.root / row["image_path"], unit="HU")
        affine = image.affine.copy()
        affine[:3, 3] -= PADDING
        voxels = np.pad(
            np.rint(image.voxels).astype(np.int16), PADDING, mode="reflect"
        )  # slices large enough to be cut off
        write_nifti(Volume(voxels, affine, "HU"), folder / row["image_path"])
        row["report_path"] = f"{number}.txt"
        (folder / row["report_path"]).write_text(row.pop("report_text"), encoding="utf-8")
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return read_manifest(folder / "manifest.csv")


@pytest.fixture(scope="module")
def archive(lesions: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    out = tmp_path_factory.mktemp("poisoned")
    return make_archive(lesions, out, n_good=N_GOOD, n_poisoned=len(POISONS), faults=None, progress=iter)


@pytest.fixture(scope="module")
def scores(
    archive: Archive, toy_predictor: Predictor, names: Pseudonymizer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("scores") / "out"
    entries = FoundStudies(archive.root, rois=archive.rois).entries(unit="HU")
    score(entries, predictor=toy_predictor, out=out, pseudonymizer=names)
    return out


def test_every_poisoned_study_is_refused_for_its_own_fault_and_the_good_are_scored(
    archive: Archive, scores: Path, names: Pseudonymizer
) -> None:
    found = faults.judge(archive, {"here": Run(scores, [3])}, names)
    assert found["refused_otherwise"] == []
    assert found["refused_for_their_own_fault"] == {"n": len(POISONS), "of": len(POISONS)}
    assert found["all_good"]
    assert set(found["kinds"]) == set(POISONS)
    page = faults_page(found)
    assert f"| here | {N_GOOD} | {len(POISONS)} | 0 | 0 | 0 | 3 | none | equal |" in page


@pytest.mark.parametrize("damage", ["lost", "doubled", "torn", "changed", "exit code"])
def test_what_is_lost_doubled_torn_or_changed_is_found(
    archive: Archive, scores: Path, names: Pseudonymizer, tmp_path: Path, damage: str
) -> None:
    out = tmp_path / "out"
    shutil.copytree(scores, out)
    part, *_ = sorted((out / "predictions").glob("*.parquet"))
    table = pd.read_parquet(part)
    if damage == "lost":
        table.iloc[1:].to_parquet(part)
    elif damage == "doubled":
        table.head(1).to_parquet(part.with_name("part-00009.parquet"))
    elif damage == "torn":
        part.with_name(".part-00009.parquet.partial").write_bytes(b"PAR1")
    elif damage == "changed":
        table.assign(probability_malignancy=table["probability_malignancy"] + 1e-9).to_parquet(part)
    codes = [1] if damage == "exit code" else [3]
    runs = {"whole": Run(scores, [3]), "damaged": Run(out, codes, kills=Counter(worker=1))}
    found = faults.judge(archive, runs, names)
    assert found["runs"]["whole"]["all_good"]
    assert not found["runs"]["damaged"]["all_good"] and not found["all_good"]


def test_an_archive_is_used_again_and_mixed_the_same_way(archive: Archive, lesions: Manifest, tmp_path: Path) -> None:
    again = make_archive(lesions, tmp_path, n_good=N_GOOD, n_poisoned=len(POISONS), faults=None, progress=iter)
    assert again.poisoned == archive.poisoned
    kept = make_archive(lesions, tmp_path, n_good=1, n_poisoned=1, faults=None, progress=iter)
    assert (kept.n_good, kept.poisoned) == (N_GOOD, again.poisoned)


def test_studies_are_counted_while_they_are_written(scores: Path, tmp_path: Path) -> None:
    assert (n_done(scores), n_done(tmp_path)) == (N_GOOD + len(POISONS), 0)


def test_copies_of_a_series_are_studies_of_their_own(tmp_path: Path) -> None:
    archive, rois = write_archive(tmp_path, SMALL_SCAN, n_studies=3)
    index = index_archive(archive)
    assert index.refused.empty and index.series["is_volume"].all()
    assert index.series["study_uid"].nunique() == index.series["patient_id"].nunique() == 3
    assert set(pd.read_csv(rois)["study_uid"]) == set(index.series["study_uid"])
