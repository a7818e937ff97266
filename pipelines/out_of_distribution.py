"""How surely images that a model of real CT was not made for are told from those that it was, by their pixels alone.

Run it by ``make out-of-distribution``. Five folds by patient of 134 cubes of chest CT: each cube is held out once, its
model's limit is set on validation patients. Held out against: MR and head CT, both real; the cubes inverted; noise.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from medfuse.cohorts.lidc_patches import Patch, read_patches
from medfuse.config import RunConfig, load_config
from medfuse.data import Case, to_samples
from medfuse.errors import MedfuseError
from medfuse.evaluation import auroc, sensitivity, specificity
from medfuse.inference import Bundle, NoveltyLimit, Predictor, embed_samples, fit_novelty
from medfuse.io import Manifest, read_manifest, read_volumes, write_nifti
from medfuse.progress import bar, start_logging
from medfuse.splits import fold_of
from medfuse.tensors import Sample
from medfuse.training import config_digest, fit, read_cases, run_versions, split_cases
from medfuse.training.folds import in_folds
from medfuse.types import Lesion, Study, Volume

log = logging.getLogger("medfuse")

CONFIG = Path("configs/lidc.yaml")
COMMAND = "make out-of-distribution"
OVERRIDES = (
    "name=out of distribution",
    "model.modalities=[image]",
    "attributes=[]",
    "baselines=[]",
    "data.validation_fraction=0.3",  # 19 patients are the least that allow a promise of 5 %
)
N_FOLDS = 5
SMALLEST_EXTENT_MM = 16.0
"""A thinner volume is told by the emptiness around it."""
POSITIONS = 12
CT_HU = (-1000.0, 400.0)
HELD_OUT = "chest CT held out"
AIM_AREA, AIM_ALARMS = 0.95, 0.05

Score = Callable[[Sample], float]


def main(argv: Sequence[str] | None = None) -> int:
    """Compute the record.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--cubes``, ``--dicom``, ``--out``, ``--work`` and ``--set KEY=VALUE``.

    Returns
    -------
    int
        0 if all was computed and the aims are met, else 1.
    """
    parser = argparse.ArgumentParser(prog="out_of_distribution", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cubes", type=Path, default=Path("../shared/data/lidc_ct_patches_134"))
    parser.add_argument("--dicom", type=Path, default=Path("../shared/data/dicom"))
    parser.add_argument("--out", type=Path, default=Path("reports/out_of_distribution"))
    parser.add_argument("--work", type=Path, default=Path("runs/out_of_distribution"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(argv)
    start_logging()
    started = time.monotonic()
    try:
        place = f"data.manifest={(options.work / 'manifest.csv').as_posix()}"
        config = load_config(CONFIG, overrides=[*OVERRIDES, place, *options.set])
        patches = read_patches(options.cubes)
        manifest = write_cohort(options.work, patches, options.cubes / "labels.csv")
        table, limits = score_all(config, manifest, patches, read_foreign(options.dicom))
        write(options.out, table, limits, config, data_digest=manifest.digest)
    except MedfuseError as error:
        log.error("error: %s", error)
        return 1
    found = figures_of(table)["statistics"]
    log.info("wrote %s in %.1f minutes", options.out, (time.monotonic() - started) / 60)
    return int(not is_reached(found))


def write_cohort(work: Path, patches: Sequence[Patch], labels: Path) -> Manifest:
    """Write the cubes as a cohort; its label, one reader's, only gives the model something to learn."""
    with labels.open(newline="", encoding="utf-8") as file:
        scores = {row["Filename"]: int(row["malignancy"]) for row in csv.DictReader(file)}
    work.mkdir(parents=True, exist_ok=True)
    rows = []
    for patch in patches:
        write_nifti(volume_of(patch.hu), work / f"{patch.name}.nii")
        rows.append(
            {
                "patient_id": patient_of(patch),
                "study_uid": patch.name,
                "lesion_id": "1",
                "image_path": f"{patch.name}.nii",
                **{f"roi_{axis}_mm": 0.0 for axis in "xyz"},
                "modality": "CT",
                "unit": "HU",
                "fold": fold_of(patient_of(patch), n_folds=N_FOLDS),
                "label_malignancy": "positive" if scores[patch.name] > 3 else "negative",
            }
        )
    pd.DataFrame(rows).to_csv(work / "manifest.csv", index=False)
    return read_manifest(work / "manifest.csv")


