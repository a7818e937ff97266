"""Predictions as a table, the trivial baselines beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfuse.config import BaselineConfig, RunConfig
from medfuse.data import Case, to_samples
from medfuse.errors import ConfigError, nearest_name
from medfuse.inference import Bundle, Predictor
from medfuse.inference.calibration import conditions_of
from medfuse.training.parts import Parts
from medfuse.types import Prediction, Target

__all__ = ["baseline_table", "baseline_tables", "prediction_table"]


def prediction_table(bundle: Bundle, cases: Sequence[Case], *, split: str, fold: int | None = None) -> pd.DataFrame:
    """Predict cases and lay the answers out as contract.md's predictions table.

    Parameters
    ----------
    bundle : Bundle
    cases : sequence of Case
    split : str
        ``"validation"`` or ``"test"``.
    fold : int, optional
        The fold that the model is tested on, by which validation and test rows of one model find each other;
        by default each case's own.

    Returns
    -------
    DataFrame
        One row a case, condition, target and class. Where the config names label terms that the model reads, each
        condition with text comes again as ``<condition>_masked``, with those terms masked.
    """
    by_id = {case.id: case for case in cases}
    tested = {} if fold is None else {"fold": fold}
    rows = []
    for prediction in _predictions(bundle, cases):
        case = by_id[prediction.case]
        if prediction.target not in case.targets:
            continue
        for condition, probabilities in prediction.probabilities.items():
            rows += [
                {
                    **_identity(case, split),
                    **tested,
                    "condition": condition,
                    "target": prediction.target,
                    "class": name,
                    "probability": probability,
                    "label": int(case.targets[prediction.target] == index),
                }
                for index, (name, probability) in enumerate(zip(prediction.classes, probabilities, strict=True))
            ]
    return pd.DataFrame(rows)


def _predictions(bundle: Bundle, cases: Sequence[Case]) -> list[Prediction]:
    predictor, preprocessing = Predictor(bundle), bundle.preprocessing
    found = predictor.predict_samples(to_samples(cases, preprocessing))
    text = preprocessing.text
    if "text" not in preprocessing.modalities or not text.mask_terms or text.mask == "always":
        return found
    masked = predictor.predict_samples(to_samples(cases, preprocessing.masked()))
    conditions = conditions_of(preprocessing.modalities)
    return [
        replace(
            one,
            probabilities={
                **one.probabilities,
                **{f"{name}_masked": p for name, p in other.probabilities.items() if "text" in conditions[name]},
            },
        )
        for one, other in zip(found, masked, strict=True)
    ]


def baseline_table(
    baseline: BaselineConfig, target: Target, *, train: Sequence[Case], test: Sequence[Case], split: str
) -> pd.DataFrame:
    """Fit a trivial model on the training cases and predict the test cases.

    Parameters
    ----------
    baseline : BaselineConfig
        Columns of the manifest.
    target : Target
    train, test : sequence of Case
    split : str

    Returns
    -------
    DataFrame
        As `prediction_table`, with condition ``baseline_<name>``.

    Raises
    ------
    ConfigError
        If the manifest has no such column, or a number is none.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train = [case for case in train if target.name in case.targets]
    test = [case for case in test if target.name in case.targets]
    features = _features(baseline, [*train, *test])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(features[: len(train)], [case.targets[target.name] for case in train])
    table = np.zeros((len(test), len(target.classes)))
    table[:, model.classes_] = model.predict_proba(features[len(train) :])
    rows = [
        {
            **_identity(case, split),
            "condition": f"baseline_{baseline.name}",
            "target": target.name,
            "class": name,
            "probability": float(p),
            "label": int(case.targets[target.name] == index),
        }
        for case, probabilities in zip(test, table, strict=True)
        for index, (name, p) in enumerate(zip(target.classes, probabilities, strict=True))
    ]
    return pd.DataFrame(rows)


def baseline_tables(config: RunConfig, parts: Parts) -> list[pd.DataFrame]:
    """Fit every baseline of a config on all but the test cases; return a table a baseline and target."""
    fitted = (*parts.train, *parts.validation)
    return [
        baseline_table(baseline, target.build(), train=fitted, test=parts.test, split="test")
        for baseline in config.baselines
        for target in config.targets
    ]


def _identity(case: Case, split: str) -> dict[str, object]:
    fold = case.row.get("fold", "")
    return {
        "case_id": str(case.id),
        "patient_key": case.patient_key,
        "split": split,
        "fold": int(fold) if fold.isdigit() else -1,
    }


def _features(baseline: BaselineConfig, cases: Sequence[Case]) -> NDArray[np.float64]:
    frame = pd.DataFrame([dict(case.row) for case in cases])
    where = f"baselines {baseline.name!r}"
    if not (baseline.numeric or baseline.categorical):
        raise ConfigError(where, "found no column", expected="numeric or categorical columns of the manifest")
    for column in (*baseline.numeric, *baseline.categorical):
        if column not in frame.columns:
            raise ConfigError(
                where, f"manifest.csv has no column {column!r}", expected=nearest_name(column, frame.columns)
            )
    try:
        numbers = frame[list(baseline.numeric)].astype(float)
        if not np.isfinite(numbers.to_numpy()).all():
            raise ValueError("not finite")
    except ValueError as error:
        raise ConfigError(where, "found a value that is no number", expected="numbers in numeric columns") from error
    columns = [numbers.to_numpy(float)]
    if baseline.categorical:
        columns.append(pd.get_dummies(frame[list(baseline.categorical)], dtype=float).to_numpy(float))
    return np.hstack(columns)
