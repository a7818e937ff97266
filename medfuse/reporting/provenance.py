"""Where figures come from, as a run's own record says it."""

from __future__ import annotations

import json
from pathlib import Path

from medfuse.config import RunConfig, load_config
from medfuse.errors import UsageError

__all__ = ["design_of", "limits_of", "read_provenance", "read_settings"]

SHOWN = ("name", "model_id", "config_digest", "data_digest", "seed", "git_commit", "python", "command")


def read_provenance(run: Path) -> dict[str, str]:
    """Read what a reader needs to repeat a run.

    Parameters
    ----------
    run : Path
        A run's folder, with run.json.

    Returns
    -------
    dict of str to str

    Raises
    ------
    UsageError
        If there is no readable run.json.
    """
    try:
        record = json.loads((run / "run.json").read_text(encoding="utf-8"))
        versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
        return {**{key: str(record[key]) for key in SHOWN if record.get(key) not in ("", None)}, "versions": versions}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UsageError("run", "found no readable run.json", expected="a folder that medfuse train made") from error


def read_settings(run: Path) -> RunConfig:
    """Read the resolved configuration of a run.

    Parameters
    ----------
    run : Path
        A run's folder.

    Raises
    ------
    ConfigError
        If it cannot be read.
    """
    return load_config(run / "config.resolved.yaml")


def design_of(config: RunConfig) -> list[str]:
    """Return what a reader must know of how a run was made, from its configuration alone.

    Parameters
    ----------
    config : RunConfig

    Returns
    -------
    list of str
        Sentences.

    Examples
    --------
    >>> config = load_config({"targets": [{"name": "malignancy", "classes": ["no", "yes"]}]})
    >>> design_of(config)[1]
    'Of the reports the model reads the sections findings, impression.'
    """
    data, text = config.data, config.data.text
    which = "the manifest's split" if data.test_fold is None else f"fold {data.test_fold} of the manifest"
    tested = (
        f"Each of {data.folds} folds was tested by a model that never saw its patients."
        if data.folds
        else f"The test part is {which}; no patient is in two parts."
    )
    share = f"{data.validation_fraction:.0%} of the other patients"
    sentences = [f"{tested} Epoch, calibration and threshold were chosen on {share}."]
    if "text" in config.model.modalities:
        parts = f"the sections {', '.join(text.sections)}" if text.sections else "the whole text"
        sentences.append(f"Of the reports the model reads {parts}.")
        if text.mask_terms:
            terms = ", ".join(text.mask_terms)
            sentences.append(
                f"The model never reads these words or their synonyms: {terms}."
                if text.mask == "always"
                else f"Where label words are masked, these words and their synonyms are: {terms}."
            )
    return sentences


def limits_of(config: RunConfig) -> list[str]:
    """Return what the origin of a run's labels forbids to conclude.

    Parameters
    ----------
    config : RunConfig

    Returns
    -------
    list of str
        One sentence a target whose labels were read from the reports that the model reads.

    Examples
    --------
    >>> target = {"name": "nodule", "classes": ["no", "yes"], "labels_from": "report"}
    >>> len(limits_of(load_config({"targets": [target]})))
    1
    """
    reads_text = "text" in config.model.modalities
    return [
        f"The labels of {target.name} were read from the very reports that the model reads: a figure with the report "
        "shows that the model finds the label's words again, not that it finds disease."
        if reads_text
        else f"The labels of {target.name} were read from reports: they hold the mistakes of that reading."
        for target in config.targets
        if target.labels_from == "report"
    ]
