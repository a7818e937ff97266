from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medfuse.cohorts import LidcOptions, Nodule, build_cohort, export_archive
from medfuse.cohorts import lidc as lidc_module
from medfuse.io import find_studies, load_pseudonymizer, read_manifest, read_study


@pytest.fixture(scope="module")
def few(lidc_nodules: list[Nodule]) -> list[Nodule]:
    """Two scans with several nodules and a few more, one of them unlabelled."""
    chosen = [n for n in lidc_nodules if n.scan.patient_id in {"LIDC-IDRI-0003", "LIDC-IDRI-0005"}]
    return [*chosen, *[n for n in lidc_nodules[40:60] if n.label is None][:1]]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory, few: list[Nodule]) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    patch = pytest.MonkeyPatch()
    patch.setattr(lidc_module, "load_nodules", lambda **options: few)
    build_cohort(folder)
    patch.undo()
    return folder


@pytest.fixture(autouse=True)
def own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDFUSE_CONFIG_DIR", str(tmp_path / "config"))


def test_manifest_has_a_row_a_nodule_and_passes_its_own_check(cohort: Path, few: list[Nodule]) -> None:
    manifest = read_manifest(cohort / "manifest.csv")
    assert len(manifest.frame) == len(few)
    assert set(manifest.frame["label_malignancy"]) <= {"positive", "negative", ""}
    assert (manifest.frame["label_malignancy"] == "").sum() == sum(n.label is None for n in few)


def test_malignancy_score_is_in_no_column_and_in_no_report(cohort: Path) -> None:
    frame = pd.read_csv(cohort / "manifest.csv")
    assert not [c for c in frame.columns if "malignancy" in c and c != "label_malignancy"]
    for path in cohort.rglob("*.txt"):
        assert "malignan" not in path.read_text().lower()


def test_source_says_what_is_real_and_what_is_made(cohort: Path) -> None:
    source = (cohort / "SOURCE.md").read_text()
    assert (
        "Real: the contours" in source and "Made: the grey values and the wording" in source and "CC BY 3.0" in source
    )


def test_second_build_with_equal_options_writes_nothing(
    cohort: Path, few: list[Nodule], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lidc_module, "load_nodules", lambda **options: few)
    before = {p: p.stat().st_mtime_ns for p in cohort.rglob("*") if p.is_file()}
    build_cohort(cohort)
    assert {p: p.stat().st_mtime_ns for p in cohort.rglob("*") if p.is_file()} == before


def test_other_options_build_anew(tmp_path: Path, few: list[Nodule], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lidc_module, "load_nodules", lambda **options: few[:1])
    build_cohort(tmp_path)
    kept = (tmp_path / "manifest.csv").read_text()
    build_cohort(tmp_path, options=LidcOptions(image="mask", size="normalise"))
    changed = (tmp_path / "manifest.csv").read_text()
    assert "HU" in kept and "arbitrary" in changed


def test_archive_holds_the_same_voxels_in_the_same_place(cohort: Path, tmp_path: Path) -> None:
    manifest = read_manifest(cohort / "manifest.csv")
    fold = int(manifest.frame["fold"].iloc[0])
    archive, rois = export_archive(manifest, tmp_path / "out", fold=fold)
    names = load_pseudonymizer()
    entries, refused = find_studies(archive, rois=rois)
    assert refused.empty
    direct = {names.study(e.study_uid): e for e in manifest.entries()}
    compared = 0
    for entry in entries:
        of_archive = read_study(entry, pseudonymizer=names)
        of_manifest = read_study(direct[of_archive.study_key], pseudonymizer=names)
        texts = {lesion.lesion_id: lesion.text for lesion in of_manifest.lesions}
        for lesion in of_archive.lesions:
            twin = next(one for one in of_manifest.lesions if one.lesion_id == lesion.lesion_id)
            a = of_archive.volumes[lesion.channels.get("image", "image")]
            b = of_manifest.volumes[twin.channels.get("image", "image")]
            to_b = np.linalg.inv(b.affine) @ a.affine
            corner = np.rint(to_b @ [0, 0, 0, 1])[:3].astype(int)
            np.testing.assert_allclose(to_b @ [0, 0, 0, 1], [*corner, 1], atol=1e-4)
            assert a.voxels[0, 0, 0] == b.voxels[tuple(corner)]
            assert sorted(a.voxels.ravel().tolist()) == sorted(b.voxels.ravel().tolist())
            assert lesion.centre == pytest.approx(twin.centre, abs=1e-3)
            text = texts[lesion.lesion_id]
            assert lesion.text is not None and text is not None and lesion.text.text == text.text
            compared += 1
    assert compared == (manifest.frame["fold"] == str(fold)).sum()


def test_finished_archive_is_left_as_it_is(cohort: Path, tmp_path: Path) -> None:
    manifest = read_manifest(cohort / "manifest.csv")
    fold = int(manifest.frame["fold"].iloc[0])
    archive, _ = export_archive(manifest, tmp_path, fold=fold)
    victim = next(archive.rglob("*.dcm"))
    victim.unlink()
    export_archive(manifest, tmp_path, fold=fold)
    assert not victim.exists()
