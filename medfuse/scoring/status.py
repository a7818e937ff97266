"""How far a results folder is, told from the folder alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from medfuse.errors import UsageError
from medfuse.scoring import parts
from medfuse.scoring.ledger import read_run
from medfuse.scoring.locks import is_written
from medfuse.scoring.records import FINISHED

__all__ = ["RunStatus", "run_status"]


@dataclass(frozen=True, slots=True)
class RunStatus:
    """How far a run is.

    Parameters
    ----------
    state : {"running", "stopped", "finished"}
    model_id : str
    n_studies : int
        Of the input; 0 if not known yet.
    n_done : int
        Studies with results.
    n_scored, n_refused : int
        Cases.
    reasons : tuple of (reason, number)
        Of the refused, the most frequent first.
    flags : tuple of (flag, number)
        Of the scored.
    """

    state: str
    model_id: str
    n_studies: int
    n_done: int
    n_scored: int
    n_refused: int
    reasons: tuple[tuple[str, int], ...]
    flags: tuple[tuple[str, int], ...]

    def lines(self) -> list[str]:
        """Return it as text."""
        known = f" of {self.n_studies}, {max(0, self.n_studies - self.n_done)} left" if self.n_studies else ""
        return [
            f"{self.state}: {self.n_done} studies done{known}",
            f"cases: {self.n_scored} scored, {self.n_refused} refused (model {self.model_id})",
            *(f"refused {number}: {reason}" for reason, number in self.reasons),
            *(f"flagged {number}: {flag}" for flag, number in self.flags),
        ]


def run_status(folder: Path) -> RunStatus:
    """Read how far a results folder is; nothing is written, and a run that goes on is not disturbed.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    RunStatus

    Raises
    ------
    UsageError
        If it is no results folder, or damaged.
    """
    record = read_run(folder)
    if record is None:
        raise UsageError("--status", "found no run.json there", expected="the folder of a scoring run")
    reasons, flags, states = Counter[str](), Counter[str](), Counter[str]()
    n_done = 0
    for path in parts.part_paths(folder / "predictions"):
        n_done += len(parts.read_states(path))
        table = parts.read_part(path, columns=["status", "reason", "flags"]).to_pydict()
        states.update(table["status"])
        reasons.update(filter(None, table["reason"]))
        flags.update(flag for text in table["flags"] if text for flag in text.split("; "))
    state = "running" if is_written(folder) else FINISHED if record.get("state") == FINISHED else "stopped"
    return RunStatus(
        state,
        record["identity"].get("model_id", ""),
        int(record.get("studies", 0)),
        n_done,
        states["scored"],
        states["refused"],
        tuple(reasons.most_common()),
        tuple(flags.most_common()),
    )
