"""Which way of joining image and report is best on LIDC-IDRI: every aligner and fusion, then five on all folds.

Run it by ``make lidc-comparison``. The methods are compared on the inner validation cases of fold 0; the five best of
them there are trained once more for every fold and judged on its test cases, size normalised and kept, beside a model
of the image and one of the report. Every training is kept in ``--work``, so that a stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from medfuse.cohorts import LidcOptions, build_cohort
from medfuse.config import RunConfig
from medfuse.errors import MedfuseError
from medfuse.evaluation import (
    adjust,
    auroc,
    case_table,
    check_predictions,
    compare_areas,
    cross_fitted_logistic,
    explained_variance,
    missing_curve,
)
from medfuse.evaluation.predictions import CaseTable
from medfuse.inference.frozen_features import box_statistics
from medfuse.io import Manifest, read_manifest
from medfuse.progress import bar, start_logging
from medfuse.reporting import ComparedCases, methods_page, missing_reports_svg, write_comparison_report
from medfuse.training import Grid, compare, config_digest, kept_predictions, read_cases, read_grid, run_versions
from medfuse.training.comparing import Comparison
from medfuse.types import Array

log = logging.getLogger("medfuse")

GRID = Path("configs/grids/lidc_methods.yaml")
COMMAND = "make lidc-comparison"
SIZES: tuple[Literal["normalise", "keep"], ...] = ("normalise", "keep")
FOLDS = (0, 1, 2, 3, 4)
N_FINALISTS = 5
IMAGE, REPORT = "image", "text"
SCORES = "one_hot_scores"
"""The configuration's baseline that knows what the reporting reader scored."""

