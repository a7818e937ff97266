from __future__ import annotations

import numpy as np
import pytest

from medfuse.data.positions import WHOLE, with_positions
from medfuse.types import Lesion, ReportText, Study, Volume

AFFINE = np.array([[-0.7, 0, 0, 10.0], [0, -0.7, 0, 20.0], [0, 0, 2.5, -30.0], [0, 0, 0, 1]])


def study(*lesions: Lesion, image: bool = True) -> Study:
    volumes = {"image": Volume(np.zeros((11, 21, 5)), AFFINE)} if image else {}
    return Study("S1", "P1", volumes, ReportText("text"), lesions)


def test_centre_is_the_middle_voxel_in_ras() -> None:
    (lesion,) = with_positions(study(), "centre").lesions
    assert lesion.lesion_id == WHOLE and lesion.centre == pytest.approx((10 - 3.5, 20 - 7.0, -30 + 5.0))


def test_known_position_is_kept() -> None:
    known, unknown = with_positions(study(Lesion("1", (1.0, 2.0, 3.0)), Lesion("2")), "centre").lesions
    assert known.centre == (1.0, 2.0, 3.0) and unknown.centre == pytest.approx((6.5, 13.0, -25.0))


def test_require_invents_no_position() -> None:
    assert [one.centre for one in with_positions(study(Lesion("1")), "require").lesions] == [None]


def test_study_without_image_gets_no_position() -> None:
    assert [one.centre for one in with_positions(study(image=False), "centre").lesions] == [None]
