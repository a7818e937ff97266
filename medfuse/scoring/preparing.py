"""A study -> its prepared cases, what cannot be prepared, and what is worth saying of it. Only its boxes are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from medfuse.data import Preprocessing
from medfuse.data.positions import WHOLE, Position, with_positions
from medfuse.data.preprocessing import lesion_text, lesion_volume
from medfuse.data.resampling import Sampling, plan_sampling
from medfuse.errors import DataError, MedfuseError, RetrievalError, VolumeError
from medfuse.io import read_study
from medfuse.io.voxel_notes import voxel_notes
from medfuse.scoring.flags import LOW_QUALITY, flags_of_doubts, laterality_doubt
from medfuse.scoring.rows import Refusal, unique_texts
from medfuse.scoring.work import GIVEN_NAMES, Work
from medfuse.tensors import Sample
from medfuse.types import Lesion, StoredVolume, Study, Volume

__all__ = ["PreparedStudy", "prepare_study"]

SMALL_VOXELS = 2**22
"""An image of so few voxels is read whole, so that what is wrong anywhere in it is told."""

LEAST_INSIDE = 0.5
"""Share of a box that must lie in the image."""

MAX_STEP = 8.0
"""Steps of the box that two voxels of the image may be apart."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedStudy:
    """What a study's answer is made from.

    Parameters
    ----------
    study_key : str
    samples : tuple of Sample
        One a case that can be asked for.
    refusals : tuple of (lesion_id, stage, error)
        Of all other cases.
    warnings : str
        What the readers noticed in images and texts, and what is against the answers.
    flags : mapping of str to tuple of str
        By lesion_id, beside those of the model's.
    """

    study_key: str
    samples: tuple[Sample, ...]
    refusals: tuple[Refusal, ...]
    warnings: str
    flags: dict[str, tuple[str, ...]]


def prepare_study(work: Work, *, preprocessing: Preprocessing, position: Position) -> PreparedStudy:
    """Read and prepare the cases of a study.

    Parameters
    ----------
    work : Work
    preprocessing : Preprocessing
        The model's own.
    position : {"require", "centre"}
        See `medfuse.data.positions.with_positions`.

    Returns
    -------
    PreparedStudy
        A study that cannot be read is one refusal of case ``whole``, or one a lesion where each has its own reason.
    """
    unread: list[tuple[str, MedfuseError]] = []
    try:
        stored = read_study(work.entry, pseudonymizer=GIVEN_NAMES, refusals=unread, whole=False)
    except DataError as error:
        stage = "retrieve" if isinstance(error, RetrievalError) else "read"
        refusals = tuple((lesion_id, stage, why) for lesion_id, why in unread or [(WHOLE, error)])
        return PreparedStudy(work.study_key, (), refusals, "", {})
    found: list[Refusal] = [(lesion_id, "read", error) for lesion_id, error in unread]
    samples: list[Sample] = []
    notes: list[str] = []
    flags: dict[str, tuple[str, ...]] = {}
    reads_image = "image" in preprocessing.modalities
    volumes = dict(stored.volumes)
    study = with_positions(replace(stored, volumes=volumes), position)
    for lesion in study.lesions:
        try:
            for key in (lesion.channels.values() or stored.volumes) if reads_image else ():
                volumes[key] = _at_hand(volumes[key])
            sample = preprocessing(study, lesion)
            doubts = _quality_doubts(study, lesion, sample, preprocessing)
        except VolumeError as error:
            found.append((lesion.lesion_id, "read", error))
        except DataError as error:
            found.append((lesion.lesion_id, "prepare", error))
        else:
            aside = _laterality_doubt(study, lesion, preprocessing)
            samples.append(sample)
            notes += [*doubts, *filter(None, [aside])]
            quality = (LOW_QUALITY,) if doubts else ()
            flags[lesion.lesion_id] = (*quality, *flags_of_doubts([*sample.doubts, aside]))
    return PreparedStudy(work.study_key, tuple(samples), tuple(found), _warnings(study, samples, notes), flags)


def _at_hand(volume: Volume | StoredVolume) -> Volume | StoredVolume:
    if isinstance(volume, Volume) or math.prod(volume.shape) > SMALL_VOXELS:
        return volume
    i, j, k = volume.shape
    voxels = volume.read((slice(0, i), slice(0, j), slice(0, k)))
    told = (volume.source, volume.modality, volume.body_part, volume.laterality)
    return Volume(voxels, volume.affine, volume.unit, volume.warnings + voxel_notes(voxels), *told)


def _warnings(study: Study, samples: Sequence[Sample], notes: Sequence[str]) -> str:
    of_images = {text for volume in study.volumes.values() for text in volume.warnings}
    reports = [report for report in (study.report, *(lesion.text for lesion in study.lesions)) if report is not None]
    of_reports = {f"report {text}" for report in reports for text in report.warnings}
    doubts = {doubt for sample in samples for doubt in sample.doubts}
    return unique_texts(sorted(of_images | of_reports | doubts | set(notes)))


def _laterality_doubt(study: Study, lesion: Lesion, preprocessing: Preprocessing) -> str:
    volume = lesion_volume(study, lesion, preprocessing.image.channels[0].source)
    text = lesion_text(study, lesion) if "text" in preprocessing.modalities else None
    return "" if volume is None or text is None else laterality_doubt(text.text, volume.laterality)


def _quality_doubts(study: Study, lesion: Lesion, sample: Sample, preprocessing: Preprocessing) -> list[str]:
    """Return why a case's image may be too poor for any answer."""
    volume = lesion_volume(study, lesion, preprocessing.image.channels[0].source)
    if sample.image is None or volume is None:
        return []
    doubts: list[str] = []
    if bool((sample.image.amax(dim=(1, 2, 3)) == sample.image.amin(dim=(1, 2, 3))).any()):
        doubts.append("the region shows one value alone: it is constant (blank)")
    if preprocessing.image.region == "whole":
        return doubts
    box = preprocessing.box_affine(study, lesion)
    inside = _share_inside(plan_sampling(volume.affine, volume.shape, box=box, size=preprocessing.image.size))
    if inside < LEAST_INSIDE:
        doubts.append(f"{1 - inside:.0%} of the region lies outside the image")
    step, wanted = float(np.linalg.norm(volume.affine[:3, :3], axis=0).max()), float(np.linalg.norm(box[:3, 0]))
    if step > MAX_STEP * wanted:
        doubts.append(f"voxels {step:.1f} mm apart, for a region sampled every {wanted:.2f} mm")
    return doubts


def _share_inside(plan: Sampling) -> float:
    """Return which share of a box lies in its image."""
    if plan.part is None:
        return 0.0
    if plan.order:
        return math.prod(float(axis.mean()) for axis in plan.inside)
    return float(np.logical_and.reduce(plan.inside).mean())
