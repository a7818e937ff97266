"""How faithful every method of explaining is: on drawn LIDC-IDRI nodules, and on 134 real CT cubes.

Run it by ``make explanations``. Whatever is measured is kept in ``--work``, so that a stopped run goes on. The default
methods are chosen on validation cases; test cases tell how good they are.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medfuse.cohorts import LidcOptions, build_cohort
from medfuse.cohorts.lidc_patches import N_FOLDS, build_patch_cohort
from medfuse.config import RunConfig, load_config
from medfuse.data import Case, to_samples
from medfuse.data.resampling import box_affine, sample_box
from medfuse.errors import MedfuseError, UsageError
from medfuse.explain import METHODS, CaseLogit, build_method
from medfuse.explain.auditing import audit, bypass_share, cascade, chance_of, mean_estimate, ratio_estimate
from medfuse.explain.edges import EdgeDetector
from medfuse.explain.method import Method
from medfuse.inference import Predictor, load_bundle, save_bundle
from medfuse.io import Manifest, load_pseudonymizer, read_volume
from medfuse.progress import start_logging
from medfuse.reporting.faithfulness_report import faithfulness_page
from medfuse.training import config_digest, fit, read_cases, run_versions, split_cases
from medfuse.training.parts import Parts

log = logging.getLogger("medfuse")

CONFIG = Path("configs/lidc.yaml")
PATCHES = Path("../shared/data/lidc_ct_patches_134")
REAL = ("model.modalities=[image]", "model.image_encoder={name: small_cnn, widths: [8, 16, 32]}", "optim.epochs=20")
PLAIN = ("attributes=[]", "baselines=[]")
EDGES = "edge_detector"
OPTIONS: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"n_steps": 32},
    "gradient_shap": {"n_samples": 16},
    "occlusion": {"edge": 6.0},
    "feature_ablation": {"edge": 8},
}
TESTED = ((0,), (1,), (2, 3, 4, N_FOLDS))
"""Folds of the real cubes that one model tests. The third learns from two folds: a fast one, of the fewest nodules."""
N_RANDOM, N_MODELS, N_CASCADE, SEED = 8, 1, 8, 0
LIMITS = {"randomisation": 0.5, "repeatability": 0.7}
REACH = 5.0
Row = dict[str, Any]
MaskOf = Callable[[Case], NDArray[np.bool_]]


def main(argv: Sequence[str] | None = None) -> int:
    """Compute the record.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--out``, ``--work``, ``--patches``, ``--workers``, ``--test N`` and ``--validation N`` (drawn nodules).

    Returns
    -------
    int
        0 if all was computed, else 1.
    """
    parser = argparse.ArgumentParser(prog="explanations", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("reports/explanations"))
    parser.add_argument("--work", type=Path, default=Path("runs/explanations"))
    parser.add_argument("--patches", type=Path, default=PATCHES)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--test", type=int, default=30)
    parser.add_argument("--validation", type=int, default=16)
    options = parser.parse_args(argv)
    start_logging()
    started = time.monotonic()
    try:
        for size, image in (("keep", "rendered"), ("mask", "mask")):
            build_cohort(options.work / size, options=LidcOptions(size="keep", image=image))  # type: ignore[arg-type]
        build_patch_cohort(options.work / "patches", patches=options.patches)
        jobs = [("drawn", 0), *(("real", number) for number in range(len(TESTED)))]
        sizes = {"test": options.test, "validation": options.validation}
        os.environ["OMP_NUM_THREADS"] = "1"
        with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            list(pool.map(partial(run_job, options.work, sizes), jobs))
        write(options.out, options.work, [row for job in jobs for row in rows_of(options.work, job)])
    except MedfuseError as error:
        log.error("error: %s", error)
        return 1
    log.info("wrote %s in %.0f minutes", options.out, (time.monotonic() - started) / 60)
    return 0


def run_job(work: Path, sizes: Mapping[str, int], job: tuple[str, int]) -> None:
    """Train one model and measure every method on its cases, in a process of its own."""
    start_logging()
    setting, fold = job
    config, parts, mask_of = (drawn_parts if setting == "drawn" else real_parts)(work, fold)
    folder = work / setting / f"fold-{fold}"
    if not (folder / "model.json").exists():
        done = fit(config, train=parts.train, validation=parts.validation)
        save_bundle(done.bundle, folder)
        log.info("%s, fold %d: trained, best epoch %d", setting, fold, done.best_epoch + 1)
    predictor = Predictor(load_bundle(folder))
    known = {(row["part"], row["case"]) for row in rows_of(work, job)}
    wanted = [("validation", case) for case in some(parts.validation, sizes["validation"] if fold == 0 else 0)]
    wanted += [("test", case) for case in (some(parts.test, sizes["test"]) if setting == "drawn" else parts.test)]
    with (work / f"{setting}-{fold}.jsonl").open("a", encoding="utf-8") as file:
        for part, case in wanted:
            if (part, str(case.id)) in known:
                continue
            said = {"setting": setting, "part": part, "case": str(case.id), "patient": case.patient_key}
            found = list(measure(predictor, case, mask_of(case)))  # all of a case or nothing is kept
            file.write("".join(json.dumps({**said, **row}) + "\n" for row in found))
            file.flush()
    log.info("%s, fold %d: %d cases measured", setting, fold, len(wanted))


def measure(predictor: Predictor, case: Case, mask: NDArray[np.bool_]) -> Iterator[Row]:
    """Measure every method on one case, on each input that it scores."""
    [sample] = to_samples([case], predictor.preprocessing)
    logit = CaseLogit(predictor, sample, predictor.bundle.targets[0].name)
    for name in (name for name in logit.names if name in ("image", "text")):
        moving = logit.moving((name,))
        chance = chance_of(moving, n_random=N_RANDOM)
        if name == "image":
            yield {"input": name, "method": "", "bypass": bypass_share(moving)}
        able = [method_name for method_name, method in METHODS.items() if name in method.explains]
        for method_name in [*able, EDGES] if name == "image" else able:
            try:
                method = make_method(method_name, name)
                found = audit(moving, method, chance, mask=mask, n_models=N_MODELS)
            except UsageError as error:
                yield {"input": name, "method": method_name, "refused": str(error)}
                continue
            yield {"input": name, "method": method_name, **found}


def make_method(name: str, explains: str) -> Method:
    """Return a method with the options of this record, or the planted one."""
    if name == EDGES:
        return EdgeDetector()
    return build_method({"name": name, **OPTIONS.get(name, {})}, explains=explains)


def drawn_parts(work: Path, fold: int) -> tuple[RunConfig, Parts, MaskOf]:
    """Return configuration, cases and masks of the nodules drawn at their true size."""
    config = load_config(CONFIG, overrides=[f"data.test_fold={fold}"])
    table, loaded = read_cases(config, manifest=work / "keep" / "manifest.csv")
    rows = by_case(table)
    paths = {key: work / "mask" / row["image_path"] for key, row in rows.items()}
    return config, split_cases(loaded.cases, config.data, seed=config.seed), mask_reader(config, paths, rows)


def real_parts(work: Path, number: int) -> tuple[RunConfig, Parts, MaskOf]:
    """Return the same of the real cubes, with drawn nodules in the surroundings of other patients to learn from.

    A cube is tested by a model that has seen neither its patient nor, where that is one of several, any of these.
    """
    folds = {str(fold) for fold in TESTED[number]}
    first = str(TESTED[number][0])
    config = load_config(CONFIG, overrides=[*PLAIN, *REAL, f"data.test_fold={first}"])
    table, loaded = read_cases(config, manifest=work / "patches" / "manifest.csv")
    tested = [case for case in loaded.cases if case.row["kind"] == "real" and case.row["fold"] in folds]
    hidden = {patient for case in tested if case.row["fold"] == str(N_FOLDS) for patient in patients_of(case)}
    kept = [case for case in loaded.cases if case.targets and case.row["fold"] not in {*folds, str(N_FOLDS)}]
    seen = [case for case in kept if not patients_of(case) & hidden]
    # A cube without a label is explained all the same; none is read of it.
    stand_ins = [
        replace(case, targets=case.targets or {config.targets[0].name: 0}, row={**case.row, "fold": first})
        for case in tested
    ]
    rows = by_case(table)
    paths = {key: work / "patches" / row["mask_path"] for key, row in rows.items()}
    return config, split_cases([*seen, *stand_ins], config.data, seed=config.seed), mask_reader(config, paths, rows)


def patients_of(case: Case) -> set[int]:
    """Return the numbers of the patients that a case may show something of."""
    spans = [span.partition("-") for span in case.row["patients"].split()]
    return {number for low, _, high in spans for number in range(int(low), int(high or low) + 1)}


def by_case(table: Manifest) -> dict[tuple[str, str], dict[str, str]]:
    """Return a manifest's rows by study's pseudonym and lesion."""
    names = load_pseudonymizer()
    rows = table.frame.to_dict("records")
    return {(names.study(row["study_uid"]), row["lesion_id"]): {str(k): str(v) for k, v in row.items()} for row in rows}


def mask_reader(
    config: RunConfig, paths: Mapping[tuple[str, str], Path], rows: Mapping[tuple[str, str], Mapping[str, str]]
) -> MaskOf:
    """Return what reads a case's mask on the grid of its prepared image."""
    image = config.data.image

    def read(case: Case) -> NDArray[np.bool_]:
        key = (case.id.study_key, case.id.lesion_id)
        x, y, z = (float(rows[key][f"roi_{axis}_mm"]) for axis in "xyz")
        box = box_affine((x, y, z), size=image.size, spacing_mm=image.spacing_mm or 1.0)
        mask = read_volume(paths[key])
        inside: NDArray[np.bool_] = sample_box(mask, box, size=image.size, fill=0.0) >= 0.5
        return inside

    return read


