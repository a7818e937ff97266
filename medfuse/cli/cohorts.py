"""Commands that turn public data sets into manifests."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from medfuse.cli.options import SOME_REFUSED, Out, Quiet, log

__all__ = ["cohort_lidc", "cohort_medmnist3d"]


class ImageKind(StrEnum):
    """What a cohort's images are."""

    rendered = "rendered"
    mask = "mask"
    ct = "ct"


class Size(StrEnum):
    """Whether a cohort's nodules keep their size."""

    keep = "keep"
    normalise = "normalise"


def cohort_lidc(
    *,
    out: Out,
    image: Annotated[
        ImageKind, typer.Option(help="CT rendered from the contours, the contours' mask, or the real CT.")
    ] = ImageKind.rendered,
    dicom: Annotated[Path | None, typer.Option(help="Folder of LIDC-IDRI's DICOM files, for --image ct.")] = None,
    size: Annotated[Size, typer.Option(help="True size, or every nodule scaled to one size.")] = Size.keep,
    text_size: Annotated[bool, typer.Option("--text-size", help="State the diameter in the reports.")] = False,
    seed: Annotated[int, typer.Option(help="Of the reporting reader, the noise and the wording.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Write the LIDC-IDRI cohort: OUT/manifest.csv, one folder a study, SOURCE.md."""
    from medfuse.cohorts import LidcOptions, build_cohort
    from medfuse.progress import bar, start_logging

    start_logging(quiet=quiet)
    options = LidcOptions(image=image.value, size=size.value, text_size=text_size, seed=seed)
    manifest = build_cohort(out, options=options, dicom=dicom, progress=bar("nodules", quiet=quiet))
    log.info("wrote %s", manifest)
    skipped = out / "skipped.csv"
    if dicom is not None and (n_skipped := len(skipped.read_text(encoding="utf-8").splitlines()) - 1):
        log.warning("left out %d nodules; see %s", n_skipped, skipped)
        raise typer.Exit(SOME_REFUSED)


def cohort_medmnist3d(
    source: Annotated[Path, typer.Argument(metavar="NPZ", help="A published file, such as adrenalmnist3d_64.npz.")],
    *,
    out: Out,
    quiet: Quiet = False,
) -> None:
    """Write a cohort of MedMNIST3D with its official split: OUT/manifest.csv, images, SOURCE.md."""
    from medfuse.cohorts import build_medmnist3d
    from medfuse.progress import bar, start_logging

    start_logging(quiet=quiet)
    log.info("wrote %s", build_medmnist3d(source, out, progress=bar("volumes", quiet=quiet)))
