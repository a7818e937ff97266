from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from medfuse.config import CacheConfig, ChannelConfig, ImageConfig, TextConfig
from medfuse.data import BoxStore, CaseSet, Filled, Preparer, Preprocessing, StoredBox, fill_store, load_cases, prepared
from medfuse.data.resampling import box_affine
from medfuse.data.source_parts import digest_of, read_part
from medfuse.errors import UsageError
from medfuse.io import Pseudonymizer, SeriesIdentity, read_manifest, read_study, write_dicom_series, write_nifti
from medfuse.types import Study, Target, Volume

NAMES = Pseudonymizer(bytes(32))
MALIGNANCY = Target("malignancy", "binary", ("negative", "positive"))
PREPARE = Preprocessing(ImageConfig(size=(6, 5, 4), spacing_mm=1.2), TextConfig(), "HU", ("image",))
N_STUDIES = 4


def volume(seed: int) -> Volume:
    voxels = np.random.default_rng(seed).integers(-1000, 400, (16, 14, 12)).astype(np.int16)
    affine = np.diag([-0.8, -0.9, 1.3, 1.0])
    affine[:3, 3] = (12.0, 20.0, -30.0)
    return Volume(voxels, affine, "HU")


def identity(number: int) -> SeriesIdentity:
    return SeriesIdentity(f"SMITH-{number}", f"2.25.1{number}", f"2.25.2{number}", f"2.25.3{number}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Studies of two lesions each: two in NIfTI, two in DICOM."""
    rows = []
    for number in range(N_STUDIES):
        name = f"SMITH{number}" + (".nii.gz" if number % 2 else "")
        if number % 2:
            write_nifti(volume(number), tmp_path / name)
        else:
            write_dicom_series(volume(number), tmp_path / name, identity=identity(number))
        for lesion in (1, 2):
            x, y, z = (volume(number).affine @ [5 + lesion, 6, 3 * lesion, 1])[:3]
            rows.append(
                {
                    "patient_id": f"SMITH-{number}",
                    "study_uid": f"2.25.1{number}",
                    "lesion_id": lesion,
                    "image_path": name,
                    "report_text": f"Nodule {number}.",
                    "roi_x_mm": x,
                    "roi_y_mm": y,
                    "roi_z_mm": z,
                    "label_malignancy": MALIGNANCY.classes[lesion - 1],
                }
            )
    pd.DataFrame(rows).to_csv(tmp_path / "manifest.csv", index=False)
    return tmp_path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BoxStore]:
    with BoxStore(tmp_path / "boxes", max_bytes=10**6) as opened:
        yield opened


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Studies whose sources were opened."""
    found: list[str] = []
    real = prepared.read_study

    def noted(entry, **options):
        found.append(entry.study_uid)
        return real(entry, **options)

    monkeypatch.setattr(prepared, "read_study", noted)
    return found


def load(folder: Path, store: BoxStore | None, preprocessing: Preprocessing = PREPARE) -> CaseSet:
    preparer = Preparer(preprocessing, NAMES, store)
    return load_cases(read_manifest(folder / "manifest.csv"), preparer=preparer, targets=[MALIGNANCY])


def whole_studies(folder: Path) -> list[Study]:
    return [
        read_study(entry, pseudonymizer=NAMES) for entry in read_manifest(folder / "manifest.csv").entries(unit="HU")
    ]


@pytest.mark.parametrize(
    "image",
    [
        ImageConfig(size=(6, 5, 4), spacing_mm=1.2),
        ImageConfig(region="whole", size=(5, 5, 5), spacing_mm=None),
        ImageConfig(size=(4, 4, 4), channels=(ChannelConfig(intensity="lung"), ChannelConfig(intensity="zscore"))),
    ],
    ids=["lesion", "whole", "channels"],
)
def test_image_is_the_same_to_the_bit_from_the_store_a_part_or_the_whole(
    folder: Path, store: BoxStore, image: ImageConfig
) -> None:
    preprocessing = replace(PREPARE, image=image)
    scored = {
        (study.study_key, lesion.lesion_id): preprocessing(study, lesion).image
        for study in whole_studies(folder)
        for lesion in study.lesions
    }
    cold, warm, without = (load(folder, kept, preprocessing).cases for kept in (store, store, None))
    assert len(scored) == 2 * N_STUDIES == len(cold)
    for cases in (cold, warm, without):
        for case in cases:
            assert torch.equal(case.image, scored[case.id.study_key, case.id.lesion_id])
    assert all(isinstance(case.prepared.box, StoredBox) for case in (*cold, *warm))


def test_second_run_opens_no_source(folder: Path, store: BoxStore, opened: list[str]) -> None:
    first = load(folder, store)
    assert len(opened) == N_STUDIES  # once a study, whatever its lesions
    again = load(folder, store)
    assert len(opened) == N_STUDIES
    assert store.n_added == 2 * N_STUDIES
    assert [case.prepared.facts for case in again.cases] == [case.prepared.facts for case in first.cases]
    assert [case.text for case in again.cases] == [case.text for case in first.cases]


def test_other_texts_labels_and_folds_make_no_image_anew(folder: Path, store: BoxStore, opened: list[str]) -> None:
    load(folder, store)
    opened.clear()
    frame = pd.read_csv(folder / "manifest.csv")
    frame["report_text"], frame["fold"], frame["label_malignancy"] = "A cough.", 3, "positive"
    frame.to_csv(folder / "manifest.csv", index=False)
    other = replace(PREPARE, text=TextConfig(max_length=64), modalities=("image", "text"))
    cases = load(folder, store, other).cases
    assert cases[0].text.text == "A cough."
    assert not opened


@pytest.mark.parametrize(
    "image",
    [
        PREPARE.image.model_copy(update={"spacing_mm": 1.25}),
        PREPARE.image.model_copy(update={"size": (6, 5, 5)}),
        PREPARE.image.model_copy(update={"region": "whole"}),
        PREPARE.image.model_copy(update={"channels": (ChannelConfig(intensity="bone"),)}),
    ],
)
def test_any_other_image_option_makes_another_image_and_leaves_the_first(
    folder: Path, store: BoxStore, image: ImageConfig
) -> None:
    load(folder, store)
    load(folder, store, replace(PREPARE, image=image))
    assert store.n_added == (3 if image.region == "whole" else 4) * N_STUDIES
    load(folder, store)
    assert store.n_added == (3 if image.region == "whole" else 4) * N_STUDIES


def test_other_bytes_in_a_source_make_its_image_anew(folder: Path, store: BoxStore) -> None:
    before = {case.id: case.image for case in load(folder, store).cases}
    path = folder / "SMITH1.nii.gz"
    times = path.stat()
    changed = volume(1)
    write_nifti(replace(changed, voxels=changed.voxels + np.int16(50)), path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # even if its date says nothing of it
    cases = load(folder, store).cases
    differing = {case.id.study_key for case in cases if not torch.equal(case.image, before[case.id])}
    assert differing == {NAMES.study("2.25.11")}


def test_source_that_was_moved_or_touched_is_read_and_found_to_be_known(
    folder: Path, store: BoxStore, opened: list[str]
) -> None:
    load(folder, store)
    (folder / "SMITH0").rename(folder / "MOVED")
    (folder / "SMITH1.nii.gz").touch()
    text = (folder / "manifest.csv").read_text().replace("SMITH0,", "MOVED,")
    (folder / "manifest.csv").write_text(text)
    opened.clear()
    load(folder, store)
    assert opened == ["2.25.10", "2.25.11"]
    assert store.n_added == 2 * N_STUDIES


def test_moved_lesion_is_another_image(folder: Path, store: BoxStore) -> None:
    load(folder, store)
    frame = pd.read_csv(folder / "manifest.csv")
    frame.loc[0, "roi_x_mm"] += 0.5
    frame.to_csv(folder / "manifest.csv", index=False)
    load(folder, store)
    assert store.n_added == 2 * N_STUDIES + 1


def test_damaged_box_is_made_again_with_its_very_values(folder: Path, store: BoxStore) -> None:
    before = [case.image for case in load(folder, store).cases]
    (pack,) = store.folder.glob("*.pack")
    data = bytearray(pack.read_bytes())
    data[7] ^= 255
    pack.write_bytes(data)
    after = load(folder, store).cases
    assert store.n_added == 2 * N_STUDIES + 1
    assert all(torch.equal(case.image, image) for case, image in zip(after, before, strict=True))


def test_nothing_of_a_patient_is_in_the_store(folder: Path, store: BoxStore) -> None:
    load(folder, store)
    kept = b"".join(path.read_bytes() for path in store.folder.iterdir() if path.suffix != ".pack")
    names = " ".join(path.name for path in store.folder.iterdir())
    for secret in ("SMITH", "2.25.1", "Nodule", NAMES.study("2.25.10"), str(folder)):
        assert secret.encode() not in kept
        assert secret not in names


def test_data_set_above_the_limit_is_refused_before_anything_is_read(folder: Path, opened: list[str]) -> None:
    with BoxStore(folder / "small", max_bytes=1000) as store, pytest.raises(UsageError, match=r"data\.cache\.max_gb"):
        load(folder, store)
    assert not opened


def fill(folder: Path, *, workers: int = 1, max_gb: float = 0.01, size: int = 6) -> Filled:
    return fill_store(
        read_manifest(folder / "manifest.csv"),
        preprocessing=replace(PREPARE, image=ImageConfig(size=(size, 5, 4), spacing_mm=1.2)),
        cache=CacheConfig(folder=str(folder / "kept"), max_gb=max_gb),
        pseudonymizer=NAMES,
        workers=workers,
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_filled_store_leaves_a_training_nothing_to_prepare(folder: Path, workers: int, opened: list[str]) -> None:
    done = fill(folder, workers=workers)
    assert (done.n_made, done.n_known, done.refused) == (2 * N_STUDIES, 0, ())
    opened.clear()
    with BoxStore(folder / "kept" / "boxes", max_bytes=10**7) as store:
        assert len(load(folder, store).cases) == 2 * N_STUDIES
    assert not opened
    again = fill(folder)
    assert (again.n_made, again.n_known) == (0, 2 * N_STUDIES)


def test_bad_studies_are_refused_by_pseudonym_and_the_others_are_filled(folder: Path) -> None:
    (folder / "SMITH1.nii.gz").write_bytes(b"SMITH")
    frame = pd.read_csv(folder / "manifest.csv")
    frame.loc[0, "roi_x_mm"] = 999.0
    frame.to_csv(folder / "manifest.csv", index=False)
    done = fill(folder)
    assert done.n_made == 2 * N_STUDIES - 3
    refused = {(key, lesion) for key, lesion, _ in done.refused}
    bad, outside = NAMES.study("2.25.11"), NAMES.study("2.25.10")
    assert refused == {(bad, "1"), (bad, "2"), (outside, "1")}
    assert "SMITH" not in str(done.refused)


def test_cache_that_is_switched_off_cannot_be_filled(folder: Path) -> None:
    with pytest.raises(UsageError, match="max_gb: found 0"):
        fill(folder, max_gb=0.0)


def test_digest_names_all_that_values_depend_on() -> None:
    rng = np.random.default_rng(0)
    voxels = rng.integers(0, 100, (9, 9, 9)).astype(np.int16)
    channel, turned = ChannelConfig(), np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])

    def digest(values=voxels, affine=np.eye(4), at=3.0, size=(3, 3, 3), channel=channel) -> bytes:  # noqa: B008
        box = box_affine((at, 4.0, 4.0), size=size, spacing_mm=1.1)
        return digest_of([read_part(Volume(values, affine), channel, box=box, size=size)])

    changed = voxels.copy()
    changed[3, 4, 4] += 1
    unused = voxels.copy()
    unused[8, 8, 8] += 1
    others = [
        digest(changed),
        digest(voxels.astype(np.float32)),
        digest(affine=turned),
        digest(at=3.01),
        digest(size=(3, 3, 2)),
        digest(channel=ChannelConfig(intensity="bone")),
        digest(at=-9.0),
    ]
    assert len({digest(), *others}) == 8
    assert digest(unused) == digest() == digest(np.asfortranarray(voxels))