def patient_of(patch: Patch) -> str:
    """Return the number of the file that a cube came in: one a patient."""
    return patch.name.split("_")[0]


def volume_of(values: Any) -> Volume:
    """Return values of 1 mm voxels as a CT with 0, 0, 0 in its middle."""
    affine = np.eye(4)
    affine[:3, 3] = -(np.array(values.shape) - 1) / 2
    return Volume(np.asarray(values, dtype=np.float32), affine, "HU", modality="CT")


def score_all(
    config: RunConfig, manifest: Manifest, patches: Sequence[Patch], foreign: Sequence[tuple[str, str, Study]]
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Train a model a fold and score all that is new to it: a row an image and way of scoring."""
    _, loaded = read_cases(config, manifest=manifest.path)
    cases = in_folds(config, loaded.cases)
    rows: list[dict[str, object]] = []
    limits: list[dict[str, Any]] = []
    for fold in bar("folds")(range(N_FOLDS)):
        data = config.data.model_copy(update={"test_fold": fold})
        parts = split_cases(cases, data, seed=config.seed)
        bundle = fit(config, train=parts.train, validation=parts.validation).bundle
        scores = ways_of_scoring(bundle, parts.train, parts.validation)
        held = [patch for patch in patches if fold_of(patient_of(patch), n_folds=N_FOLDS) == fold]
        shown = [*variants(held, bundle.preprocessing.shown_window), *foreign[fold::N_FOLDS]]
        for group, cluster, study in shown:
            sample = bundle.preprocessing(study, study.lesions[0])
            about = {"group": group, "cluster": cluster, "fold": fold, "has_doubt": bool(sample.doubts)}
            rows += [{**about, "way": way, "score": score(sample)} for way, score in scores.items()]
        limit = bundle.evidence.novelty
        if limit is not None:
            limits.append({"fold": fold, **numbers_of(limit)})
    return pd.DataFrame(rows), limits


def numbers_of(limit: NoveltyLimit) -> dict[str, float]:
    """Return what is recorded of a limit."""
    names = ("limit", "promise", "n_validation", "n_alarms", "false_alarm_rate")
    return {name: getattr(limit, name) for name in names}


def ways_of_scoring(bundle: Bundle, train: Sequence[Case], validation: Sequence[Case]) -> dict[str, Score]:
    """Return what a prediction says, and beside it the same distance on the encoder's embeddings."""
    predictor = Predictor(bundle)

    def embedded(samples: Sequence[Sample]) -> Any:
        return embed_samples(bundle, samples).unscaled["image"]

    learnt, known = (embedded(to_samples(part, bundle.preprocessing)) for part in (train, validation))
    limit = fit_novelty(learnt, known, [case.patient_key for case in validation])
    return {
        "statistics": lambda sample: predictor.predict_samples([sample])[0].novelty or 0.0,
        "embedding": lambda sample: limit.score(embedded([sample])[0]),
    }


def variants(patches: Sequence[Patch], window: tuple[float, float]) -> Iterator[tuple[str, str, Study]]:
    """Yield (group, patient, study) of each cube as it is, inverted within a window, and replaced by noise."""
    for patch in patches:
        patient, hu = patient_of(patch), patch.hu
        rng = np.random.default_rng(int(patient))
        drawn = rng.normal(hu.mean(), hu.std(), hu.shape)
        smooth = gaussian_filter(rng.normal(size=hu.shape), 2.0)
        for group, values in (
            (HELD_OUT, hu),
            ("inverted", sum(window) - hu),
            ("white noise", drawn),
            ("smooth noise", hu.mean() + hu.std() * smooth / smooth.std()),
            ("shuffled voxels", rng.permutation(hu.ravel()).reshape(hu.shape)),
        ):
            yield group, patient, study_of(volume_of(values), (0.0, 0.0, 0.0))


def read_foreign(folder: Path) -> list[tuple[str, str, Study]]:
    """Return (group, volume, study) of places in the MR and head CT of a folder, each case's first volume."""
    found = []
    for number, path in enumerate(
        sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.endswith("_derived"))
    ):
        try:
            volume = read_volumes(path)[0]
        except MedfuseError:
            continue  # made to be refused
        extent = np.array(volume.shape) * volume.spacing_mm
        if volume.modality not in ("MR", "CT") or extent.min() < SMALLEST_EXTENT_MM:
            continue
        rng = np.random.default_rng(number)
        for centre in places(volume, rng):
            if volume.modality == "CT":
                found.append(("head CT", path.name, study_of(volume, centre)))
            else:
                found.append(("MR as stored", path.name, study_of(volume, centre)))
                found.append(("MR scaled to HU", path.name, study_of(scaled(volume), centre)))
    return found


