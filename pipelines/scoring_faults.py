"""Scoring an archive with poisoned studies in it while workers, schedulers and commands are killed: nothing is lost.

Run it by ``make scoring-faults FAULTS=DIR``. The archive: rendered LIDC-IDRI nodules as DICOM, and studies that
must be refused, some made from them, some from a folder of fault cases where one is given. It is scored by one worker,
by two, and under a scheduler with two workers while processes are killed at random until the command ends by itself.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from medfuse.cohorts import build_cohort
from medfuse.config import RunConfig, load_config
from medfuse.errors import MedfuseError
from medfuse.inference import save_bundle
from medfuse.io import Manifest, Pseudonymizer, load_pseudonymizer, read_manifest
from medfuse.progress import bar, start_logging
from medfuse.training import config_digest, fit, read_cases, run_versions, split_cases
from pipelines.scoring_tools.faults_page import faults_page
from pipelines.scoring_tools.killing import Killing, Run, score_killed, score_once
from pipelines.scoring_tools.poison import Archive, make_archive

log = logging.getLogger("medfuse")

CONFIG = Path("configs/lidc.yaml")
COMMAND = "make scoring-faults"
OVERRIDES = ("name=scoring faults", "optim.epochs=3")
PSEUDONYM = re.compile(r"\bS[0-9a-f]{16}\b")
N_LESIONS = 190
"""Of the cohort, half of them positive, those of the smallest images: what is tested is no image's size."""


def main(argv: Sequence[str] | None = None) -> int:
    """Make the archive and a model, score in each way, and write the report.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--out DIR`` of the report, ``--work DIR`` (everything else lies there, and is used again), ``--faults DIR``
        with fault cases, ``--good N`` and ``--poisoned N`` studies, ``--kills N``, ``--lesions N``, ``--seed N``.

    Returns
    -------
    int
        0 if nothing was lost, doubled or torn, and all tables are equal, else 1.
    """
    parser = argparse.ArgumentParser(prog="scoring_faults", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("reports/scoring"))
    parser.add_argument("--work", type=Path, default=Path("runs/scoring_faults"))
    parser.add_argument("--faults", type=Path)
    parser.add_argument("--good", type=int, default=1900)
    parser.add_argument("--poisoned", type=int, default=100)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--lesions", type=int, default=N_LESIONS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    start_logging()
    try:
        return run(options)
    except MedfuseError as error:
        log.error("error: %s", error)
        return 1


def run(options: argparse.Namespace) -> int:
    """Do it all."""
    config = load_config(CONFIG, overrides=[*OVERRIDES, f"seed={options.seed}"])
    manifest = choose_lesions(build_cohort(options.work / "cohort", progress=bar("nodules")), options.lesions)
    model = options.work / "model"
    if not (model / "model.json").exists():
        make_model(config, manifest, model)
    archive = make_archive(
        manifest, options.work, n_good=options.good, n_poisoned=options.poisoned, faults=options.faults,
        progress=bar("studies"),
    )  # fmt: skip
    runs: dict[str, Run] = {}
    for n_workers in (1, 2):
        runs[f"{n_workers} worker{'s' * (n_workers > 1)}"] = score_once(archive, model, options.work, workers=n_workers)
        log.info("%s: done", list(runs)[-1])
    killing = Killing(options.kills, random.Random(options.seed))  # noqa: S311 - who is killed when, no secret
    runs[f"2 workers, {options.kills} kills"] = score_killed(archive, model, options.work, killing=killing)
    metrics = judge(archive, runs, load_pseudonymizer(options.work / "config" / "pseudonym.key"))
    told = {name: getattr(options, name) for name in ("good", "poisoned", "kills", "lesions")}
    write(options.out, metrics, config, data_digest=manifest.digest, arguments={**told, "faults": bool(options.faults)})
    return 0 if metrics["all_good"] else 1


