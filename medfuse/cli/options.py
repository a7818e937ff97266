"""What several commands share: options, exit codes, the log, and opening a model."""

from __future__ import annotations

import logging
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from medfuse.inference import Predictor

__all__ = [
    "FAILED", "SHOWN_REASONS", "SOME_REFUSED", "WRONG_USE", "JsonLog", "KeyFile", "Model", "Out", "Position",
    "Positions", "Quiet", "Reports", "Rois", "load_predictor", "log", "run_of",
]  # fmt: skip

log = logging.getLogger("medfuse")
FAILED, WRONG_USE, SOME_REFUSED = 1, 2, 3
SHOWN_REASONS = 20


class Position(StrEnum):
    """What to do with a case that has no lesion position."""

    require = "require"
    centre = "centre"


Out = Annotated[Path, typer.Option(help="Where the results go.")]
Model = Annotated[str, typer.Option(help="A model bundle, RUN/model, or in MLflow models:/NAME@candidate.")]
Reports = Annotated[
    Path | None,
    typer.Option(help="A CSV or JSONL table, HL7, DICOM SR, or a folder of these and <StudyInstanceUID>.txt."),
]
Rois = Annotated[Path | None, typer.Option(help="rois.csv with the lesion positions.")]
Positions = Annotated[Position, typer.Option(help="Without a lesion position: refuse, or take the volume's centre.")]
KeyFile = Annotated[Path | None, typer.Option(help="Key of the pseudonyms; by default the user's own.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show warnings and errors only.")]
JsonLog = Annotated[bool, typer.Option("--json-log", help="Log one JSON object a line.")]


def load_predictor(model: str) -> Predictor:
    """Load a bundle from its folder, or from MLflow."""
    from medfuse.inference import Predictor

    if not model.startswith(("models:/", "runs:/")):
        return Predictor.load(model)
    from medfuse.training import local_bundle

    with local_bundle(model) as folder:
        return Predictor.load(folder)


def run_of(model: str) -> Path | None:
    """Return the folder of the run that a bundle lies in; None of a model in MLflow."""
    return None if ":/" in model else Path(model).resolve().parent
