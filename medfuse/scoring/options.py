"""How to score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from medfuse.errors import UsageError
from medfuse.scoring.parts import key_of

__all__ = ["ScoreOptions"]


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """How to score.

    Parameters
    ----------
    position : {"require", "centre"}
        What to do with a study that has no lesion position: refuse it, or take the volume's centre.
    share : (int, int)
        Which of how many shares of the studies this command scores; others may score theirs into the same folder.
    retry_refused : bool
        Score the studies again of which a case was refused.
    study_seconds : float
        How long reading one study may take.
    workers : int
        Processes of this machine to score in; 0 for this one.
    scheduler : str
        Address of a scheduler of dask.distributed whose workers score.
    source : str
        Fingerprint of the input, kept with a finished run so that the next one need not look further.

    Raises
    ------
    UsageError
        If the share is none, or there are both workers and a scheduler.
    """

    position: Literal["require", "centre"] = "require"
    share: tuple[int, int] = (0, 1)
    retry_refused: bool = False
    study_seconds: float = 300.0
    workers: int = 0
    scheduler: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        part, n_parts = self.share
        if not 0 <= part < n_parts:
            raise UsageError("--part-id", f"found {part} of {n_parts} parts", expected="0 to --num-parts minus 1")
        if self.workers and self.scheduler:
            raise UsageError("--workers", "found a --scheduler too", expected="one of them")

    def takes(self, study_key: str) -> bool:
        """Tell whether a study is of this command's share."""
        return key_of(study_key) % self.share[1] == self.share[0]
