"""The grid of `medfuse compare`: which configurations, on which folds, from which seeds."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medfuse.config import RunConfig, load_config
from medfuse.errors import ConfigError, nearest_name
from medfuse.yaml_files import read_yaml

__all__ = ["Grid", "read_grid"]

Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]+$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+-]{1,60}$")]


class Grid(BaseModel):
    """Runs that are compared on the same cases.

    Parameters
    ----------
    config : str
        The configuration that all runs share, relative to the grid's file.
    evaluate_on : {"validation", "folds"}
        ``"validation"``: the inner validation cases of each fold, for choosing among many; no test case is looked at.
        ``"folds"``: the test cases of each fold, predicted out of sample.
    folds : tuple of int
        Folds of the manifest.
    seeds : tuple of int
        Of the trainings; the first one also draws the inner validation cases, the same for all.
    reference : str
        Run that the others are compared with.
    shared : mapping of str to value
        Overrides, by dotted key, of the configuration, for all runs.
    runs : mapping of str to mapping of str to value
        Those of each run.
    grid : mapping of str to mapping of str to mapping
        Further runs: every combination of one choice an axis. By axis, by the choice's name, its overrides.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: str
    evaluate_on: Literal["validation", "folds"] = "validation"
    folds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    reference: Name
    shared: dict[Key, Any] = {}
    runs: dict[Name, dict[Key, Any]] = {}
    grid: dict[Name, dict[Name, dict[Key, Any]]] = {}

    def overrides(self) -> dict[str, dict[str, Any]]:
        """Return the overrides of every run, those of the grid named by their choices, joined by "+"."""
        found = {name: dict(values) for name, values in self.runs.items()}
        if self.grid:
            for choices in product(*(axis.items() for axis in self.grid.values())):
                name = "+".join(choice for choice, _ in choices)
                found[name] = {key: value for _, values in choices for key, value in values.items()}
        return {name: {**self.shared, **values} for name, values in found.items()}

    def design(self) -> list[str]:
        """Return what a reader of the comparison must know, in sentences."""
        folds, seeds = (", ".join(map(str, numbers)) for numbers in (self.folds, self.seeds))
        cases = (
            f"Figures are on the test cases of folds {folds}, each predicted by models that never saw its patient."
            if self.evaluate_on == "folds"
            else f"Figures are on the inner validation cases of folds {folds}, where each epoch was chosen too: they "
            "are for choosing among models, and too good as an estimate. No test case was looked at."
        )
        return [
            cases,
            f"Every model was trained from the seeds {seeds}; with several, its AUROC is their mean.",
            "Intervals and p values are those of patients, not of seeds.",
        ]


def read_grid(path: Path) -> tuple[Grid, dict[str, RunConfig]]:
    """Read a grid and build the configuration of every run.

    Parameters
    ----------
    path : Path
        A YAML file.

    Returns
    -------
    grid : Grid
    configs : dict of str to RunConfig
        By run.

    Raises
    ------
    ConfigError
        Naming the key, what was found there, and what was expected.
    """
    content = read_yaml(path)
    try:
        grid = Grid.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        at = f"{path.name}: {'.'.join(map(str, first['loc'])) or 'grid'}"
        if first["type"] == "extra_forbidden":
            known = nearest_name(str(first["loc"][-1]), Grid.model_fields)
            raise ConfigError(at, "no such key", expected=known) from error
        raise ConfigError(at, "found a wrong value", expected=first["msg"].lower()) from error
    overrides = grid.overrides()
    if grid.reference not in overrides:
        raise ConfigError(
            f"{path.name}: reference", f"found {grid.reference!r}", expected=nearest_name(grid.reference, overrides)
        )
    base = path.parent / grid.config
    return grid, {name: _config_of(base, name, values) for name, values in overrides.items()}


def _config_of(base: Path, name: str, values: Mapping[str, Any]) -> RunConfig:
    try:
        # As YAML, a value says what a line of the configuration would.
        written = [f"{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in values.items()]
        config = load_config(base, overrides=written)
    except ConfigError as error:
        raise ConfigError(f"run {name!r}: {error.where}", error.found, expected=error.expected) from error
    return config.model_copy(update={"name": name})
