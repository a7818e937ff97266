"""Where figures come from, as a run's own record says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medfuse.config import RunConfig, load_config
from medfuse.errors import UsageError
from medfuse.reporting.catalogue import open_catalogue

if TYPE_CHECKING:
    from medfuse.reporting.catalogue import Catalogue

__all__ = ["design_of", "limits_of", "read_provenance", "read_record", "read_settings", "stamp_of"]

SHOWN = ("name", "model_id", "config_digest", "data_digest", "seed", "git_commit", "python", "command")


def read_record(run: Path) -> dict[str, Any]:
    """Read a run's run.json.

    Parameters
    ----------
    run : Path
        A run's folder.

    Raises
    ------
    UsageError
        If there is no readable run.json.
    """
    try:
        record: dict[str, Any] = json.loads((run / "run.json").read_text(encoding="utf-8"))
        stamp_of(record)
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UsageError("run", "found no readable run.json", expected="a folder that medfuse train made") from error
    return record


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
    return stamp_of(read_record(run))


def stamp_of(record: dict[str, Any]) -> dict[str, str]:
    """Return what a reader needs to repeat a run, from its record.

    Parameters
    ----------
    record : dict
        Of run.json.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> stamp_of({"seed": 0, "versions": {"numpy": "2.4"}})
    {'seed': '0', 'versions': 'numpy 2.4'}
    """
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return {**{key: str(record[key]) for key in SHOWN if record.get(key) not in ("", None)}, "versions": versions}


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


def design_of(config: RunConfig, say: Catalogue | None = None) -> list[str]:
    """Return what a reader must know of how a run was made, from its configuration alone.

    Parameters
    ----------
    config : RunConfig
    say : Catalogue, optional
        By default the English one.

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
    say = say or open_catalogue("en")
    data, text = config.data, config.data.text
    if data.folds:
        tested = say("design.folds", n=data.folds)
    elif data.test_fold is None:
        tested = say("design.split")
    else:
        tested = say("design.fold", fold=data.test_fold)
    share = f"{data.validation_fraction:.0%}"
    sentences = [f"{tested}{say('sentence.gap')}{say('design.chosen', share=share)}"]
    if "text" in config.model.modalities:
        sections = say("design.sections", sections=", ".join(text.sections))
        sentences.append(sections if text.sections else say("design.whole_text"))
        if text.mask_terms:
            masked = "always" if text.mask == "always" else "compare"
            sentences.append(say(f"design.masked_{masked}", terms=", ".join(text.mask_terms)))
    return sentences


def limits_of(config: RunConfig, say: Catalogue | None = None) -> list[str]:
    """Return what the origin of a run's labels forbids to conclude.

    Parameters
    ----------
    config : RunConfig
    say : Catalogue, optional
        By default the English one.

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
    say = say or open_catalogue("en")
    key = "limit.labels_read" if "text" in config.model.modalities else "limit.labels_from_reports"
    return [say(key, target=target.name) for target in config.targets if target.labels_from == "report"]
