"""The whole line on LIDC-IDRI: cohort, DICOM archive, index, three trainings, evaluation, scoring, explanations.

Run it by ``make demo``. What an earlier run left in the folder and is still valid is used again.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from medfuse.cohorts import build_cohort, export_archive
from medfuse.config import RunConfig, load_config
from medfuse.errors import MedfuseError
from medfuse.evaluation import Evaluation, evaluate
from medfuse.explain import explain_study
from medfuse.inference import Predictor
from medfuse.io import Manifest, StudyEntry, index_archive, load_pseudonymizer, read_manifest, read_rois
from medfuse.progress import bar, start_logging
from medfuse.reporting import background_of, write_csv, write_evaluation_report
from medfuse.scoring import Ledger, Meter, score
from medfuse.training import Run, ShowEpochs, find_run, read_cases, train

log = logging.getLogger("medfuse")

CONFIG = Path("configs/lidc.yaml")
CONDITIONS = {"image": ("image",), "text": ("text",), "fused": ("image", "text")}
AGREEMENT = 1e-5
DESIGN = (
    "LIDC-IDRI nodules marked by 3 or 4 readers. Image and report come from one reader of each nodule, "
    "the label (median malignancy above or below 3) from the others.",
    "Contours and scores are real; grey values are rendered from the contours and the wording of the reports is made "
    "from the scores. The malignancy score is never read for them, and the size is not stated.",
)
LIMITS = (
    "Rendered CT is not CT: vessels, chest wall and scanner differences are absent, so these figures say nothing "
    "about real scans.",
    "The malignancy label is the readers' opinion, not histology.",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--out DIR`` (by default ``demo``) and ``--set KEY=VALUE`` to override the config.

    Returns
    -------
    int
        0 if every step was done and scoring agrees with the evaluation, else 1.
    """
    parser = argparse.ArgumentParser(prog="demo", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(argv)
    start_logging()
    try:
        return run(options.out, load_config(CONFIG, overrides=options.set))
    except MedfuseError as error:
        log.error("error: %s", error)
        return 1


def run(out: Path, config: RunConfig) -> int:
    """Take the whole line from data to pages."""
    started = time.monotonic()
    step(1, "cohort: LIDC-IDRI nodules, rendered as CT, with a report each")
    manifest = read_manifest(build_cohort(out / "cohort", progress=bar("nodules")))
    step(2, "archive: the test fold as DICOM series with reports and lesion positions")
    archive, rois = export_archive(manifest, out, fold=config.data.test_fold or 0, progress=bar("series"))
    step(3, "index: what the archive holds")
    index = index_archive(archive)
    index.save(out / "index")
    log.info(
        "%d series of %d studies, %d refused",
        len(index.series),
        index.series["study_uid"].nunique(),
        len(index.refused),
    )
    step(4, "training: image alone, report alone, both")
    runs = train_all(out, config, manifest)
    step(5, "evaluation: the three on the same test cases")
    evaluation = evaluate_all(out, runs)
    step(6, "scoring: the DICOM archive with the saved fused model")
    predictor = Predictor.load(out / "runs" / "fused" / "model")
    entries = index.entries(rois=read_rois(rois))
    scores = score_archive(out, predictor, entries)
    difference = largest_difference(out, scores)
    step(7, "explanation: three cases")
    pages = explain_cases(out, predictor, entries, scores)
    show(out, evaluation, difference, pages, time.monotonic() - started)
    return 0 if difference <= AGREEMENT else 1


def step(number: int, text: str) -> None:
    """Say what comes next."""
    log.info("[%d/7] %s", number, text)


def train_all(out: Path, config: RunConfig, manifest: Manifest) -> dict[str, Run]:
    """Train one model a condition, unless the folder holds it already."""
    configs = {
        name: config.model_copy(
            update={"name": name, "model": config.model.model_copy(update={"modalities": modalities})}
        )
        for name, modalities in CONDITIONS.items()
    }
    runs = {name: find_run(c, out=out / "runs" / name, manifest=manifest) for name, c in configs.items()}
    missing = [name for name, found in runs.items() if found is None]
    if missing:
        _, loaded = read_cases(config, manifest=manifest.path, progress=bar("studies"))
        for name in missing:
            folder = out / "runs" / name
            show_epochs = ShowEpochs(name, every=5)
            runs[name] = train(configs[name], out=folder, manifest=manifest, cases=loaded, callbacks=[show_epochs])
    return {name: found for name, found in runs.items() if found is not None}


def evaluate_all(out: Path, runs: dict[str, Run]) -> Evaluation:
    """Put each model's own condition side by side and write the evaluation report."""
    tables = []
    for name, found in runs.items():
        table = pd.read_parquet(found.folder / "predictions.parquet")
        baselines = table["condition"].str.startswith("baseline_") & (name == "fused")
        tables.append(table[(table["condition"] == name) | baselines])
    predictions = pd.concat(tables, ignore_index=True)
    folder = out / "evaluation"
    title = "LIDC-IDRI nodules: does the report add to the image?"
    background = background_of(runs["fused"].folder, title=title)
    evaluation = evaluate(predictions, columns=background.columns)
    background = replace(background, design=(*DESIGN, *background.design), limits=LIMITS)
    write_evaluation_report(evaluation, folder, background=background)
    write_csv(folder / "predictions.csv", predictions)
    return evaluation


def score_archive(out: Path, predictor: Predictor, entries: Sequence[StudyEntry]) -> pd.DataFrame:
    """Score the archive; return its table."""
    folder = out / "scores"
    summary = score(entries, predictor=predictor, out=folder, pseudonymizer=load_pseudonymizer(), meter=Meter())
    log.info("%d cases scored, %d refused", summary.n_scored, summary.n_refused)
    with Ledger(folder, identity=summary.identity) as ledger:
        return ledger.table()


def largest_difference(out: Path, scores: pd.DataFrame) -> float:
    """Return how far the archive's probabilities are from the evaluation's, infinite if a case is missing."""
    scores = scores.assign(case_id=scores["study_key"] + "-" + scores["lesion_id"])
    predictions = pd.read_csv(out / "evaluation" / "predictions.csv", dtype={"class": str})
    fused = predictions[
        (predictions["condition"] == "fused") & (predictions["split"] == "test") & (predictions["class"] == "positive")
    ]
    both = fused.merge(scores, on="case_id", validate="one_to_one")
    if len(both) < len(fused):
        log.error("error: %d evaluated cases are missing from the scores", len(fused) - len(both))
        return float("inf")
    return float((both["probability"] - both["probability_malignancy"]).abs().max())


def explain_cases(
    out: Path, predictor: Predictor, entries: Sequence[StudyEntry], scores: pd.DataFrame
) -> dict[str, Path]:
    """Explain the likeliest case, the least likely, and the one whose image and report differ most."""
    table = scores[scores["status"] == "scored"].reset_index(drop=True)
    apart = (table["probability_image_malignancy"] - table["probability_text_malignancy"]).abs()
    chosen = {
        "the likeliest malignant": table.iloc[table["probability_malignancy"].argmax()],
        "the least likely malignant": table.iloc[table["probability_malignancy"].argmin()],
        "image and report furthest apart": table.iloc[apart.argmax()],
    }
    names = load_pseudonymizer()
    by_key = {names.study(entry.study_uid): entry for entry in entries}
    pages = {}
    for what, row in chosen.items():
        entry = by_key[row["study_key"]]
        one = replace(entry, lesions=tuple(le for le in entry.lesions if le.lesion_id == row["lesion_id"]))
        (folder,) = explain_study(one, predictor=predictor, out=out / "explanations", pseudonymizer=names)
        pages[what] = folder / "report.html"
    return pages


def show(out: Path, evaluation: Evaluation, difference: float, pages: dict[str, Path], seconds: float) -> None:
    """Print the figures and where everything lies."""
    rows = {**evaluation.metrics, **evaluation.baselines}
    print(f"\nTest fold: {evaluation.n} nodules of {evaluation.n_patients} patients, {evaluation.n_positive} positive")
    print(f"{'':18}{'AUROC (95% interval)':>24}{'F1':>8}{'accuracy':>10}{'Brier':>8}")
    for name, figures in rows.items():
        area = figures["auroc"]
        others = [f"{figures[m].value:.3f}" if m in figures else "" for m in ("f1", "accuracy", "brier")]
        print(
            f"{name:18}{f'{area.value:.3f} ({area.low:.3f} to {area.high:.3f})':>24}"
            f"{others[0]:>8}{others[1]:>10}{others[2]:>8}"
        )
    lift = evaluation.comparisons["lift"]
    print(f"fused minus {evaluation.better_single}: {lift.difference:+.3f} ({lift.low:+.3f} to {lift.high:+.3f})")
    print(
        f"scoring the DICOM archive against the evaluation: largest difference {difference:.1e} (limit {AGREEMENT:.0e})"
    )
    print(f"\nEvaluation report  {out / 'evaluation' / 'report.html'}")
    for what, page in pages.items():
        print(f"Explanation        {page}  ({what})")
    print(f"Scores             {out / 'scores' / 'predictions'}")
    print(f"Model              {out / 'runs' / 'fused' / 'model'}")
    print(f"MLflow             mlflow ui --backend-store-uri sqlite:///{out / 'runs' / 'mlflow.db'}")
    print(f"Done in {seconds / 60:.1f} minutes.")


if __name__ == "__main__":
    sys.exit(main())
