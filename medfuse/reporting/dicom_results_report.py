"""What a model says of a case as a Comprehensive 3D SR: an imaging measurement report (TID 1500)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from medfuse import __version__
from medfuse.io import derived_uid
from medfuse.io.dicom_source import ImageReference
from medfuse.reporting.dicom_results_codes import (
    PRIVATE_SCHEME,
    Code,
    class_code,
    private,
    probability_code,
    procedure_code,
)
from medfuse.reporting.dicom_results_images import Contour
from medfuse.reporting.dicom_results_stamp import Stamp
from medfuse.types import Prediction

__all__ = ["RESEARCH_USE", "build_report"]

RESEARCH_USE = "Research use only. Not a medical device; not for diagnosis or treatment."

PERCENT, CUBIC_MM = Code("%", "UCUM", "Percent"), Code("mm3", "UCUM", "cubic millimeter")
VOLUME = Code("118565006", "SCT", "Volume")
VISUAL_EXPLANATION = Code("130401", "DCM", "Visual explanation")
COMMENT, DEVICE = Code("121106", "DCM", "Comment"), Code("121007", "DCM", "Device")
INTERVAL_LOW = Code("interval-low", PRIVATE_SCHEME, "Lower end of the interval of the probability")
INTERVAL_HIGH = Code("interval-high", PRIVATE_SCHEME, "Upper end of the interval of the probability")
THRESHOLD = Code("threshold", PRIVATE_SCHEME, "Threshold chosen on validation cases")
COVERAGE = Code("set-coverage", PRIVATE_SCHEME, "Share of sets promised to hold the true class")
SHARE = Code("share-of-peak", PRIVATE_SCHEME, "Share of the map's peak at the contour")
SPEAKS = Code("speaks", PRIVATE_SCHEME, "The map speaks")
CALLED = Code("class-called", PRIVATE_SCHEME, "Class called")
IN_SET = Code("in-set", PRIVATE_SCHEME, "Class in the prediction set")
NO_CLASS = Code("empty-set", PRIVATE_SCHEME, "None: the prediction set is empty")
CAUTION = Code("caution", PRIVATE_SCHEME, "Caution")
INPUT_USED = Code("input-used", PRIVATE_SCHEME, "Input used")


def build_report(
    stamp: Stamp,
    predictions: Sequence[Prediction],
    *,
    images: Sequence[ImageReference],
    contour: Contour | None = None,
    segmentation: Any = None,
    parametric_map: Any = None,
) -> Any:
    """Make the structured report of a case.

    Parameters
    ----------
    stamp : Stamp
    predictions : sequence of Prediction
        Of the case, one a target.
    images : sequence of ImageReference
        Of the source, that the answer is about.
    contour : Contour, optional
        What the segmentation holds.
    segmentation, parametric_map : highdicom.SOPClass, optional
        Of the case.

    Returns
    -------
    highdicom.sr.Comprehensive3DSR

    Notes
    -----
    One group a target holds probability, interval, threshold, prediction set and cautions. The region where the map
    is high has a group of its own, so that its volume cannot be read as that of the lesion.
    Source: DICOM PS3.16 TID 1500, 1501, 1411, 4019.
    """
    import highdicom as hd
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    groups = [_answer(stamp, prediction, images) for prediction in predictions]
    regions = []
    if segmentation is not None and contour is not None:
        regions = [_region(stamp, segmentation, number, images, contour) for number in range(len(contour.parts()))]
    if parametric_map is not None:
        shown = hd.sr.ImageContentItem(
            name=_coded(VISUAL_EXPLANATION),
            referenced_sop_class_uid=parametric_map.SOPClassUID,
            referenced_sop_instance_uid=parametric_map.SOPInstanceUID,
            relationship_type=hd.sr.RelationshipTypeValues.CONTAINS,
        )
        # Of the first region if there is one, else of the answer that the map explains. Source: TID 1411, row 4b.
        (regions or groups)[0][0].ContentSequence.append(shown)
    content = hd.sr.MeasurementReport(
        observation_context=_observer(stamp),
        procedure_reported=_coded(procedure_code(stamp.source.modality)),
        imaging_measurements=groups + regions,
    )
    content[0].ContentSequence.append(
        hd.sr.TextContentItem(
            name=_coded(COMMENT), value=RESEARCH_USE, relationship_type=hd.sr.RelationshipTypeValues.CONTAINS
        )
    )
    report = hd.sr.Comprehensive3DSR(
        evidence=[*stamp.source.evidence(), *(o for o in (segmentation, parametric_map) if o is not None)],
        content=content,
        is_complete=True,
        is_final=False,
        is_verified=False,
        coding_schemes=[
            CodingSchemeIdentificationItem(
                designator=PRIVATE_SCHEME, name="medfuse's own codes", responsible_organization="medfuse"
            )
        ],
        **stamp.general("sr"),
    )
    stamp.finish(report)
    return report


def _answer(stamp: Stamp, prediction: Prediction, images: Sequence[ImageReference]) -> Any:
    """Return the group of one target."""
    import highdicom as hd

    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(stamp),
        finding_type=_coded(private("target", prediction.target, prediction.target)),
        algorithm_id=_algorithm(stamp, ""),
        measurements=[_measured(*row) for row in _numbers(prediction)],
        qualitative_evaluations=[
            hd.sr.QualitativeEvaluation(_coded(name), _coded(value)) for name, value in _evaluations(prediction)
        ],
        source_images=[
            hd.sr.SourceImageForMeasurementGroup(class_uid, instance_uid, list(frames) or None)
            for class_uid, instance_uid, frames in images
        ],
    )


def _numbers(prediction: Prediction) -> Iterable[tuple[Code, float, Code, Code | None]]:
    """Yield name, value, unit and method of each number: of a binary target of its positive class."""
    condition, target = prediction.condition, prediction.target
    rows = list(
        zip(
            prediction.classes,
            prediction.probabilities[condition],
            prediction.intervals.get(condition, [None] * len(prediction.classes)),
            strict=True,
        )
    )
    is_binary, kind = len(rows) == 2, prediction.interval_kind
    method = private("interval", kind, kind) if kind else None
    for name, probability, interval in rows[1:] if is_binary else rows:
        yield probability_code(target, name), _percent(probability), PERCENT, None
        if interval is not None:
            for code, value in zip((INTERVAL_LOW, INTERVAL_HIGH), interval, strict=True):
                own = code if is_binary else private(code.value, f"{target} {name}", f"{code.meaning}: {name}")
                yield own, _percent(value), PERCENT, method
    if is_binary:
        yield THRESHOLD, _percent(prediction.threshold), PERCENT, None
    if prediction.prediction_set is not None:
        yield COVERAGE, _percent(prediction.set_level), PERCENT, None


def _evaluations(prediction: Prediction) -> Iterable[tuple[Code, Code]]:
    probabilities = prediction.probabilities[prediction.condition]
    if len(probabilities) == 2:
        called = prediction.classes[int(probabilities[1] >= prediction.threshold)]
    else:
        called = prediction.classes[int(np.argmax(probabilities))]
    yield CALLED, class_code(prediction.target, called)
    if prediction.prediction_set is not None:
        for name in prediction.prediction_set:
            yield IN_SET, class_code(prediction.target, name)
        if not prediction.prediction_set:
            yield IN_SET, NO_CLASS
    for flag in prediction.flags:
        yield CAUTION, private("caution", flag, flag)
    for modality in prediction.modalities_used:
        yield INPUT_USED, private("input", modality, modality)


def _region(stamp: Stamp, segmentation: Any, index: int, images: Sequence[ImageReference], contour: Contour) -> Any:
    """Return the group of a region where the map is high."""
    import highdicom as hd

    # highdicom's ReferencedSegment.from_segmentation fails on a segmentation of one segment.
    segment = hd.sr.ReferencedSegment(
        segmentation.SOPClassUID,
        segmentation.SOPInstanceUID,
        index + 1,
        source_images=[
            hd.sr.SourceImageForSegmentation(class_uid, instance_uid, list(frames) or None)
            for class_uid, instance_uid, frames in images
        ],
    )
    label = contour.parts()[index]
    voxel_mm3 = abs(float(np.linalg.det(contour.labels.affine[:3, :3])))
    volume_mm3 = float(np.count_nonzero(contour.labels.voxels == label)) * voxel_mm3
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(stamp),
        referenced_segment=segment,
        finding_type=_coded(VISUAL_EXPLANATION),
        algorithm_id=_algorithm(stamp, contour.method),
        measurements=[
            _measured(VOLUME, round(volume_mm3, 3), CUBIC_MM),
            _measured(SHARE, _percent(contour.share), PERCENT),
        ],
        qualitative_evaluations=[
            hd.sr.QualitativeEvaluation(_coded(SPEAKS), _coded(private("speaks", str(label), contour.side(label))))
        ],
    )


def _observer(stamp: Stamp) -> Any:
    import highdicom as hd

    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=derived_uid("device", "medfuse", stamp.model_id),
        name="medfuse",
        manufacturer_name="medfuse",
        model_name=f"model {stamp.model_id}"[:64],
    )
    context = hd.sr.ObserverContext(observer_type=_coded(DEVICE), observer_identifying_attributes=device)
    return hd.sr.ObservationContext(observer_device_context=context)


def _tracking(stamp: Stamp) -> Any:
    import highdicom as hd

    return hd.sr.TrackingIdentifier(uid=stamp.tracking_uid(), identifier=f"lesion {stamp.case.lesion_id}")


def _algorithm(stamp: Stamp, method: str) -> Any:
    import highdicom as hd

    parameters = [f"model {stamp.model_id}", *([f"map by {method}"] if method else [])]
    return hd.sr.AlgorithmIdentification(name="medfuse", version=__version__, parameters=parameters)


def _measured(name: Code, value: float, unit: Code, method: Code | None = None) -> Any:
    import highdicom as hd

    how = None if method is None else _coded(method)
    return hd.sr.Measurement(name=_coded(name), value=value, unit=_coded(unit), method=how)


def _percent(share: float) -> float:
    return round(100 * float(share), 4)


def _coded(code: Code) -> Any:
    import highdicom as hd

    return hd.sr.CodedConcept(*code)
