"""What a variant of a fault case is, and how a sound study is copied to make one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Sound", "Variant", "copy_sound", "variant_row"]

LIMITS = {"max_seconds": 60, "max_rss_mb": 3000}


@dataclass(frozen=True)
class Sound:
    """Sound inputs that the variants start from.

    Parameters
    ----------
    dicom, nifti : Path
        Study folders, each with a report.
    manifest : Path
        A folder with manifest.csv and its files.
    model : Path
        A bundle.
    config : Path
        A configuration that trains.
    """

    dicom: Path
    nifti: Path
    manifest: Path
    model: Path
    config: Path


@dataclass(frozen=True)
class Variant:
    """One more fault.

    Parameters
    ----------
    make : callable
        Fills a folder that is there.
    verdicts : str
        What it may end as, of ``refuse``, ``warn``, ``flag`` and ``continue``, the first being the best.
    words : str
        Regular expression, which the reason or the warning matches.
    kind : str
        Type of input.
    """

    make: Callable[[Path, Sound], None]
    verdicts: str
    words: str = ""
    kind: str = "study"


def variant_row(name: str, group: str, variant: Variant) -> dict[str, Any]:
    """Return a variant as cases.json has a case."""
    verdict, *others = variant.verdicts.split()
    words = [variant.words] if variant.words else []
    return {
        "id": name, "group": group, "heldout": False, "why": "", "input": {"type": variant.kind, "path": name},
        "expect": {"verdict": verdict, "also_accept": others, "words_any": words, **LIMITS},
    }  # fmt: skip


def copy_sound(source: Path, to: Path, *, without: Sequence[str] = ()) -> Path:
    """Copy a folder, whatever rights its files have, and return where it went."""
    shutil.copytree(
        source, to, copy_function=shutil.copyfile, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*without)
    )
    for path in (to, *to.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return to