def some(cases: Sequence[Case], n: int) -> list[Case]:
    """Return some cases, the same each time."""
    order = np.random.default_rng(SEED).permutation(len(cases))[:n]
    return [cases[i] for i in order]


def rows_of(work: Path, job: tuple[str, int]) -> list[Row]:
    """Return what is kept of a job; a case that was broken off is left out."""
    path = work / f"{job[0]}-{job[1]}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def write(out: Path, work: Path, rows: Sequence[Row]) -> None:
    """Write metrics.json, run.json and the page."""
    settings: dict[str, Any] = {}
    for setting in ("drawn", "real"):
        for name in ("image", "text"):
            here = [row for row in rows if row["setting"] == setting and row["input"] == name]
            if here:
                settings.setdefault(setting, {})[name] = summary(here)
    ranked = {
        name: ranking([found[name] for found in settings.values() if name in found]) for name in ("image", "text")
    }
    default = {name: order[0] for name, order in ranked.items()}
    metrics = {
        "default": default,
        "ahead": {name: ahead(rows, name, order) for name, order in ranked.items() if len(order) > 1},
        "settings": settings,
        "cascade": {name: cascades(work, name) for name in (default["image"], EDGES)},
        "reach": reach(settings["real"]["image"]["test"], default["image"]),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    config = load_config(CONFIG)
    run = {
        "command": "make explanations",
        "seed": SEED,
        "methods": {name: OPTIONS.get(name, {}) for name in METHODS},
        "config_digest": config_digest(config),
        "real_overrides": [*PLAIN, *REAL],
        "versions": run_versions(),
    }
    (out / "run.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    (out / "report.md").write_text(faithfulness_page(metrics), encoding="utf-8")


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the means of every method's figures, of validation and of test cases."""
    found: dict[str, Any] = {"refused": {row["method"]: row["refused"] for row in rows if "refused" in row}}
    bypass = [row["bypass"] for row in rows if row["part"] == "test" and "bypass" in row]
    if bypass:
        found["bypass_median"] = float(np.median(bypass))
    for part in ("validation", "test"):
        measured = [row for row in rows if row["part"] == part and row["method"] and "refused" not in row]
        names = sorted({row["method"] for row in measured})
        found[part] = {name: method_summary([row for row in measured if row["method"] == name]) for name in names}
    return found


def method_summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Return one method's means with intervals by patient."""
    patients = [row["patient"] for row in rows]
    figures: dict[str, Any] = {}
    for key in ("deletion", "insertion", "gain", "randomisation", "signed", "unsigned", "repeatability", "seconds"):
        figures[key] = asdict(mean_estimate(key, [row[key] for row in rows], patients))
    for key in ("deletion", "insertion", "gain"):
        apart = [row[key] - row[f"{key}_by_chance"] for row in rows]
        figures[f"{key}_over_chance"] = asdict(mean_estimate(f"{key} over chance", apart, patients))
    masked = [row for row in rows if row.get("volume_share")]
    if masked:
        whose = [row["patient"] for row in masked]
        inside, volume = ([row[key] for row in masked] for key in ("mass_inside", "volume_share"))
        figures["mass_inside"] = asdict(mean_estimate("mass_inside", inside, whose))
        figures["volume_share"] = asdict(mean_estimate("volume_share", volume, whose))
        figures["mass_over_volume"] = asdict(ratio_estimate("mass_over_volume", inside, volume, whose))
        figures["mass_over_volume_median"] = float(np.median([a / b for a, b in zip(inside, volume, strict=True)]))
        figures["pointing"] = asdict(mean_estimate("pointing", [row["pointing"] for row in masked], whose))
    complete = [row["completeness"] for row in rows if "completeness" in row]
    if complete:
        figures["completeness_median"] = float(np.median(complete))
    figures["shown"] = asdict(mean_estimate("shown", [float(passes(row)) for row in rows], patients))
    figures["passes_randomisation"] = figures["randomisation"]["value"] < LIMITS["randomisation"]
    return figures


def passes(row: Row) -> bool:
    """Tell whether a page would show this case's scores."""
    stays = row["randomisation"] < LIMITS["randomisation"] and row["repeatability"] >= LIMITS["repeatability"]
    return bool(stays and row["beats_best"] and row.get("completeness", 0.0) <= 0.05)


def ranking(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the methods that change with the model, by their gain over chance on validation cases."""
    common: set[str] = set.intersection(*(set(one["validation"]) for one in found)) - {EDGES}
    able = [n for n in sorted(common) if all(one["validation"][n]["passes_randomisation"] for one in found)]
    return sorted(able, key=lambda n: -sum(float(one["validation"][n]["gain_over_chance"]["value"]) for one in found))


def ahead(rows: Sequence[Row], name: str, ranked: Sequence[str]) -> dict[str, Any]:
    """Return by how much the best method gains more than the next, over the same validation cases."""
    of_it = [row for row in rows if (row["part"], row["input"]) == ("validation", name) and "gain" in row]
    best, other = ({(r["setting"], r["case"]): r for r in of_it if r["method"] == method} for method in ranked[:2])
    shared = [key for key in best if key in other]
    apart = [best[key]["gain"] - other[key]["gain"] for key in shared]
    return {"of": ranked[1], "by": asdict(mean_estimate("gain ahead", apart, [best[key]["patient"] for key in shared]))}


def cascades(work: Path, name: str) -> dict[str, float]:
    """Return how far maps of some real cubes change as one part of the model after the other forgets."""
    config, parts, _ = real_parts(work, 0)
    predictor = Predictor(load_bundle(work / "real" / "fold-0"))
    found = []
    for sample in to_samples(parts.test[:N_CASCADE], predictor.preprocessing):
        case = CaseLogit(predictor, sample, config.targets[0].name).moving(("image",))
        found.append(cascade(case, make_method(name, "image")))
    return {part: float(np.mean([one[part] for one in found])) for part in found[0]}


def reach(test: Mapping[str, Any], default: str) -> dict[str, Any]:
    """Return what was aimed at, and whether it was reached."""
    times = test[default]["mass_over_volume"]["value"]
    return {
        "mass_over_volume": {"aim": REACH, "found": times, "reached": times >= REACH},
        "default_passes_randomisation": test[default]["passes_randomisation"],
        "edge_detector_fails_randomisation": not test[EDGES]["passes_randomisation"],
    }


if __name__ == "__main__":
    sys.exit(main())
