"""What came out of a run, as MLflow shows it: the evaluation report, its figures, and a paragraph in words."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medfuse.errors import MedfuseError
from medfuse.evaluation import Evaluation, evaluate_targets, read_predictions
from medfuse.reporting import background_of, count_look, limits_of, write_csv, write_evaluation_report

if TYPE_CHECKING:
    from medfuse.config import RunConfig
    from medfuse.training.tracking import Tracked

__all__ = ["describe", "evaluate_run", "figures_of", "log_outcome"]

log = logging.getLogger("medfuse")
FOLDER = "evaluation"
FILES = ("config.resolved.yaml", "run.json", "history.csv")
INPUTS = {"image": "the image", "text": "the report", "table": "the clinical table"}


def log_outcome(tracked: Tracked, *, step: int) -> None:
    """Evaluate a finished run's predictions, and log figures, files and description.

    Parameters
    ----------
    tracked : Tracked
        Its folder holds predictions.parquet and run.json; ``evaluation/`` is written there, without report text.
    step : int
        Epochs that the model was trained for, so that a training that goes on logs its later outcome beside this one.
    """
    folder, config = tracked.journal.folder, tracked.config
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    evaluations = evaluate_run(folder, config)
    tracked.log_metrics(figures_of(record["test_auroc"], evaluations), step=step)
    tracked.log_values(tags={"mlflow.note.content": describe(config, evaluations, record)})
    for name in FILES:
        if (folder / name).exists():
            tracked.log_artifact(name)
    tracked.log_artifact(FOLDER)


def evaluate_run(folder: Path, config: RunConfig) -> list[Evaluation]:
    """Write ``folder/evaluation``: a page of all targets, its metrics.json, predictions.csv and calibration.json.

    Parameters
    ----------
    folder : Path
        Of a run; predictions hold keyed pseudonyms and no text. That its test figures are computed is counted there.
    config : RunConfig

    Returns
    -------
    list of Evaluation
        One a binary target; one that cannot be evaluated, since its test cases lack a class, is left out, and all are
        where no case was held out.
    """
    table = read_predictions(folder / "predictions.parquet")
    out = folder / FOLDER
    write_csv(out / "predictions.csv", table)
    calibration = _calibration(folder)
    (out / "calibration.json").write_text(json.dumps(calibration, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if "test" not in set(table["split"]):
        return []
    count_look(folder)
    background = background_of(folder, title=config.name)
    try:
        targets = [target.build() for target in config.targets]
        found = evaluate_targets(table, targets=targets, columns=background.columns)
    except MedfuseError as error:  # a finished training is no failure for want of a page
        log.warning("the test cases are not evaluated: %s", error)
        return []
    for name, one in found.items():
        for label, reason in one.refused.items():
            log.warning("%s is not evaluated: %s", f"{name} {label}".strip(), reason)
    write_evaluation_report(found, out, background=background)
    return [one for target in found.values() if target.kind == "binary" for one in target.by_class.values()]


def _calibration(folder: Path) -> dict[str, object]:
    """Return the calibration of a run's model, or of those of its folds."""
    found: dict[str, object] = {}
    for path in sorted(folder.glob("**/model/model.json")):
        where = path.parent.parent.relative_to(folder).as_posix()
        found[where] = json.loads(path.read_text(encoding="utf-8"))["calibration"]
    return found


def figures_of(areas: Mapping[str, float], evaluations: Sequence[Evaluation]) -> dict[str, float]:
    """Return the figures of a run by their names in MLflow.

    Parameters
    ----------
    areas : mapping of str to float
        AUROC by ``target/condition``.
    evaluations : sequence of Evaluation

    Returns
    -------
    dict of str to float
        ``test_auroc/<target>/<condition>``, on all cases that have the condition's inputs, and ``test_lift/<target>``,
        what both inputs add to the better one. Their intervals are in the description and the report.
    """
    figures = {f"test_auroc/{name}": float(value) for name, value in areas.items()}
    lifts = {one.target: one.comparisons["lift"] for one in evaluations if "lift" in one.comparisons}
    return figures | {f"test_lift/{target}": lift.difference for target, lift in lifts.items()}


def describe(config: RunConfig, evaluations: Sequence[Evaluation], record: Mapping[str, object]) -> str:
    """Say in a paragraph what a run is, on how many cases, what came out, and what that cannot say.

    Parameters
    ----------
    config : RunConfig
    evaluations : sequence of Evaluation
    record : mapping
        Of run.json.

    Returns
    -------
    str
        Markdown.
    """
    inputs = " and ".join(INPUTS[name] for name in config.model.modalities)
    targets = ", ".join(target.name for target in config.targets)
    said = [f"**{config.name}** predicts {targets} from {inputs}."]
    if isinstance(cases := record.get("cases"), Mapping):
        said.append(
            f"It was trained on {cases['train']} cases; {cases['validation']} others decided every choice, such as "
            f"epoch {int(str(record['best_epoch'])) + 1} of {record['epochs']}."
        )
    elif isinstance(folds := record.get("folds"), list):
        said.append(f"Each of {len(folds)} folds was tested by a model that never saw its patients.")
    for one in evaluations:
        main = "fused" if "fused" in one.metrics else next(iter(one.metrics))
        areas = [f"{name} {_area(one, name)}" for name in (main, *(n for n in one.metrics if n != main))]
        said.append(
            f"On {one.n} test cases of {one.n_patients} patients ({one.n_positive} positive for {one.target}) "
            f"the AUROC is {'; '.join(areas)} ({100 * one.level:g}% intervals)."
        )
        said += one.notes
    if isinstance(cases, Mapping) and not cases["test"]:
        said.append("No case was held out for a test: nothing says how good it is.")
    elif not evaluations:
        said.append("The test cases lack a class, so nothing could be evaluated.")
    if not record.get("is_complete", True):
        said.append("The time was up before the last epoch: this is the best model until then.")
    said += [*limits_of(config), "Research use only; the figures hold for cases like these."]
    return " ".join(said)


def _area(evaluation: Evaluation, condition: str) -> str:
    area = evaluation.metrics[condition]["auroc"]
    return f"{area.value:.3f} ({area.low:.3f} to {area.high:.3f})"
