from __future__ import annotations

import pytest
from pydicom import uid

from medfuse.io.dicom_kinds import aside_reason, is_enhanced, is_volume_class

GREY = {"PhotometricInterpretation": "MONOCHROME2", "SamplesPerPixel": "1"}


@pytest.mark.parametrize(
    "name",
    [
        "CTImageStorage", "EnhancedCTImageStorage", "LegacyConvertedEnhancedCTImageStorage", "MRImageStorage",
        "EnhancedMRImageStorage", "LegacyConvertedEnhancedMRImageStorage", "PositronEmissionTomographyImageStorage",
        "EnhancedPETImageStorage", "LegacyConvertedEnhancedPETImageStorage", "XRay3DAngiographicImageStorage",
        "BreastTomosynthesisImageStorage",
    ],
)  # fmt: skip
def test_volume_classes_are_those_of_the_standard(name: str) -> None:
    sop_class = str(getattr(uid, name))
    assert is_volume_class(sop_class) and aside_reason(GREY | {"SOPClassUID": sop_class}) == ""
    assert is_enhanced({"SOPClassUID": sop_class}) == (name not in (
        "CTImageStorage", "MRImageStorage", "PositronEmissionTomographyImageStorage"
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ComputedRadiographyImageStorage", "a projection image"),
        ("DigitalXRayImageStorageForPresentation", "a projection image"),
        ("DigitalMammographyXRayImageStorageForProcessing", "a projection image"),
        ("XRayAngiographicImageStorage", "a projection image"),
        ("XRayRadiofluoroscopicImageStorage", "a projection image"),
        ("RTImageStorage", "a projection image"),
        ("UltrasoundMultiFrameImageStorage", "an ultrasound image"),
        ("NuclearMedicineImageStorage", "a nuclear medicine image"),
        ("RTDoseStorage", "a radiotherapy dose"),
        ("SegmentationStorage", "a segmentation"),
        ("ParametricMapStorage", "a parametric map"),
        ("SecondaryCaptureImageStorage", "a secondary capture"),
        ("MultiFrameGrayscaleWordSecondaryCaptureImageStorage", "a secondary capture"),
        ("VLWholeSlideMicroscopyImageStorage", "a photograph or microscopy"),
        ("OphthalmicTomographyImageStorage", "an image of another kind"),
    ],
)
def test_other_classes_are_set_aside_by_name(name: str, reason: str) -> None:
    assert aside_reason(GREY | {"SOPClassUID": str(getattr(uid, name)), "Modality": "XX"}) == f"{reason} (XX)"


def test_colour_is_named_whatever_the_class() -> None:
    palette = {"PhotometricInterpretation": "PALETTE COLOR", "SamplesPerPixel": "1", "Modality": "CT"}
    assert aside_reason(palette) == "a colour image (CT, PhotometricInterpretation PALETTE COLOR)"
    assert "PALETTE COLOR" in aside_reason(palette | {"SOPClassUID": str(uid.UltrasoundImageStorage)})
