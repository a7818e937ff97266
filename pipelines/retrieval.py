"""Find the nodule by its report and the report by its nodule, on LIDC-IDRI: every aligner, against CCA and chance.

Run it by ``make retrieval``. Each fold's cases are looked for among that fold's test cases, by models that never saw
their patients. The ranks of every model and fold are kept in ``--work``, so that a stopped run goes on.
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
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from medfuse.cohorts import LidcOptions, build_cohort
from medfuse.config import RunConfig, load_config
from medfuse.data import Case, to_samples
from medfuse.errors import MedfuseError
from medfuse.evaluation import (
    auroc,
    compare_recall,
    find_ranks,
    into_common_space,
    retrieval_figures,
    similarity,
    zero_shot_probabilities,
)
from medfuse.evaluation.common_space import METHODS, Pair
from medfuse.evaluation.retrieval import DEPTHS, Ranks
from medfuse.inference import Bundle, describe_without_learning, embed_samples, embed_texts
from medfuse.io import read_manifest
from medfuse.progress import bar, start_logging
from medfuse.reporting import retrieval_page
from medfuse.training import config_digest, fit, read_cases, run_versions, split_cases
from medfuse.training.fitting import make_preprocessing
from medfuse.training.folds import in_folds
from medfuse.training.parts import Parts

log = logging.getLogger("medfuse")

CONFIG = Path("configs/lidc.yaml")
COMMAND = "make retrieval"
CCA, RECORD, UNALIGNED, DEEP_CCA = "cca without learning", "record", "none", "deep_cca"
SHARED = ("optim.batch_size=64",)
"""Half the time of a training, and more reports to tell a nodule's own from."""
STRONG = "optim.aligner_weight=1.0"
# By name: what is changed in the configuration of record, which aligns with a tenth of this weight.
MODELS: dict[str, tuple[str, ...]] = {
    RECORD: (),
    UNALIGNED: ("model.aligner={name: none}",),
    "infonce": (STRONG,),
    **{
        name: (STRONG, f"model.aligner={{name: {name}}}")
        for name in (
            "siglip",
            "supervised_contrastive",
            "global_local",
            "euclidean",
            "cross_modal_mapping",
            "transfer_matrix",
            DEEP_CCA,
            "adversarial",
        )
    },
}
# Deep CCA correlates two spaces; their axes meet by the linear CCA of its outputs (Andrew et al. 2013, section 3).
MAPPED_BY = {UNALIGNED: METHODS, DEEP_CCA: ("cca",)}
DIRECTIONS = ("report to nodule", "nodule to report")
ZERO_SHOT = "zero-shot"
# Descriptions of what readers call likely benign or malignant; no word names the label.
PROMPTS = {
    "negative": (
        "FINDINGS: There is a pulmonary nodule. The nodule is diffusely and densely calcified. There is no lobulation."
        " There is no spiculation. The margin is sharp.",
        "FINDINGS: There is a pulmonary nodule. It is round and solid, with a sharp margin, no lobulation and no"
        " spiculation.",
    ),
    "positive": (
        "FINDINGS: There is a pulmonary nodule. There is no calcification. There is marked lobulation. There is marked"
        " spiculation. The margin is poorly defined.",
        "FINDINGS: There is a pulmonary nodule. It is irregular, obvious, noncalcified, lobulated and markedly"
        " spiculated.",
    ),
}
SCALE = 10.0
NOTES = (
    "Out of fold, size normalised: each fold's test cases are looked for among themselves, by models that never saw"
    f" their patients. `{RECORD}` is configs/lidc.yaml in batches of 64, trained to classify; the named aligners weigh"
    f" ten times that. `{CCA}`, the baseline, is linear CCA between fixed statistics of the boxes and counts of words;"
    f" `{UNALIGNED}, then ...` maps the embeddings of a model without an aligner by closed forms, as `{DEEP_CCA}, then"
    " cca` does what deep CCA leaves to a linear one. All are fitted on"
    f" training cases, their options chosen on validation cases. Rebuilt by `{COMMAND}`.",
    "Zero-shot is the AUROC of an image's likeness to descriptions of a malignant against a benign look (run.json). The"
    " encoders have seen labels of training cases: it tells what the shared space holds, not what is learnt without"
    " labels.",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Compute the record.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--out``, ``--work``, ``--workers``, ``--models`` and ``--set KEY=VALUE``.

    Returns
    -------
    int
        0 if all was computed, else 1.
    """
    parser = argparse.ArgumentParser(prog="retrieval", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("reports/retrieval"))
    parser.add_argument("--work", type=Path, default=Path("runs/retrieval"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(argv)
    start_logging()
    started = time.monotonic()
    try:
        manifest = read_manifest(
            build_cohort(options.work, options=LidcOptions(size="normalise"), progress=bar("nodules"))
        )
        overrides = [*SHARED, *options.set]
        found = rank_all(options.work, options.models, overrides=overrides, workers=options.workers)
        write(options.out, found, load_config(CONFIG, overrides=overrides), data_digest=manifest.digest)
    except MedfuseError as error:
        log.error("error: %s", error)
        return 1
    log.info("wrote %s in %.0f minutes", options.out, (time.monotonic() - started) / 60)
    return 0


def rank_all(work: Path, models: Sequence[str], *, overrides: Sequence[str], workers: int) -> pd.DataFrame:
    """Return the ranks of every model and fold, each computed in a process of its own unless it is known."""
    base = load_config(CONFIG, overrides=overrides)
    folds = sorted({int(case.row["fold"]) for case in load(work, base)})
    jobs = [(name, fold) for name in (CCA, *models) for fold in folds]
    missing = [job for job in jobs if not table_path(work, overrides, *job).exists()]
    # One thread a process: the workers share the cores already. Read by torch when a worker starts.
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        done = pool.map(partial(rank_one, work, tuple(overrides)), missing)
        for (name, fold), seconds in zip(missing, done, strict=True):
            log.info("%s, fold %d: %.0f s", name, fold, seconds)
    return pd.concat([pd.read_parquet(table_path(work, overrides, *job)) for job in jobs], ignore_index=True)


def rank_one(work: Path, overrides: tuple[str, ...], job: tuple[str, int]) -> float:
    """Train one model on one fold and keep the ranks of its test cases; return the seconds."""
    started = time.monotonic()
    name, fold = job
    config = load_config(CONFIG, overrides=[*overrides, *MODELS.get(name, ())])
    config = config.model_copy(update={"data": config.data.model_copy(update={"test_fold": fold})})
    parts = split_cases(load(work, config), config.data, seed=config.seed)
    if name == CCA:
        table = rank_without_learning(config, parts)
    else:
        bundle = fit(config, train=parts.train, validation=parts.validation).bundle
        table = rank_with(bundle, parts, name=name)
    path = table_path(work, overrides, name, fold)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_suffix(".partial")
    table.assign(fold=fold).to_parquet(partial_path, index=False)
    partial_path.replace(path)
    return time.monotonic() - started


def load(work: Path, config: RunConfig) -> list[Case]:
    """Read the prepared cases, each with its fold."""
    _, loaded = read_cases(config, manifest=work / "manifest.csv")
    return in_folds(config, loaded.cases)


def table_path(work: Path, overrides: Sequence[str], name: str, fold: int) -> Path:
    """Return where a model's ranks on a fold are kept; another configuration has another place."""
    config = load_config(CONFIG, overrides=[*overrides, *MODELS.get(name, ())])
    return work / "ranks" / config_digest(config)[:12] / f"{name.replace(' ', '_')}_{fold}.parquet"


def rank_with(bundle: Bundle, parts: Parts, *, name: str) -> pd.DataFrame:
    """Rank the test cases by a model's embeddings; those of some also by maps fitted on training cases."""
    parts = with_both(parts)
    test = embed_samples(bundle, to_samples(parts.test, bundle.preprocessing))
    tables = [
        rank_pair((test.unit["image"], test.unit["text"]), parts.test, model=name, metric="cosine"),
        rank_pair((test.unscaled["image"], test.unscaled["text"]), parts.test, model=name, metric="euclidean"),
        zero_shot(bundle, test.unit["image"], parts.test, model=name),
    ]
    mapped_by = MAPPED_BY.get(name, ())
    if mapped_by:
        known = [
            embed_samples(bundle, to_samples(part, bundle.preprocessing)) for part in (parts.train, parts.validation)
        ]
        pairs: list[Pair] = [(each.unscaled["image"], each.unscaled["text"]) for each in (*known, test)]
        for method in mapped_by:
            mapped = into_common_space(method, *pairs)
            tables.append(rank_pair(mapped, parts.test, model=f"{name}, then {method}", metric="cosine"))
    return pd.concat(tables, ignore_index=True)


def rank_without_learning(config: RunConfig, parts: Parts) -> pd.DataFrame:
    """Rank the test cases by linear CCA between fixed statistics of the boxes and counts of the words."""
    parts = with_both(parts)
    preprocessing = make_preprocessing(config, [case.text.text for case in parts.train if case.text])
    size = preprocessing.tokenizer.vocabulary_size if preprocessing.tokenizer else 0
    train, validation, test = (
        describe_without_learning(to_samples(part, preprocessing), vocabulary_size=size)
        for part in (parts.train, parts.validation, parts.test)
    )
    mapped = into_common_space("cca", train, validation, test)
    return rank_pair(mapped, parts.test, model=CCA, metric="cosine")


def with_both(parts: Parts) -> Parts:
    """Leave out cases that lack image or report: there is nothing to find them by."""
    names = ("train", "validation", "test")
    return Parts(*(tuple(case for case in getattr(parts, name) if case.has_image and case.text) for name in names))


def rank_pair(pair: Pair, cases: Sequence[Case], *, model: str, metric: Any) -> pd.DataFrame:
    """Rank each case's own report among all reports, and its image among all images."""
    images, reports = pair
    tables = []
    for direction, (queries, gallery) in zip(DIRECTIONS, ((reports, images), (images, reports)), strict=True):
        ranks = find_ranks(similarity(queries, gallery, metric=metric))
        about = {"model": model, "metric": metric, "direction": direction, "patient": patients_of(cases)}
        tables.append(pd.DataFrame({**about, **asdict(ranks)}))
    return pd.concat(tables, ignore_index=True)


def zero_shot(bundle: Bundle, images: Any, cases: Sequence[Case], *, model: str) -> pd.DataFrame:
    """Return how likely each image is of the positive class, by its likeness to the prompts alone."""
    prompts = {name: embed_texts(bundle, texts) for name, texts in PROMPTS.items()}
    probability = zero_shot_probabilities(images, prompts, scale=SCALE)["positive"]
    target = bundle.targets[0].name
    return pd.DataFrame(
        {
            "model": model,
            "metric": ZERO_SHOT,
            "patient": patients_of(cases),
            "label": [float(case.targets[target]) for case in cases],
            "probability": probability,
        }
    )


def patients_of(cases: Sequence[Case]) -> list[str]:
    """Return a number for each case's patient, which is in one fold alone."""
    numbers = {patient: str(number) for number, patient in enumerate(dict.fromkeys(case.patient_id for case in cases))}
    return [f"{cases[0].row.get('fold', '')}-{numbers[case.patient_id]}" for case in cases]


def figures_of(table: pd.DataFrame) -> dict[str, Any]:
    """Return every figure: by model, metric and direction, beside what CCA finds on the same cases."""
    metrics: dict[str, Any] = {}
    ranked = table[table["metric"] != ZERO_SHOT]
    for (model, metric, direction), rows in ranked.groupby(["model", "metric", "direction"], sort=False):
        ranks, patients = ranks_of(rows), list(rows["patient"])
        figures: dict[str, Any] = {
            key: asdict(value) if not isinstance(value, float) else value
            for key, value in retrieval_figures(ranks, patients).items()
        }
        baseline = ranked[(ranked["model"] == CCA) & (ranked["direction"] == direction)]
        if model != CCA and len(baseline) == len(rows):
            for depth in DEPTHS:
                over = compare_recall(ranks, ranks_of(baseline), patients, depth=depth)
                figures[f"recall_at_{depth}_over_baseline"] = asdict(over)
        metrics.setdefault(str(model), {}).setdefault(str(metric), {})[str(direction)] = figures
    for model, rows in table[table["metric"] == ZERO_SHOT].groupby("model", sort=False):
        area = auroc(rows["label"].astype(int), rows["probability"], clusters=rows["patient"])
        metrics[str(model)][ZERO_SHOT] = {"auroc": asdict(area)}
    return metrics


def ranks_of(rows: pd.DataFrame) -> Ranks:
    """Read ranks back."""
    return Ranks(*(rows[name].to_numpy(dtype="float64") for name in ("better", "tied", "n_gallery")))


def write(out: Path, table: pd.DataFrame, config: RunConfig, *, data_digest: str) -> None:
    """Write metrics.json, run.json and report.md."""
    metrics = figures_of(table)
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    run = {
        "command": COMMAND,
        "seed": config.seed,
        "config": config.model_dump(mode="json"),
        "config_digest": config_digest(config),
        "models": {name: list(changes) for name, changes in MODELS.items() if name in metrics},
        "prompts": PROMPTS,
        "data_digest": data_digest,
        "versions": run_versions(),
    }
    (out / "run.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    (out / "report.md").write_text(
        retrieval_page(metrics, title="LIDC-IDRI: the nodule by its report, the report by its nodule", notes=NOTES),
        encoding="utf-8",
    )


if __name__ == "__main__":
    sys.exit(main())
