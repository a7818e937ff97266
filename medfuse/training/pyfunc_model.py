"""The model as MLflow serves it: folders of studies in, one row a case, condition and class out.

MLflow runs this file to load a logged model (models from code), so that nothing is pickled.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel

from medfuse.errors import MedfuseError
from medfuse.inference import Predictor
from medfuse.io import find_studies, load_pseudonymizer, read_study

COLUMNS = ["row", "status", "reason", "case_id", "target", "condition", "class", "probability"]


class MedfuseModel(PythonModel):
    """Score the studies that a column ``study`` names."""

    def load_context(self, context: Any) -> None:
        """Load the bundle that was logged with the model."""
        self.predictor = Predictor.load(Path(context.artifacts["bundle"]))
        self.names = load_pseudonymizer()

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Return one row a case, target, condition and class.

        Parameters
        ----------
        context : object
            MLflow's; not used after loading.
        model_input : DataFrame
            Column ``study``: paths that `medfuse.io.find_studies` reads.
        params : object
            Not used.

        Returns
        -------
        DataFrame
            Columns ``row`` (of the input, counted from 0), ``status`` (``"scored"`` or ``"refused"``), ``reason``,
            ``case_id``, ``target``, ``condition``, ``class`` and ``probability``. What is refused is one row with its
            reason and no probability; the other studies go on.
        """
        rows = [(row, *found) for row, path in enumerate(model_input["study"]) for found in self._score(Path(path))]
        return pd.DataFrame(rows, columns=COLUMNS).astype({"row": "int64", "probability": "float64"})

    def _score(self, path: Path) -> Iterator[tuple[object, ...]]:
        bundle = self.predictor.bundle
        try:
            entries, refused = find_studies(path, unit=self.predictor.preprocessing.unit, rule=bundle.series)
        except MedfuseError as error:
            yield _refused(str(error))
            return
        yield from (_refused(str(reason)) for reason in refused["reason"])
        for entry in entries:
            try:
                predictions = self.predictor.predict(read_study(entry, pseudonymizer=self.names))
            except MedfuseError as error:
                yield _refused(str(error))
                continue
            for prediction in predictions:
                for condition, values in prediction.probabilities.items():
                    for name, probability in zip(prediction.classes, values, strict=True):
                        yield "scored", "", str(prediction.case), prediction.target, condition, name, probability


def _refused(reason: str) -> tuple[object, ...]:
    return "refused", reason, "", "", "", "", float("nan")


mlflow.models.set_model(MedfuseModel())