SINGLES = {IMAGE: ("image",), REPORT: ("text",)}
SEED = 0
TITLE = "LIDC-IDRI: which way of joining image and report is best?"
NOTES = (
    f"Rebuilt by `{COMMAND}`. Every method of configs/grids/lidc_methods.yaml was trained on fold 0; the"
    " five best on its inner validation cases, where no test case was seen, were trained on all five folds, and"
    " each test case was predicted by a model that never saw its patient. Seconds are those of one core.",
    "Adjusted for diameter: logistic regression on a model's answer and log diameter, each fold by a fit on the others."
    " `baseline_one_hot_scores` is logistic regression on the reporting reader's scores, which the reports put into"
    " words; `everything` is the same on these, the box statistics of the image and log diameter: how far exact"
    " knowledge of what image and report show has gone in our hands.",
    "Pages with all figures: [methods](methods.html), [size normalised](normalise.html), [kept](keep.html).",
    "![AUROC against the share of missing reports](missing_reports.svg)",
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of every case beside the models' answers.

    Parameters
    ----------
    log_diameter : Series
        By case id.
    diameter_r2 : float
        Share of its variance that the images tell.
    everything : DataFrame
        By case id: the reporting reader's exact scores, one-hot, the box statistics of the image, and log diameter.
    """

    log_diameter: pd.Series[float]
    diameter_r2: float
    everything: pd.DataFrame


def main(argv: Sequence[str] | None = None) -> int:
    """Compute the comparison.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--out``, ``--work`` and ``--workers``.

    Returns
    -------
    int
        0 if all was computed, else 1.
    """
    parser = argparse.ArgumentParser(prog="lidc_comparison", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("reports/lidc_comparison"))
    parser.add_argument("--work", type=Path, default=Path("runs/lidc_comparison"))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(argv)
    start_logging()
    started = time.monotonic()
    try:
        grid, configs = read_grid(GRID)
        manifests = {
            size: read_manifest(
                build_cohort(options.work / size, options=LidcOptions(size=size), progress=bar(f"nodules, {size}"))
            )
            for size in SIZES
        }
        methods = compare(
            grid, configs, out=options.work / "methods", manifest=manifests["normalise"], workers=options.workers
        )
        finalists = best_of(methods)
        log.info("finalists: %s", ", ".join(finalists))
        found: dict[str, Any] = {"methods": rows_of(methods), "finalists": finalists}
        for size, manifest in manifests.items():
            runs = final_runs(configs, finalists, reference=grid.reference)
            final = final_grid(runs)
            out = options.work / f"finalists-{size}"
            comparison = compare(final, runs, out=out, manifest=manifest, workers=options.workers)
            found[size] = {
                "models": rows_of(comparison),
                **judge(out, finalists, facts=facts_of(runs[IMAGE], manifest)),
            }
            write_page(comparison, options.out / f"{size}.html", final, manifest)
        write_page(methods, options.out / "methods.html", grid, manifests["normalise"])
        write(options.out, found, configs[grid.reference], {size: one.digest for size, one in manifests.items()})
    except MedfuseError as error:
        log.error("error: %s", error)
        return 1
    log.info("wrote %s in %.0f minutes", options.out, (time.monotonic() - started) / 60)
    return 0


def best_of(methods: Comparison) -> list[str]:
    """Return the runs with the largest areas, the largest first; of two equal ones the first in the grid."""
    trained = [one for one in methods.models if not one.name.startswith("baseline_")]
    return [one.name for one in sorted(trained, key=lambda one: -one.area.value)][:N_FINALISTS]


def final_runs(configs: Mapping[str, RunConfig], finalists: Sequence[str], *, reference: str) -> dict[str, RunConfig]:
    """Return the finalists' configurations, and the single modalities' after the reference's."""
    base = configs[reference]
    singles = {
        name: base.model_copy(update={"name": name, "model": base.model.model_copy(update={"modalities": modalities})})
        for name, modalities in SINGLES.items()
    }
    return {**singles, **{name: configs[name] for name in finalists}}


def final_grid(runs: Mapping[str, RunConfig]) -> Grid:
    """Return the grid of the finalists, each against the model of the image."""
    return Grid(
        config=GRID.name, evaluate_on="folds", folds=FOLDS, seeds=(SEED,), reference=IMAGE,
        runs={name: {} for name in runs},
    )  # fmt: skip


def facts_of(config: RunConfig, manifest: Manifest) -> Facts:
    """Read each case's diameter, and how much of it the images tell."""
    cases = [case for case in read_cases(config, manifest=manifest.path)[1].cases if case.targets]
    diameters = np.log([float(case.row["diameter_mm"]) for case in cases])
    images = np.stack([image[0].numpy() for case in cases if (image := case.image) is not None])
    told = explained_variance(images, diameters, [case.row["fold"] for case in cases])
    names = [str(case.id) for case in cases]
    columns = next(baseline.categorical for baseline in config.baselines if baseline.name == SCORES)
    scores = pd.DataFrame([[case.row[column] for column in columns] for case in cases], index=names)
    statistics = pd.DataFrame(box_statistics(images[:, None]), index=names).add_prefix("statistic ")
    everything = pd.concat([pd.get_dummies(scores), statistics], axis=1)
    return Facts(pd.Series(diameters, index=names), round(told, 3), everything.assign(log_diameter=diameters))


def judge(out: Path, finalists: Sequence[str], *, facts: Facts) -> dict[str, Any]:
    """Return each finalist's lift, as it is and adjusted for diameter, and its missing-report curve."""
    cases = answers(out, (*SINGLES, *finalists))
    alone = {name: cases.probabilities[name].to_numpy() for name in (*SINGLES, *finalists)}
    sizes = facts.log_diameter.loc[cases.probabilities.index].to_numpy()
    adjusted = {name: adjust(cases.labels, scores, sizes, cases.folds) for name, scores in alone.items()}
    without = {name: cases.probabilities[without_report(name)].to_numpy() for name in finalists}
    return {
        "diameter_r2": facts.diameter_r2,
        "everything": everything_known(cases, facts.everything),
        "lift": lifts(cases, alone, finalists),
        "lift_adjusted_for_diameter": lifts(cases, adjusted, finalists),
        "missing_reports": {
            name: [
                asdict(point)
                for point in missing_curve(
                    cases.labels, alone[name], without[name], alone=alone[IMAGE], clusters=cases.patients
                )
            ]
            for name in finalists
        },
    }


def everything_known(cases: CaseTable, features: pd.DataFrame) -> dict[str, Any]:
    """Return the area of what no report need put into words: exact scores, box statistics and diameter."""
    known = cross_fitted_logistic(features.loc[cases.probabilities.index].to_numpy(float), cases.labels, cases.folds)
    return asdict(auroc(cases.labels, known, clusters=cases.patients))


def answers(out: Path, runs: Sequence[str]) -> CaseTable:
    """Return every run's own answers on the same test cases, and those of the fused ones without the report."""
    tables = []
    for run in runs:
        rows = kept_predictions(out, run, seed=SEED)
        rows = rows[rows["split"] == "test"]
        own = run if run in SINGLES else "fused"
        named = {own: run} if run in SINGLES else {own: run, IMAGE: without_report(run)}
        tables.append(rows[rows["condition"].isin(named)].assign(condition=rows["condition"].map(named)))
    return case_table(check_predictions(pd.concat(tables, ignore_index=True)))


def without_report(run: str) -> str:
    """Name what a fused model answers without the report."""
    return f"{run} without the report"


def lifts(cases: CaseTable, scores: Mapping[str, Array], finalists: Sequence[str]) -> dict[str, Any]:
    """Return every finalist's area minus that of the better single modality, corrected for their number."""
    singles = compare_areas(
        cases.labels, {name: [scores[name]] for name in SINGLES}, reference=IMAGE, clusters=cases.patients
    )
    better = max(singles, key=lambda one: one.area.value).name
    rivals = {better: [scores[better]], **{name: [scores[name]] for name in finalists}}
    found = compare_areas(cases.labels, rivals, reference=better, clusters=cases.patients)
    return {
        one.name: {
            "auroc": asdict(one.area),
            "better_single": better,
            **({**asdict(one.against), "p_holm": one.p_holm} if one.against else {}),
        }
        for one in found
    }


def rows_of(comparison: Comparison) -> list[dict[str, Any]]:
    """Return a comparison's table as plain values, what is not known as None."""
    rows: list[dict[str, Any]] = json.loads(comparison.table.to_json(orient="records"))
    return rows


def write_page(comparison: Comparison, path: Path, grid: Grid, manifest: Manifest) -> None:
    """Write a comparison's own page."""
    costs = comparison.table.dropna(subset=["seconds"]).set_index("run")
    write_comparison_report(
        comparison.models,
        path,
        cases=ComparedCases(comparison.n, comparison.n_positive, comparison.n_patients, comparison.refused),
        costs={str(run): (float(row["seconds"]), float(row["parameters"])) for run, row in costs.iterrows()},
        design=grid.design(),
        provenance={"command": COMMAND, "data": manifest.digest[:12]},
    )


def write(out: Path, found: Mapping[str, Any], config: RunConfig, digests: Mapping[str, str]) -> None:
    """Write metrics.json, run.json and README.md."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    run = {
        "command": COMMAND,
        "seed": SEED,
        "config": config.model_dump(mode="json"),
        "config_digest": config_digest(config),
        "grid": GRID.read_text(encoding="utf-8"),
        "data_digests": dict(digests),
        "versions": run_versions(),
    }
    (out / "run.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    (out / "README.md").write_text(methods_page(found, title=TITLE, notes=NOTES), encoding="utf-8")
    (out / "missing_reports.svg").write_bytes(missing_reports_svg(found))


if __name__ == "__main__":
    sys.exit(main())
