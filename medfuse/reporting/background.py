"""What stands beside the numbers of an evaluation: how the run was made, who was studied, what was looked at."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from medfuse.config import RunConfig
from medfuse.errors import UsageError
from medfuse.reporting.catalogue import open_catalogue
from medfuse.reporting.cohort_tables import FIXED, LABEL
from medfuse.reporting.looks import looks_so_far
from medfuse.reporting.provenance import design_of, limits_of, read_record, read_settings, stamp_of

if TYPE_CHECKING:
    from medfuse.evaluation import LearningCurve, ReaderAgreement
    from medfuse.reporting.thumbnails import WorstCase

__all__ = ["Background", "background_of", "read_cohort"]


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """What is known of an evaluation beside its numbers; what is None or empty is "not available" on the page.

    Parameters
    ----------
    title : str
    provenance : mapping of str to str
        Config and data digests, seed, versions, command; shown as given.
    design, limits : tuple of str
        Sentences of whoever made the data: how, and what the figures cannot say.
    config : RunConfig, optional
    record : mapping
        Of run.json.
    cohort : DataFrame, optional
        A row a case; see `medfuse.data.write_cohort`.
    cohort_facts : mapping, optional
    n_weights : int, optional
        Numbers that the model learnt.
    looks : int
        How often the test figures of the run were computed; 0 if nobody counted.
    is_external : bool
        Whether the cases are another site's, which no choice was made on.
    worst : tuple of WorstCase
    readers : ReaderAgreement, optional
        Of several readers on the evaluated cases.
    learning : LearningCurve, optional
        Where several models are one configuration, trained on more and more cases.
    """

    title: str
    provenance: Mapping[str, str] = field(default_factory=dict)
    design: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    config: RunConfig | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    cohort: pd.DataFrame | None = None
    cohort_facts: Mapping[str, Any] | None = None
    n_weights: int | None = None
    looks: int = 0
    is_external: bool = False
    worst: tuple[WorstCase, ...] = ()
    readers: ReaderAgreement | None = None
    learning: LearningCurve | None = None

    @property
    def columns(self) -> pd.DataFrame | None:
        """Free columns of the cohort by case_id, to make subgroups of."""
        if self.cohort is None:
            return None
        free = [name for name in self.cohort.columns if name not in FIXED and not name.startswith(LABEL)]
        return self.cohort.set_index("case_id")[free]


def background_of(run: Path, *, title: str, language: str = "en") -> Background:
    """Read what a run's folder says of itself.

    Parameters
    ----------
    run : Path
        A folder that `medfuse train` made.
    title : str
    language : {"en", "zh"}
        Of the sentences on its design.

    Returns
    -------
    Background

    Raises
    ------
    UsageError
        If there is no readable run.json, or a file of the cohort is damaged.
    ConfigError
        If its configuration cannot be read.
    """
    record, config, say = read_record(run), read_settings(run), open_catalogue(language)
    cohort, facts = read_cohort(run)
    return Background(
        title,
        stamp_of(record),
        tuple(design_of(config, say)),
        tuple(limits_of(config, say)),
        config=config,
        record=record,
        cohort=cohort,
        cohort_facts=facts,
        n_weights=_n_weights(run / "model" / "weights.safetensors"),
        looks=looks_so_far(run),
    )


def read_cohort(folder: Path) -> tuple[pd.DataFrame | None, dict[str, Any] | None]:
    """Read what was recorded of a run's cases; None where an older version recorded nothing.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    UsageError
        If a file is there and cannot be read.
    """
    table, facts = folder / "cohort.parquet", folder / "cohort.json"
    try:
        return (
            pd.read_parquet(table) if table.exists() else None,
            json.loads(facts.read_text(encoding="utf-8")) if facts.exists() else None,
        )
    except (OSError, ValueError) as error:
        raise UsageError(
            "cohort of the run", f"cannot be read ({type(error).__name__})", expected="as medfuse train wrote it"
        ) from error


def _n_weights(path: Path) -> int | None:
    """Count a model's weights from the head of its file: 8 bytes of length, then the shapes as JSON."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            shapes = json.loads(file.read(min(length, 10**8)))
        return sum(int(math.prod(entry["shape"])) for name, entry in shapes.items() if name != "__metadata__")
    except (OSError, ValueError, KeyError, TypeError):
        return None
