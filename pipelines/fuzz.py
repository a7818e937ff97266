"""Mutated models, settings and series: each is read or refused by name, in a forked process or by the command line.

Run it by ``make fuzz``. A small training makes one file of every kind that medfuse reads; each case changes bytes of
one of them. A case fails where anything but a refusal by name comes out: an error that nobody foresaw, a signal, a
hang, more memory than it may take.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import random
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import yaml

from medfuse import errors
from medfuse.config import RunConfig, load_config
from medfuse.data.manifest_check import check_manifest
from medfuse.errors import DataError, MedfuseError
from medfuse.evaluation import evaluate, read_predictions
from medfuse.inference import Predictor, load_bundle, save_bundle
from medfuse.io import (
    SeriesIdentity,
    derived_uid,
    find_studies,
    load_pseudonymizer,
    read_manifest,
    read_rois,
    write_dicom_series,
    write_nifti,
)
from medfuse.io.pseudonyms import CONFIG_DIR
from medfuse.io.report_sources import read_documents
from medfuse.models import build_model
from medfuse.models.transfer import load_weights
from medfuse.progress import start_logging
from medfuse.scoring import ScoreOptions, score
from medfuse.training import fit, read_cases, read_grid, read_space, split_cases
from medfuse.training.checkpoints import SafetensorsIO
from medfuse.types import Volume

log = logging.getLogger("medfuse")

CASES = {"settings": 10_000, "models": 10_000, "series": 5_000, "command": 200}
LIMIT_S, COMMAND_LIMIT_S, MEMORY_BYTES = 60, 300, 4 * 2**30
A_FORK = 100
"""Cases that one forked process reads, one after another; each has the time limit for itself."""

SIGNED = 0.7
"""Share of changed models whose checksums are made right again, as one would who means harm."""

SEED = 7
SIZE, N_STUDIES, SMALL_BYTES = 12, 24, 400_000
TARGET = {"name": "malignancy", "classes": ["negative", "positive"]}
MODEL = {
    "embedding_size": 4,
    "image_encoder": {"name": "small_cnn", "widths": [2, 4], "dropout": 0.0},
    "text_encoder": {"name": "gru", "token_size": 4, "hidden_size": 4, "dropout": 0.0},
    "head": {"name": "mlp", "hidden_size": 4, "dropout": 0.0},
}
TABLES = {
    "search.yaml": "search:\n  optim.learning_rate: {low: 0.001, high: 0.1, log: true}\n"
    "  optim.epochs: {choice: [1, 2]}\n",
    "grid.yaml": "config: run/config.yaml\nreference: a\nfolds: [0]\nruns: {a: {}, b: {optim.epochs: 1}}\n",
    "rois.csv": "study_uid,lesion_id,x_mm,y_mm,z_mm,space,diameter_mm\n1.2.3,1,1.5,2,3,RAS,4\n1.2.4,1,2,2,3,LPS,5\n",
    "reports.csv": "study_uid,report_text,status\n1.2.3,FINDINGS: A nodule.,final\n",
    "reports.jsonl": '{"study_uid": "1.2.3", "report_text": "FINDINGS: None."}\n{"accession_number": "A1"}\n',
    "reports.hl7": "MSH|^~\\&|RIS|H|A|H|20240301||ORU^R01|1|P|2.5\rPID|1||P1^^^H\rOBR|1||A1|CT^CHEST|||20240301\r"
    "ZDS|1.2.3.4\rOBX|1|TX|GDT||FINDINGS: A nodule.||||||F\r",
}
Read = Callable[[Path, Path], str | None]
Row = dict[str, Any]
Change = Callable[[bytes, random.Random, Sequence[bytes]], bytes]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--kinds``, ``--n`` cases of each, ``--seed``, ``--tool`` (the mutations), ``--real`` and ``--weights``
        (folders of series and of weights, changed beside those made here), ``--out``.

    Returns
    -------
    int
        0 if no case failed, else 1.
    """
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kinds", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--n", type=int)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--tool", type=Path, default=Path("../shared/tools/fuzz.py"))
    for name, folder in (("--real", "dicom"), ("--weights", "faults")):
        parser.add_argument(name, type=Path, default=Path("../shared/data") / folder)
    parser.add_argument("--out", type=Path, default=Path("reports/robustness"))
    options = parser.parse_args(argv)
    start_logging()
    if not options.tool.is_file():
        parser.error(f"--tool: found no {options.tool.name}; expected the file of mutations")
    change = runpy.run_path(str(options.tool))["mutate"]
    n_failed = 0
    with tempfile.TemporaryDirectory() as work:
        os.environ[CONFIG_DIR] = str(Path(work) / "config")
        seeds, model = make_seeds(Path(work) / "seeds", options.real, options.weights)
        for kind in options.kinds:
            done = run_kind(kind, change, seeds[kind], n=options.n or CASES[kind], seed=options.seed, model=model)
            write_row(options.out, kind, done)
            n_failed += len(done["failed"])
    return int(n_failed > 0)


