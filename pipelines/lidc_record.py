"""The figures of record on LIDC-IDRI: five folds by patient, size normalised and kept, and the negative control.

Run it by ``make records``. Every fold's predictions are kept in ``--work``, so that a stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from medfuse.cohorts import LidcOptions, build_cohort
from medfuse.cohorts.lidc_annotations import load_nodules
from medfuse.config import RunConfig, load_config
from medfuse.data import Case
from medfuse.errors import MedfuseError
from medfuse.evaluation import Evaluation, agreement_of, evaluate, explained_variance, plain
from medfuse.evaluation.evaluating import cases_of_test
from medfuse.io import load_pseudonymizer, read_manifest
from medfuse.progress import bar, start_logging
from medfuse.reporting import Background, write_evaluation_report
from medfuse.training import config_digest, cross_fit, read_cases, run_versions
from medfuse.types import CaseId

log = logging.getLogger("medfuse")

CONFIG = Path("configs/lidc.yaml")
SIZES: tuple[Literal["normalise", "keep"], ...] = ("normalise", "keep")
CONDITIONS = {"image": ("image",), "text": ("text",), "fused": ("image", "text")}
SHUFFLED = "shuffled_reports"
SHUFFLE_SEED = 0
UNDECIDED = 3.0
"""Of five grades of malignancy."""


def main(argv: Sequence[str] | None = None) -> int:
    """Compute the record.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--out``, ``--work``, ``--workers`` and ``--set KEY=VALUE``.

    Returns
    -------
    int
        0 if all was computed, else 1.
    """
    parser = argparse.ArgumentParser(prog="lidc_record", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("reports/lidc"))
    parser.add_argument("--work", type=Path, default=Path("runs/lidc_record"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(argv)
    start_logging()
    started = time.monotonic()
    try:
        config = load_config(CONFIG, overrides=options.set)
        digests, leakage = prepare(options.work, config)
        train_all(options.work, config, workers=options.workers)
        write(options.out, options.work, config, {**digests, "diameter_r2": leakage})
    except MedfuseError as error:
        log.error("error: %s", error)
        return 1
    log.info("wrote %s in %.0f minutes", options.out, (time.monotonic() - started) / 60)
    return 0


def prepare(work: Path, config: RunConfig) -> tuple[dict[str, str], dict[str, float]]:
    """Build both cohorts; return their digests, and how much of the diameter each input tells."""
    digests: dict[str, str] = {}
    leakage: dict[str, float] = {}
    for size in SIZES:
        manifest = read_manifest(
            build_cohort(work / size, options=LidcOptions(size=size), progress=bar(f"nodules, size {size}"))
        )
        digests[size] = manifest.digest
        cases = [case for case in load(work, config, size) if case.targets]
        images = np.stack([image[0].numpy() for case in cases if (image := case.image) is not None])
        diameters = np.log([float(case.row["diameter_mm"]) for case in cases])
        leakage[size] = round(explained_variance(images, diameters, [case.row["fold"] for case in cases]), 3)
        log.info("R squared of log diameter from the images, size %s: %.3f", size, leakage[size])
    return digests, leakage


def load(work: Path, config: RunConfig, size: str) -> tuple[Case, ...]:
    """Read the prepared cases of one cohort."""
    _, loaded = read_cases(config, manifest=work / size / "manifest.csv")
    return loaded.cases


def train_all(work: Path, config: RunConfig, *, workers: int) -> None:
    """Cross-fit every setting and condition, several at a time."""
    jobs = [(setting, condition) for condition in ("fused", "image", "text") for setting in (*SIZES, SHUFFLED)]
    jobs = [job for job in jobs if source_of(*job) == job[0]]
    jobs = [job for job in jobs if not table_path(work, config, *job).exists()]
    # One thread a process: the workers share the cores already. Read by torch when a worker starts.
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        done = pool.map(partial(cross_fit_one, work, config), jobs)
        for (setting, condition), minutes in zip(jobs, done, strict=True):
            log.info("%s, %s: 5 folds in %.1f minutes", setting, condition, minutes)


def cross_fit_one(work: Path, config: RunConfig, job: tuple[str, str]) -> float:
    """Cross-fit one setting and condition in a process of its own; return its minutes."""
    started = time.monotonic()
    start_logging()
    setting, condition = job
    cases = load(work, config, "normalise" if setting == SHUFFLED else setting)
    if setting == SHUFFLED:
        cases = shuffle_reports(cases)
    model = config.model.model_copy(update={"modalities": CONDITIONS[condition]})
    one = config.model_copy(update={"model": model})

    def say(fold: int, best_epoch: int) -> None:
        log.info("%s, %s: fold %d done, best epoch %d", setting, condition, fold, best_epoch + 1)

    table = cross_fit(one, cases, on_fold=say)
    path = table_path(work, config, setting, condition)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_suffix(".partial")
    table.to_parquet(partial_path, index=False)
    partial_path.replace(path)
    return (time.monotonic() - started) / 60


def source_of(setting: str, condition: str) -> str:
    """Return the setting whose predictions serve: shuffled reports change no image, and the size no report."""
    return "normalise" if (setting, condition) in {(SHUFFLED, "image"), ("keep", "text")} else setting


def table_path(work: Path, config: RunConfig, setting: str, condition: str) -> Path:
    """Return where a setting's predictions are kept; another config has another place."""
    return work / "predictions" / config_digest(config)[:12] / f"{setting}_{condition}.parquet"