def places(volume: Volume, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Return places in the brighter part of a volume, where a body is."""
    voxels = volume.voxels.astype(np.float32)
    index = np.argwhere(voxels > np.percentile(voxels, 60))
    chosen = index[rng.choice(len(index), min(POSITIONS, len(index)), replace=False)]
    points = np.column_stack([chosen, np.ones(len(chosen))]) @ volume.affine.T
    return [(float(x), float(y), float(z)) for x, y, z, _ in points]


def scaled(volume: Volume) -> Volume:
    """Return an MR whose values fill the range of a CT's, as somebody may have converted it."""
    voxels = volume.voxels.astype(np.float32)
    low, high = np.percentile(voxels, [1, 99])
    share = (voxels - low) / max(high - low, 1e-6)
    return replace(volume, voxels=CT_HU[0] + share * (CT_HU[1] - CT_HU[0]), unit="HU")


def study_of(volume: Volume, centre: tuple[float, float, float]) -> Study:
    """Return a study of one volume with a lesion at a place."""
    return Study("study", "patient", {"image": volume}, lesions=(Lesion("1", centre),))


def figures_of(table: pd.DataFrame) -> dict[str, Any]:
    """Return by way of scoring: false alarms on held-out CT, and of each other group area, alarms and doubts."""
    found: dict[str, Any] = {}
    for way, rows in table.groupby("way", sort=False):
        own = rows[rows["group"] == HELD_OUT]
        clusters = own["group"] + own["cluster"]
        quiet = specificity(np.zeros(len(own)), own["score"] > 1, clusters=clusters)
        groups: dict[str, Any] = {}
        for group, others in rows[rows["group"] != HELD_OUT].groupby("group", sort=False):
            both = pd.concat([own, others])
            area = auroc(both["group"] == group, both["score"], clusters=both["cluster"])
            caught = sensitivity(np.ones(len(others)), others["score"] > 1, clusters=others["cluster"])
            groups[str(group)] = {
                "n": len(others),
                "n_clusters": others["cluster"].nunique(),
                "auroc": asdict(area),
                "flagged": asdict(caught),
                "flagged_by_unit": float(others["has_doubt"].mean()),
            }
        found[str(way)] = {"held_out": {"n": len(own), "not_flagged": asdict(quiet)}, "groups": groups}
    return found


def is_reached(figures: dict[str, Any]) -> bool:
    """Return whether the aims are met: every area, and the share of false alarms."""
    areas = [group["auroc"]["value"] for group in figures["groups"].values()]
    alarms = 1 - figures["held_out"]["not_flagged"]["value"]
    return bool(min(areas) >= AIM_AREA and alarms <= AIM_ALARMS)


def write(out: Path, table: pd.DataFrame, limits: list[dict[str, Any]], config: RunConfig, *, data_digest: str) -> None:
    """Write metrics.json and run.json."""
    figures = figures_of(table)
    out.mkdir(parents=True, exist_ok=True)
    aims = {"auroc": AIM_AREA, "false_alarms": AIM_ALARMS, "reached": is_reached(figures["statistics"])}
    metrics = {"aims": aims, "limits": limits, **figures}
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    run = {
        "command": COMMAND,
        "seed": config.seed,
        "config": config.model_dump(mode="json"),
        "config_digest": config_digest(config),
        "data_digest": data_digest,
        "versions": run_versions(),
    }
    (out / "run.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
