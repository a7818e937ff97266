"""Where predictions to evaluate come from: a run, a table of any model, or a saved model and another site's cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from medfuse.cli.options import load_predictor, log
from medfuse.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from medfuse.data import Preprocessing
    from medfuse.io import Manifest, Pseudonymizer
    from medfuse.reporting import Background
    from medfuse.types import Target

__all__ = ["PREDICTIONS", "Source", "command_stamp", "source_of_model", "source_of_run", "source_of_table"]

PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What is evaluated, wherever it came from.

    Parameters
    ----------
    table : DataFrame
        Predictions.
    background : Background
    targets : tuple of Target
        Empty where the table alone must tell.
    columns : DataFrame, optional
        Columns that make subgroups, by case_id.
    thresholds : mapping of str to mapping of str to float
        By target, then by condition: chosen elsewhere.
    manifest : Manifest, optional
        Where the pictures of single cases are found, if it is at hand.
    preprocessing : Preprocessing, optional
        How they are prepared.
    n_refused : int
    """

    table: pd.DataFrame
    background: Background
    targets: tuple[Target, ...] = ()
    columns: pd.DataFrame | None = None
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    manifest: Manifest | None = None
    preprocessing: Preprocessing | None = None
    n_refused: int = 0


def source_of_run(run: Path, manifest: Path | None, *, title: str, language: str) -> Source:
    """Read a run's predictions and what it says of itself; that its test figures are looked at is counted there."""
    from medfuse.evaluation import read_predictions
    from medfuse.reporting import background_of, count_look

    background = background_of(run, title=title, language=language)
    config = background.config
    targets = tuple(one.build() for one in config.targets) if config else ()
    table = read_predictions(run / PREDICTIONS)
    where = manifest or Path(config.data.manifest if config else "manifest.csv")
    at_hand, preprocessing = _at_hand(run, where, str(background.record["data_digest"]))
    name = config.name if config else run.name
    background = replace(background, title=title or name, looks=count_look(run))
    return Source(table, background, targets, background.columns, manifest=at_hand, preprocessing=preprocessing)


def _at_hand(run: Path, manifest: Path, digest: str) -> tuple[Manifest | None, Preprocessing | None]:
    """Return a run's manifest and how its images are prepared, where both are there and unchanged."""
    folder = next((path for path in (run / "model", run / "fold-0" / "model") if path.exists()), None)
    if folder is None or not manifest.exists():
        log.info("the manifest of the run is not at hand: the page shows no pictures (--manifest names it)")
        return None, None
    from medfuse.inference.bundle import load_bundle
    from medfuse.io import read_manifest

    try:
        table = read_manifest(manifest, allow_late_reports=True)
        if table.digest == digest:
            return table, load_bundle(folder).preprocessing
        log.warning("%s is not the manifest of the run: the page shows no pictures", manifest.name)
    except UsageError as error:  # the figures need neither
        log.warning("%s: the page shows no pictures", error)
    return None, None


def source_of_table(path: Path, *, title: str) -> Source:
    """Read the predictions of any model."""
    import hashlib

    from medfuse.evaluation import read_free_columns, read_predictions
    from medfuse.reporting import Background

    table, columns = read_predictions(path), read_free_columns(path)
    stamp = {"predictions": path.name, "digest": hashlib.sha256(path.read_bytes()).hexdigest(), **command_stamp()}
    return Source(table, Background(title or path.stem, stamp), columns=columns)


def source_of_model(model: str, manifest: Manifest, names: Pseudonymizer, *, quiet: bool, title: str) -> Source:
    """Let a saved model predict another site's labelled cases, at the thresholds that it brought."""
    from medfuse.data.cohort_record import cohort_facts, cohort_table
    from medfuse.progress import bar
    from medfuse.reporting import Background
    from medfuse.training import score_manifest

    bundle = load_predictor(model).bundle
    scored = score_manifest(bundle, manifest, pseudonymizer=names, progress=bar("studies", quiet=quiet))
    for study_key, lesion_id, reason in scored.loaded.refused:
        log.warning("refused %s %s: %s", study_key, lesion_id, reason)
    parts = {"test": scored.loaded.cases}
    known = {"patients": len(scored.known_patients), "images": len(scored.known_images)}
    facts = cohort_facts(manifest, parts, loaded=scored.loaded)
    facts["known"] = known if bundle.evidence.training_cases else None
    stamp = {"model_id": bundle.model_id, **bundle.provenance, "test_data_digest": manifest.digest, **command_stamp()}
    background = Background(
        title or bundle.provenance.get("run", "model"),
        stamp,
        cohort=cohort_table(parts, bundle.targets),
        cohort_facts=facts,
        is_external=True,
    )
    return Source(
        scored.table.assign(fold=""),  # one model answers them all
        background,
        bundle.targets,
        background.columns,
        scored.thresholds,
        manifest,
        bundle.preprocessing,
        len(scored.loaded.refused),
    )


def command_stamp() -> dict[str, str]:
    """Return what another person types, and with what versions."""
    import sys

    from medfuse.training import run_versions

    versions = ", ".join(f"{name} {version}" for name, version in run_versions().items())
    words = [Path(word).name if place == 0 else word for place, word in enumerate(sys.argv)]
    return {"command": " ".join(words), "versions": versions}
