"""Which series shows which lesion, from a folder of DICOM to the study that is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medfuse.config import SeriesRule
from medfuse.errors import AmbiguousVolumeError, DataError, VolumeError
from medfuse.io import Pseudonymizer, find_studies, index_archive, read_study
from medfuse.types import Study, Volume

NAMES = Pseudonymizer(bytes(32))
MASK = np.zeros((7, 6, 5), dtype=bool)
MASK[2:5, 1:4, 1:4] = True
Write = Callable[..., list[Path]]


@pytest.fixture
def study(tmp_path: Path, write_series: Write, change: Callable[..., None]) -> Path:
    """One study with a thin soft and a thick sharp CT."""
    for path in write_series(tmp_path / "study" / "thin", series=1):
        change(path, SliceThickness="1", ConvolutionKernel="B30f")
    for path in write_series(tmp_path / "study" / "thick", series=2):
        change(path, SliceThickness="5", ConvolutionKernel="B70f")
    return tmp_path / "study"


def read(folder: Path, **rule: object) -> Study:
    entries, _ = find_studies(folder, rule=SeriesRule(**rule))
    (entry,) = entries
    return read_study(entry, pseudonymizer=NAMES)


@pytest.mark.parametrize("rule", [{"prefer": "thinnest"}, {"kernels": ("b30f",)}, {"thickness_mm": (0.5, 2.0)}])
def test_rule_chooses_the_image_of_a_study(study: Path, volume: Volume, rule: dict[str, object]) -> None:
    found = read(study, **rule)
    assert list(found.volumes) == ["image"] and np.array_equal(found.volumes["image"].voxels, volume.voxels)
    entry = index_archive(study).entries(rule=SeriesRule(**rule))[0]
    assert [path.parent.name for path in entry.images["image"].paths()] == ["thin"] * 5


def test_several_series_are_refused_without_a_rule_and_if_none_fits(study: Path) -> None:
    with pytest.raises(AmbiguousVolumeError, match="CT 1 mm kernel B30f 5 images; CT 5 mm kernel B70f 5 images"):
        read(study)
    with pytest.raises(VolumeError, match="no series that the model's rule allows"):
        read(study, modality="MR")


def test_seg_of_a_study_gives_its_lesions_on_the_series_it_names(
    study: Path, write_seg: Callable[..., Path], volume: Volume
) -> None:
    write_seg(study / "seg.dcm", [MASK, MASK], affine=volume.affine, series="2.25.12")
    found = read(study)
    assert [lesion.lesion_id for lesion in found.lesions] == ["1", "2"]
    centre = (volume.affine @ [3, 2, 2, 1])[:3]
    assert found.lesions[0].centre == pytest.approx(centre.tolist()) and found.lesions[0].diameter_mm is not None
    assert list(found.volumes) == [found.lesions[0].channels["image"]]
    index = index_archive(study)
    assert index.refused.empty and len(index.series) == 2 and index.n_ignored == 0


def test_rtstruct_of_a_study_gives_its_lesions(
    study: Path, write_rtstruct: Callable[..., Path], volume: Volume
) -> None:
    point = (np.diag([-1, -1, 1, 1]) @ volume.affine @ [3, 2, 2, 1])[:3]
    write_rtstruct(study / "rs.dcm", [[("POINT", [point])]])
    assert read(study).lesions[0].centre == pytest.approx((volume.affine @ [3, 2, 2, 1])[:3].tolist())


def test_rois_win_over_a_seg(study: Path, write_seg: Callable[..., Path], volume: Volume, tmp_path: Path) -> None:
    write_seg(study / "seg.dcm", [MASK], affine=volume.affine)
    x, y, z = (volume.affine @ [1, 1, 1, 1])[:3]
    (tmp_path / "rois.csv").write_text(f"series_uid,lesion_id,x_mm,y_mm,z_mm\n2.25.12,a,{x},{y},{z}\n")
    entries, _ = find_studies(study, rois=tmp_path / "rois.csv")
    assert [lesion.lesion_id for lesion in read_study(entries[0], pseudonymizer=NAMES).lesions] == ["a"]


def test_seg_of_another_space_or_a_broken_one_is_refused_by_name(
    study: Path, write_seg: Callable[..., Path], volume: Volume, change: Callable[..., None]
) -> None:
    path = write_seg(study / "seg.dcm", [MASK], affine=volume.affine)
    change(path, FrameOfReferenceUID="2.25.404")
    refusals: list[tuple[str, object]] = []
    (entry,) = index_archive(study).entries()
    with pytest.raises(DataError, match="found no lesion that can be read"):
        read_study(entry, pseudonymizer=NAMES, refusals=refusals)
    assert [lesion_id for lesion_id, _ in refusals] == ["1"] and "FrameOfReferenceUID" in str(refusals[0][1])


def test_seg_of_organs_leaves_the_study_to_the_rule(
    study: Path, write_seg: Callable[..., Path], volume: Volume
) -> None:
    write_seg(study / "seg.dcm", [MASK], affine=volume.affine, categories=["123037004"])
    with pytest.raises(AmbiguousVolumeError):
        read(study)
    assert "image" in read(study, prefer="thinnest").volumes


def test_time_point_of_a_4d_series_is_chosen_by_the_rule(
    tmp_path: Path, write_series: Write, change: Callable[..., None]
) -> None:
    for phase in (1, 2, 3):
        for number, path in enumerate(write_series(tmp_path / "study" / str(phase))):
            uid = f"2.25.{phase}000{number}"
            change(path, TemporalPositionIdentifier=phase, SOPInstanceUID=uid, RescaleIntercept=phase)
    with pytest.raises(VolumeError, match="3 volumes in one series"):
        read(tmp_path / "study")
    values = {which: read(tmp_path / "study", time_point=which).volumes["image"].voxels for which in ("first", "last")}
    assert np.array_equal(values["last"] - values["first"], np.full((7, 6, 5), 2))


def test_entry_can_be_sent_to_a_worker(study: Path, write_seg: Callable[..., Path], volume: Volume) -> None:
    import pickle

    write_seg(study / "seg.dcm", [MASK], affine=volume.affine)
    (entry,) = index_archive(study).entries()
    sent = pickle.loads(pickle.dumps(entry))
    assert len(read_study(sent, pseudonymizer=NAMES).lesions) == 1
    assert "2.25" not in repr(entry)
