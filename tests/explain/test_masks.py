from dataclasses import replace
from pathlib import Path

import numpy as np

from medfuse.explain.masks import lesion_mask
from medfuse.inference import Predictor
from medfuse.io import Pseudonymizer, StudyEntry, read_study, write_nifti
from medfuse.types import Volume


def first_with_image(entries: list[StudyEntry]) -> StudyEntry:
    return next(entry for entry in entries if entry.images)


def test_a_mask_lies_on_the_grid_of_the_prepared_image(
    toy: object, toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    entry = first_with_image(toy.entries)  # type: ignore[attr-defined]
    study = read_study(entry, pseudonymizer=names)
    [lesion] = study.lesions
    assert lesion_mask(entry, study, lesion, preprocessing=toy_predictor.preprocessing) is None
    # Twice as fine as the image, elsewhere on its grid: a cube around the lesion's position.
    volume = next(iter(study.volumes.values()))
    affine = np.array(volume.affine)
    affine[:3, :3] /= 2
    voxels = np.zeros([2 * n for n in volume.shape], dtype=np.bool_)
    at = np.linalg.inv(affine) @ [*(lesion.centre or (0, 0, 0)), 1.0]
    low, high = np.rint(at[:3] - 4).astype(int), np.rint(at[:3] + 5).astype(int)
    voxels[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = True
    write_nifti(Volume(voxels, affine), tmp_path / "mask.nii.gz")
    marked = replace(entry, lesions=tuple(replace(one, mask=tmp_path / "mask.nii.gz") for one in entry.lesions))
    found = lesion_mask(marked, study, lesion, preprocessing=toy_predictor.preprocessing)
    assert found is not None and found.shape == toy_predictor.preprocessing.image.size
    assert np.abs(np.argwhere(found).mean(axis=0) - (np.array(found.shape) - 1) / 2).max() <= 0.5
    assert 4**3 <= found.sum() <= 5**3