def run_kind(kind: str, change: Change, seeds: list[Path], *, n: int, seed: int, model: Path) -> Row:
    """Run the cases of a kind; its seeds are files, or folders of which each case changes one file."""
    log.info("%s: %d cases from %d seeds", kind, n, len(seeds))
    read = by_command if kind == "command" else reader_of(kind, model)
    ends: Counter[str] = Counter()
    failed: list[Row] = []
    slowest = largest = 0.0
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        case = 0
        while case < n:
            todo = range(case, min(case + A_FORK, n))
            for one in in_a_fork(read, mutate(change, seeds, Path(work), todo, seed=f"{seed}|{kind}"), model=model):
                slowest, largest = max(slowest, one["seconds"]), max(largest, one["mb"])
                ends[one["end"]] += 1
                if one["end"] not in FINE:
                    failed.append({"case": case, **one})
                    log.error("%s %d: %s", kind, case, one)
                case += 1
            log.info("%s: %d of %d, %d failed", kind, case, n, len(failed))
    return {
        "n": n, "seeds": len(seeds), "seed": seed, "ends": dict(ends.most_common()), "failed": failed,
        "slowest_s": slowest, "largest_mb": largest, "minutes": round((time.monotonic() - started) / 60, 1),
    }  # fmt: skip


def in_a_fork(read: Read, cases: Iterator[tuple[str, Path]], *, model: Path) -> Iterator[Row]:
    """Yield how each case ends; a case that ends the process is the last one that is yielded."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        read_all(read, cases, model, writing)
    os.close(writing)
    begun: Row | None = None
    with os.fdopen(reading, encoding="utf-8") as lines:
        for line in lines:
            begun = json.loads(line)
            if "end" in begun:
                yield begun
                begun = None
    _, status = os.waitpid(child, 0)
    if begun is not None:
        number = os.WTERMSIG(status)
        yield begun | {"end": "hang" if number == signal.SIGALRM else f"signal {number}", "seconds": LIMIT_S, "mb": 0}


def read_all(read: Read, cases: Iterator[tuple[str, Path]], model: Path, writing: int) -> NoReturn:
    """Read every case in this process, within limits, and end it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY_BYTES,) * 2)
    logging.disable()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for source, path in cases:
        begun: Row = {"seed": source}
        os.write(writing, (json.dumps(begun) + "\n").encode())
        started = time.monotonic()
        signal.alarm(COMMAND_LIMIT_S if read is by_command else LIMIT_S)
        try:
            end, detail = read(path, model) or "read", ""
        except MedfuseError as error:
            end, detail = type(error).__name__, ""
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-4:]
            places = " < ".join(f"{Path(one.filename).name}:{one.lineno}" for one in reversed(where))
            end, detail = "unforeseen", f"{type(error).__name__}: {str(error)[:150]} at {places}"
        signal.alarm(0)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        ended = {"end": end, "detail": detail, "seconds": round(time.monotonic() - started, 2), "mb": round(peak)}
        os.write(writing, (json.dumps(begun | ended) + "\n").encode())
    os._exit(0)


def mutate(change: Change, seeds: list[Path], work: Path, cases: range, *, seed: str) -> Iterator[tuple[str, Path]]:
    """Yield the name of each case's seed, and the changed copy of it."""
    others = [path.read_bytes()[:65536] for path in [file for one in seeds for file in files_of(one)][:6]]
    for case in cases:
        chance = random.Random(f"{seed}|{case}")  # noqa: S311 - not for secrets
        source = seeds[chance.randrange(len(seeds))]
        target = work / "in" / source.name
        shutil.rmtree(work / "in", ignore_errors=True)
        (work / "in").mkdir()
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
        files = files_of(target)
        changed = chance.choice(files) if target.is_dir() else target
        changed.write_bytes(change(changed.read_bytes(), chance, others))
        if (target / "sha256").is_file() and chance.random() < SIGNED:
            sign(target)
        yield source.name if source.name != "input" else source.parent.name, target