def shuffle_reports(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Give every case the report of another, inside its fold so that no text crosses the split."""
    rng = np.random.default_rng(SHUFFLE_SEED)
    shuffled = list(cases)
    for fold in sorted({case.row["fold"] for case in cases}):
        members = [i for i, case in enumerate(cases) if case.row["fold"] == fold]
        order = rng.permutation(len(members))
        for i, other in zip(members, np.roll(order, 1)[np.argsort(order)], strict=True):
            shuffled[i] = replace(cases[i], text=cases[members[other]].text)
    return tuple(shuffled)


def write(out: Path, work: Path, config: RunConfig, record: dict[str, object]) -> None:
    """Evaluate every setting and write metrics.json, run.json and a page a setting."""
    metrics = {}
    readings = readers_malignancy()
    for setting in (*SIZES, SHUFFLED):
        table = settings_table(work, config, setting)
        evaluation = evaluate(table)
        readers = agreement_of(cases_of_test(table), readings, condition="fused", middle=UNDECIDED)
        write_evaluation_report(
            evaluation,
            out / setting,
            background=Background(
                f"LIDC-IDRI nodules, {setting.replace('_', ' ')}: does the report add to the image?",
                {"config": config_digest(config)[:12], "command": "make records"},
                tuple(design(record, validation_fraction=config.data.validation_fraction)),
                readers=readers,
            ),
        )
        metrics[setting] = {**evaluation.to_json(), "readers": plain(readers)}
        say_result(setting, evaluation)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    run = {
        "command": "make records",
        "seed": config.seed,
        "config": config.model_dump(mode="json"),
        "config_digest": config_digest(config),
        "versions": run_versions(),
        **record,
    }
    (out / "run.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")


def readers_malignancy() -> pd.DataFrame:
    """Return each reader's malignancy score, 1 to 5, by case; which reader is which column differs by nodule."""
    names = load_pseudonymizer()
    scores = {
        str(CaseId(names.study(one.scan.study_instance_uid), str(one.index))): pd.Series(
            [float(reader.scores["malignancy"]) for reader in one.annotations]
        )
        for one in load_nodules()
    }
    return pd.DataFrame(scores).T


def settings_table(work: Path, config: RunConfig, setting: str) -> pd.DataFrame:
    """Return one setting's predictions: each condition by its own model, the baselines beside them."""
    tables = []
    for condition in CONDITIONS:
        table = pd.read_parquet(table_path(work, config, source_of(setting, condition), condition))
        baselines = table["condition"].str.startswith("baseline_") & (condition == "fused")
        tables.append(table[(table["condition"] == condition) | baselines])
    return pd.concat(tables, ignore_index=True)


def design(record: dict[str, object], *, validation_fraction: float) -> list[str]:
    """Return what a reader must know of the record."""
    return [
        "Five folds by patient; every nodule is predicted by models that never saw its patient. Epoch, calibration and "
        f"threshold were chosen on {validation_fraction:.0%} of each fold's training patients.",
        f"R squared of log diameter, read from the images by gradient-boosted trees: {record['diameter_r2']}.",
    ]


def say_result(setting: str, evaluation: Evaluation) -> None:
    """Log the figures that the record is about."""
    for name, figures in {**evaluation.metrics, **evaluation.baselines}.items():
        area = figures["auroc"]
        log.info("%s %s: AUROC %.3f (%.3f to %.3f)", setting, name, area.value, area.low, area.high)
    lift = evaluation.comparisons["lift"]
    log.info("%s lift: %+.3f (%+.3f to %+.3f)", setting, lift.difference, lift.low, lift.high)


if __name__ == "__main__":
    sys.exit(main())
