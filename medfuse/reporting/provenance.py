"""Where figures come from, as a run's own record says it."""

from __future__ import annotations

import json
from pathlib import Path

from medfuse.errors import UsageError

__all__ = ["read_provenance"]

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
        return {**{key: str(record[key]) for key in SHOWN if record.get(key) != ""}, "versions": versions}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UsageError("run", "found no readable run.json", expected="a folder that medfuse train made") from error