def files_of(path: Path) -> list[Path]:
    """Return a file, or those of a folder, in order."""
    return sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]


def sign(bundle: Path) -> None:
    """Make a bundle's checksums true of what it holds."""
    names = sorted(path.name for path in bundle.iterdir() if path.name != "sha256")
    lines = (f"{hashlib.sha256((bundle / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    (bundle / "sha256").write_text("".join(lines))


def reader_of(kind: str, model: Path) -> Read:
    """Return what reads a kind; it raises a MedfuseError where it refuses."""
    if kind == "models":
        return read_model
    if kind == "settings":
        return read_setting
    predictor, names = Predictor.load(model), load_pseudonymizer()

    def score_study(path: Path, _: Path) -> None:
        entries, _refused = find_studies(path, unit="HU")
        options, out = ScoreOptions(position="centre"), path.parent / "scores"
        done = score(entries, predictor=predictor, out=out, pseudonymizer=names, options=options)
        if done.n_refused:
            raise DataError("study", "refused")

    return score_study


def read_model(path: Path, _: Path) -> None:
    """Read a bundle, a training's state, or weights that were learnt elsewhere."""
    if path.is_dir():
        load_bundle(path)
    elif path.name == "state.safetensors":
        SafetensorsIO().load_checkpoint(path)
    else:
        config = load_config({"targets": [TARGET], "model": MODEL})
        encoders = build_model(
            config.model, targets=[config.targets[0].build()], in_channels=1, image_size=(SIZE,) * 3, vocabulary_size=50
        ).encoders
        load_weights(encoders["image"], path, prefix="encoders.image.")


def read_setting(path: Path, _: Path) -> None:
    """Read a configuration, a table or reports by what the file is named."""
    if path.is_dir():
        manifest = read_manifest(path / "manifest.csv")
        manifest.entries()
        check_manifest(manifest)
    elif path.name.startswith("grid"):
        read_grid(path)
    elif path.name.startswith("search"):
        read_space(path)
    elif path.suffix == ".yaml":
        load_config(path)
    elif path.name == "rois.csv":
        read_rois(path)
    elif path.name.startswith("predictions"):
        evaluate(read_predictions(path))
    else:
        list(read_documents(path, problems=[]))


def by_command(path: Path, model: Path) -> str:
    """Score a study by the command line, and say how that ended."""
    command = [str(Path(sys.executable).with_name("medfuse")), "score", str(path), "--model", str(model)]
    command += ["--out", str(path.parent / "scores"), "--position", "centre", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    said = done.stdout + done.stderr
    if done.returncode not in (0, 2, 3) or "Traceback (most recent call last)" in said:
        raise RuntimeError(f"exit code {done.returncode}: {said[-150:]}")
    return f"exit code {done.returncode}"


def make_seeds(folder: Path, real: Path, weights: Path) -> tuple[dict[str, list[Path]], Path]:
    """Train a small model, and return files and folders of every kind, and the model."""
    config, cohort = make_cohort(folder)
    run = folder / "run"
    _, loaded = read_cases(config)
    parts = split_cases(loaded.cases, config.data, seed=0)
    done = fit(config, train=parts.train, validation=parts.validation, checkpoints=run)
    save_bundle(done.bundle, run / "model")
    models = [run / "model", run / "model", run / "last" / "state.safetensors", run / "best" / "weights.safetensors"]
    (run / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    for name, text in TABLES.items():
        (folder / name).write_text(text)
    rng = np.random.default_rng(SEED)
    rows = {"case_id": range(40), "probability": rng.random(40).round(3), "label": rng.integers(0, 2, 40)}
    pd.DataFrame(rows).to_csv(folder / "predictions.csv", index=False)
    settings = [*sorted(Path("configs").glob("*.yaml")), run / "config.yaml", cohort, folder / "predictions.csv"]
    series = make_studies(folder)
    if real.is_dir():
        sizes = {one: sum(file.stat().st_size for file in one.rglob("*")) for one in real.glob("*/input")}
        series += sorted(one for one, size in sizes.items() if size < SMALL_BYTES)
    models += sorted(weights.glob("mod_*/model.*"))
    settings += [folder / name for name in TABLES]
    return {"models": models, "settings": settings, "series": series, "command": series}, run / "model"


def make_cohort(folder: Path) -> tuple[RunConfig, Path]:
    """Write small NIfTI images with reports, and return a configuration for them."""
    cohort = folder / "cohort"
    cohort.mkdir(parents=True)
    rng = np.random.default_rng(SEED)
    rows = []
    for number in range(N_STUDIES):
        positive = number // 4 % 2 == 1
        voxels = rng.normal(300.0 * positive, 30.0, (SIZE,) * 3).astype(np.float32)
        write_nifti(Volume(voxels, np.eye(4), "HU"), cohort / f"{number}.nii.gz")
        margin = "spiculated" if positive else "smooth"
        rows.append({
            "patient_id": f"P{number}", "study_uid": f"1.2.3.{number}", "image_path": f"{number}.nii.gz",
            "report_text": f"FINDINGS: A nodule with a {margin} margin.", "roi_x_mm": 5, "roi_y_mm": 5, "roi_z_mm": 6,
            "diameter_mm": 5 + number % 4, "fold": number % 4, "study_date": "2024-03-01",
            "label_malignancy": "positive" if positive else "negative",
        })  # fmt: skip
    pd.DataFrame(rows).to_csv(cohort / "manifest.csv", index=False)
    image = {"size": [SIZE] * 3, "spacing_mm": 1.0, "channels": [{"intensity": [-200.0, 600.0]}]}
    data = {"manifest": str(cohort / "manifest.csv"), "image": image, "unit": "HU", "validation_fraction": 0.3}
    content = {"name": "fuzz", "data": data, "targets": [TARGET], "model": MODEL, "optim": {"epochs": 2}}
    return load_config(content, overrides=[f"data.cache.folder={folder / 'cache'}", "data.test_fold=0"]), cohort


def make_studies(folder: Path) -> list[Path]:
    """Write a small CT series, and a NIfTI image with a mask; each a study with a report."""
    rng = np.random.default_rng(SEED)
    volume = Volume(rng.integers(-900, 400, (24, 24, 6)).astype(np.float32), np.diag([1.0, 1.0, 2.5, 1.0]), "HU")
    uids = [derived_uid(f"fuzz {part}") for part in ("study", "series", "frame")]
    write_dicom_series(volume, folder / "dicom_study" / "dicom", identity=SeriesIdentity("P1", *uids))
    mask = np.zeros((SIZE,) * 3, dtype=np.float32)
    mask[4:7, 4:7, 4:7] = 1
    (folder / "image_study").mkdir()
    for name, voxels in (("image", rng.normal(0.0, 30.0, mask.shape).astype(np.float32)), ("mask", mask)):
        write_nifti(Volume(voxels, np.eye(4), "HU"), folder / "image_study" / f"{name}.nii.gz")
    studies = [folder / "dicom_study", folder / "image_study"]
    for study in studies:
        (study / "report.txt").write_text("FINDINGS: A nodule with a smooth margin. IMPRESSION: Nodule.")
    return studies


FINE = {*errors.__all__, "read", "exit code 0", "exit code 2", "exit code 3"}


def write_row(out: Path, kind: str, row: Row) -> None:
    """Put a kind's figures beside the others, and write the page anew."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "metrics.json"
    content: dict[str, Row] = json.loads(path.read_text()) if path.is_file() else {}
    content["fuzz"] = {**content.get("fuzz", {}), kind: row}
    path.write_text(json.dumps(content, indent=1) + "\n")
    lines = [
        "| kind | cases | read | refused by name | failed | slowest, s | memory, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in content["fuzz"].items():
        n_read = one["ends"].get("read", 0) + one["ends"].get("exit code 0", 0)
        n_failed = len(one["failed"])
        cells = [name, one["n"], n_read, one["n"] - n_read - n_failed, n_failed, one["slowest_s"], one["largest_mb"]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    (out / "README.md").write_text(PAGE.format(table="\n".join(lines)), encoding="utf-8")


PAGE = """# Files that are broken, or meant to break

Written by `make fuzz`. Each case changes some bytes of one file, which must be read or refused by name within 60 s (a
command 300 s) and 4 GB. A case is drawn from its number and the seed alone, so that it can be repeated.

- **settings:** configurations, grids, search spaces, manifests, positions, reports, predictions; in forked processes.
- **models:** bundles, 70% of them with right checksums again; states of trainings; weights for transfer; likewise.
- **series:** studies of DICOM and NIfTI with reports and masks, scored likewise; **command:** by `medfuse score`.

{table}

Beside it: [inputs that lie or mean harm](faults.md) (`make faults`),
[changes of the code](mutants.md) (`make mutants`), [what the tests run](coverage.md) (`make coverage`).
"""


if __name__ == "__main__":
    sys.exit(main())
