"""Commands on files as they come: index, convert, annotate, prepare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medfuse.cli.options import SOME_REFUSED, JsonLog, KeyFile, Out, Quiet, Reports, log
from medfuse.errors import UsageError

__all__ = ["annotate", "convert", "index", "prepare"]


def index(
    archive: Annotated[Path, typer.Argument(help="A folder, zip or tar of DICOM or NIfTI studies, or a DICOMDIR.")],
    *,
    out: Out,
    reports: Reports = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be read; write nothing.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Read every file, not only new ones.")] = False,
    key_file: KeyFile = None,
    quiet: Quiet = False,
    json_log: JsonLog = False,
) -> None:
    """Index an archive: OUT/index.parquet, refused.jsonl, summary.json. Reads only what is new or changed."""
    from medfuse.io import index_archive, load_pseudonymizer
    from medfuse.io.archive import plan_index
    from medfuse.io.archive_store import forget, kept_store
    from medfuse.progress import counted, start_logging

    start_logging(quiet=quiet, json_log=json_log)
    cache = kept_store(archive)
    if dry_run:
        n_files, n_new = plan_index(archive, cache=cache)
        typer.echo(f"{n_files} files, of which {n_files if fresh else n_new} would be read")
        return
    names = load_pseudonymizer(key_file)
    if fresh:
        forget(cache)
    found = index_archive(archive, reports=reports, cache=cache, count=counted("files", quiet=quiet))
    found.save(out, pseudonymizer=names)
    log.info("%d series, %d refused; see %s", len(found.series), len(found.refused), out)
    if len(found.refused):
        raise typer.Exit(SOME_REFUSED)


def convert(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A DICOM file, or a folder, zip or tar of them.")],
    *,
    out: Annotated[Path, typer.Option(help="A folder; or a name in .nii or .nii.gz, for exactly one volume.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    key_file: KeyFile = None,
    quiet: Quiet = False,
) -> None:
    """Convert DICOM to NIfTI: OUT/<series key>.nii.gz and .json, one pair a volume."""
    from medfuse.io import load_pseudonymizer
    from medfuse.io.convert import convert
    from medfuse.progress import bar, start_logging

    start_logging(quiet=quiet)
    names = load_pseudonymizer(key_file)
    done = convert(source, out, pseudonymizer=names, overwrite=overwrite, progress=bar("volumes", quiet=quiet))
    for key, error in done.refused:
        log.warning("refused %s: %s", key, error)
    log.info("wrote %d volumes to %s", len(done.written), out)
    if done.refused:
        raise typer.Exit(SOME_REFUSED)


def annotate(
    source: Annotated[
        Path,
        typer.Argument(metavar="FILE_OR_CSV", help="A CSV, JSONL, report file (also RTF, HTML, XML, HL7) or folder."),
    ],
    *,
    out: Annotated[Path, typer.Option(help="FILE.jsonl: a line a report, with offsets and without text.")],
    column: Annotated[str, typer.Option(help="Column with the text; by default report_text, report or text.")] = "",
    text: Annotated[bool, typer.Option("--text", help="Write the reports' text too.")] = False,
    deidentify: Annotated[
        bool, typer.Option("--deidentify", help="Replace identity in that text by rule: best effort, never complete.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="Also a page that shows the first reports, with their text.")
    ] = None,
    shown: Annotated[int, typer.Option(min=1, help="Reports on that page.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    quiet: Quiet = False,
    json_log: JsonLog = False,
) -> None:
    """Annotate reports: sections, sentences, findings with status, labels. A bad report is refused by its row."""
    from medfuse.io.report_rows import read_report_rows
    from medfuse.progress import counted, start_logging
    from medfuse.scoring import TextUse, annotate_reports

    start_logging(quiet=quiet, json_log=json_log)
    if deidentify and not (text or html):
        raise UsageError("--deidentify", "found no text to be written", expected="--text or --html with it")
    if html is not None and html.exists() and not overwrite:
        raise UsageError("--html", "found a file that exists", expected="a new name, or --overwrite")
    use = TextUse(text, deidentify, shown if html else 0)
    rows = read_report_rows(source, column=column)
    done = annotate_reports(rows, out, use=use, overwrite=overwrite, count=counted("reports", quiet=quiet))
    for what, named, n_all in (("warning", done.warned, done.n_warned), ("refused", done.refused, done.n_refused)):
        for row, reason in named:
            log.warning("%s row %d: %s", what, row, reason)
        if n_all > len(named):
            log.warning("%s %d more; see %s", what, n_all - len(named), out)
    if html is not None:
        from medfuse.reporting import write_annotated_reports

        log.info("wrote %s", write_annotated_reports(done.shown, html, is_deidentified=deidentify))
    log.info("%d annotated, %d refused; see %s", done.n_annotated, done.n_refused, out)
    if done.n_refused:
        raise typer.Exit(SOME_REFUSED)


def prepare(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="manifest.csv.")],
    *,
    config: Annotated[Path, typer.Option(help="A YAML file, as in configs/.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key: data.cache.max_gb=50.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 takes one a core.")] = 0,
    key_file: KeyFile = None,
    quiet: Quiet = False,
    json_log: JsonLog = False,
) -> None:
    """Prepare a manifest's images and keep them (data.cache), so that no training waits. Goes on where it stopped."""
    from medfuse.config import load_config
    from medfuse.progress import bar, start_logging

    settings = load_config(config, overrides=set_ or [])
    start_logging(quiet=quiet, json_log=json_log)
    from medfuse.data import Preprocessing, fill_store
    from medfuse.data.filling import usable_cores
    from medfuse.io import load_pseudonymizer, read_manifest

    done = fill_store(
        read_manifest(manifest),
        preprocessing=Preprocessing(settings.data.image, settings.data.text, settings.data.unit, ("image",)),
        cache=settings.data.cache,
        pseudonymizer=load_pseudonymizer(key_file),
        workers=workers or usable_cores(),
        progress=bar("studies", quiet=quiet),
    )
    for study_key, lesion_id, reason in done.refused:
        log.warning("refused %s %s: %s", study_key, lesion_id, reason)
    log.info("%d images prepared, %d known before, %d refused", done.n_made, done.n_known, len(done.refused))
    if done.refused:
        raise typer.Exit(SOME_REFUSED)
