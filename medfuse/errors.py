"""Every error that medfuse raises on purpose.

The whole tree::

    MedfuseError                     where: what was found; expected what
     +-- UsageError                  the command line or an argument is wrong     (exit 2, nothing written)
     |    +-- ConfigError            a configuration file or override is wrong
     |    +-- ManifestError          a manifest or rois table is wrong
     |    +-- BundleError            a saved model cannot be trusted or loaded
     +-- DataError                   one study, series, file or report is refused (exit 3, the rest goes on)
     |    +-- VolumeError            a file or series is no true volume
     |    |    +-- GeometryError     positions, spacing or orientation are missing or contradict each other
     |    |    +-- PixelError        pixel data are missing, of the wrong size or unreadable
     |    |    +-- AmbiguousVolumeError   more than one volume where one was asked for
     |    +-- ReportTextError        a report cannot be read as text
     |    +-- LesionPositionError    a lesion has no position, or one outside its image
     |    +-- LabelError             labels cannot be used as targets
     |    +-- RetrievalError         a server does not give a study, or does not take its results
     +-- TrainingError               a training run cannot go on                  (exit 1)
     +-- ScoringError                a scoring run cannot go on; what is done is kept   (exit 1)

A message never carries a value that could identify a patient: it names columns, rows, keywords, counts and
file positions.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "AmbiguousVolumeError",
    "BundleError",
    "ConfigError",
    "DataError",
    "GeometryError",
    "LabelError",
    "LesionPositionError",
    "ManifestError",
    "MedfuseError",
    "PixelError",
    "ReportTextError",
    "RetrievalError",
    "ScoringError",
    "TrainingError",
    "UsageError",
    "VolumeError",
    "nearest_name",
]


class MedfuseError(Exception):
    """Base of all errors raised on purpose.

    Parameters
    ----------
    where : str
        The file, row, key or argument at fault, without any patient value.
    found : str
        What was found there.
    expected : str, optional
        What would have been right.

    Examples
    --------
    >>> str(MedfuseError("manifest.csv row 3", "found no 'study_uid'", expected="a study_uid in each row"))
    "manifest.csv row 3: found no 'study_uid'; expected a study_uid in each row"
    """

    def __init__(self, where: str, found: str, *, expected: str = "") -> None:
        self.where = where
        self.found = found
        self.expected = expected
        super().__init__(f"{where}: {found}" + (f"; expected {expected}" if expected else ""))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.where, self.found, self.expected)


def _rebuild(kind: type[MedfuseError], where: str, found: str, expected: str) -> MedfuseError:
    return kind(where, found, expected=expected)


class UsageError(MedfuseError):
    """The command line or an argument is wrong."""


class ConfigError(UsageError):
    """A configuration file or an override is wrong."""


class ManifestError(UsageError):
    """A manifest or a rois table is wrong."""


class BundleError(UsageError):
    """A saved model cannot be trusted or loaded."""


class DataError(MedfuseError):
    """One study, series, file or report is refused; the others go on."""


class VolumeError(DataError):
    """A file or series is no true volume."""


class GeometryError(VolumeError):
    """Positions, spacing or orientation are missing or contradict each other."""


class PixelError(VolumeError):
    """Pixel data are missing, of the wrong size or unreadable."""


class AmbiguousVolumeError(VolumeError):
    """More than one volume was found where exactly one was asked for."""


class ReportTextError(DataError):
    """A report cannot be read as text."""


class LesionPositionError(DataError):
    """A lesion has no position, or one that lies outside its image."""


class LabelError(DataError):
    """Labels cannot be used as targets."""


class RetrievalError(DataError):
    """A server does not give a study, or does not take its results."""


class TrainingError(MedfuseError):
    """A training run cannot go on."""


class ScoringError(MedfuseError):
    """A scoring run cannot go on; what is done is kept."""


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the known name nearest to a mistyped one.

    Parameters
    ----------
    name : str
        The name that was not found.
    known : iterable of str
        The names that exist.

    Returns
    -------
    str
        All known names, sorted, and the nearest one where any is near.

    Examples
    --------
    >>> nearest_name("lerning_rate", ["epochs", "learning_rate"])
    "one of 'epochs', 'learning_rate' (did you mean 'learning_rate'?)"
    """
    names = sorted(known)
    listed = "one of " + ", ".join(repr(n) for n in names) if names else "no such name"
    close = difflib.get_close_matches(name, names, n=1)
    return listed + (f" (did you mean {close[0]!r}?)" if close else "")