def choose_lesions(path: Path, n: int) -> Manifest:
    """Return the lesions of the smallest images, half of them positive, as a manifest beside the whole one."""
    whole = read_manifest(path)
    frame = whole.frame.assign(size=[(whole.root / name).stat().st_size for name in whole.frame["image_path"]])
    labelled = frame[frame["label_malignancy"].isin(["positive", "negative"])].sort_values(["size", "study_uid"])
    some = labelled.groupby("label_malignancy").head(n // 2).drop(columns="size")
    chosen = path.with_name(f"manifest_{n}.csv")
    some.to_csv(chosen, index=False)
    return read_manifest(chosen)


def make_model(config: RunConfig, manifest: Manifest, folder: Path) -> None:
    """Train the model of a config on the cases of a manifest for a few epochs."""
    _, cases = read_cases(config, manifest=manifest.path, progress=bar("studies"))
    parts = split_cases(cases.cases, config.data, seed=config.seed)
    save_bundle(fit(config, train=parts.train, validation=parts.validation).bundle, folder)


def judge(archive: Archive, runs: dict[str, Run], names: Pseudonymizer) -> dict[str, Any]:
    """Compare the runs with what must come out, and with each other.

    Returns
    -------
    dict
        What metrics.json holds.
    """
    found = {name: _read(run) for name, run in runs.items()}
    first = next(iter(found.values())).table
    reasons = first[first["status"] == "refused"].set_index("study_key")["reason"]
    keyed = [one for one in archive.poisoned if names.study(one.study_uid) in reasons.index]
    said = {one: str(reasons[names.study(one.study_uid)]) for one in keyed}
    by_own = [one for one, reason in said.items() if any(re.search(word, reason, re.I) for word in one.words)]
    metrics: dict[str, Any] = {
        "n_good": archive.n_good,
        "n_poisoned": len(archive.poisoned),
        "kinds": dict(Counter(one.kind for one in archive.poisoned)),
        "runs": {name: _figures(archive, runs[name], found[name], first) for name in runs},
        "refused_for_their_own_fault": {"n": len(by_own), "of": len(keyed)},
        "refused_otherwise": sorted({f"{one.kind}: {reason}" for one, reason in said.items() if one not in by_own}),
        "reasons": dict(Counter(PSEUDONYM.sub("S...", reason) for reason in reasons).most_common()),
    }
    return metrics | {"all_good": all(one["all_good"] for one in metrics["runs"].values())}


class _Found(NamedTuple):
    table: pd.DataFrame
    n_torn: int
    n_listed: int


def _read(run: Run) -> _Found:
    """Read a results folder by pandas alone; what cannot be read, or is left half-written, is torn."""
    tables, n_torn = [], len(list(run.folder.rglob("*.partial")))
    for path in sorted((run.folder / "predictions").iterdir()):
        try:
            tables.append(pd.read_parquet(path))
        except (OSError, ValueError):
            n_torn += 1
    table = pd.concat(tables).sort_values(["study_key", "lesion_id"], ignore_index=True).drop(columns="seconds")
    return _Found(table, n_torn, len((run.folder / "refused.jsonl").read_text(encoding="utf-8").splitlines()))


def _figures(archive: Archive, run: Run, found: _Found, first: pd.DataFrame) -> dict[str, Any]:
    table = found.table
    counts = {status: int((table["status"] == status).sum()) for status in ("scored", "refused")}
    figures = {
        **counts,
        "listed_in_refused_jsonl": found.n_listed,
        "exit_codes": dict(Counter(map(str, run.exit_codes))),
        "last_exit_code": run.exit_codes[-1],
        "kills": dict(run.kills),
        "lost": archive.n_good + len(archive.poisoned) - table["study_key"].nunique(),
        "doubled": int(table.duplicated(["study_key", "lesion_id"]).sum()),
        "torn": found.n_torn,
        "equals_the_first": bool(table.equals(first)),
        "seconds": round(run.seconds, 1),
    }
    wanted = {"scored": archive.n_good, "refused": len(archive.poisoned), "lost": 0, "doubled": 0, "torn": 0}
    wanted |= {"listed_in_refused_jsonl": len(archive.poisoned), "last_exit_code": 3, "equals_the_first": True}
    return figures | {"all_good": all(figures[key] == value for key, value in wanted.items())}


def write(
    out: Path, metrics: dict[str, Any], config: RunConfig, *, data_digest: str, arguments: dict[str, Any]
) -> None:
    """Write metrics.json, run.json and README.md."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    record = {
        "command": COMMAND,
        "seed": config.seed,
        "arguments": arguments,
        "config": config.model_dump(mode="json"),
        "config_digest": config_digest(config),
        "data_digest": data_digest,
        "versions": run_versions(),
    }
    (out / "run.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (out / "README.md").write_text(faults_page(metrics), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
