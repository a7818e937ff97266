"""The model as MLflow serves it: a folder of a study in, one row a case, condition and class out.

MLflow runs this file to load a logged model (models from code), so that nothing is pickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel

from medfuse.inference import Predictor
from medfuse.io import find_studies, load_pseudonymizer, read_study


class MedfuseModel(PythonModel):
    """Score the studies that a column ``study`` names."""

    def load_context(self, context: Any) -> None:
        """Load the bundle that was logged with the model."""
        self.predictor = Predictor.load(Path(context.artifacts["bundle"]))

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
        """
        pseudonymizer = load_pseudonymizer()
        unit = self.predictor.preprocessing.unit
        rows = []
        for path in model_input["study"]:
            entries, _ = find_studies(Path(path), unit=unit)
            for entry in entries:
                for prediction in self.predictor.predict(read_study(entry, pseudonymizer=pseudonymizer)):
                    rows += [
                        (str(prediction.case), prediction.target, condition, name, probability)
                        for condition, values in prediction.probabilities.items()
                        for name, probability in zip(prediction.classes, values, strict=True)
                    ]
        return pd.DataFrame(rows, columns=["case_id", "target", "condition", "class", "probability"])


mlflow.models.set_model(MedfuseModel())
