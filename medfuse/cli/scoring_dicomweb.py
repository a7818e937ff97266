"""What the command that scores does with a DICOMweb service: list, retrieve, send results back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from medfuse.cli.options import SHOWN_REASONS, log
from medfuse.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from medfuse.inference import Predictor
    from medfuse.io import Pseudonymizer, StudyEntry
    from medfuse.io.dicomweb import DicomWeb, ListedStudy
    from medfuse.scoring import Retrieval, ScoreOptions
    from medfuse.scoring.records import RunArguments

__all__ = ["list_service", "plan_lines", "retrieved_entries", "send_results"]


def list_service(arguments: RunArguments, options: ScoreOptions) -> tuple[DicomWeb, list[ListedStudy]]:
    """Open a service and list the studies that are asked for."""
    from medfuse.io.dicomweb import DicomWeb
    from medfuse.io.dicomweb_query import parse_query
    from medfuse.io.dicomweb_session import checked_address

    if options.share[1] > 1:
        raise UsageError("--num-parts", "found a DICOMweb service as INPUT", expected="one command, or more by --query")
    query = parse_query(arguments.query)
    service = DicomWeb(checked_address(arguments.source))
    listed = list(service.studies(query))
    if not listed:
        raise UsageError("INPUT", "the DICOMweb service lists no study", expected="studies, and a --query that fits")
    return service, listed


def plan_lines(listed: Sequence[ListedStudy], out: Path, names: Pseudonymizer) -> list[str]:
    """Say what a run would do; how long scoring takes is known only once studies are there."""
    from medfuse.scoring.retrieval import RetrievalRecord

    record = RetrievalRecord(out)
    left = [study for study in listed if not record.holds(names.study(study.study_uid), study.n_instances)]
    told = [study.n_instances for study in left if study.n_instances is not None]
    instances = f" with {sum(told)} instances" if len(told) == len(left) else ""
    place = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    return [
        f"{len(listed)} studies listed: {len(listed) - len(left)} retrieved, {len(left)} to retrieve{instances}",
        f"they take as much disk as at the service; free: {free / 1e9:.1f} GB",
    ]


def retrieved_entries(
    service: DicomWeb,
    listed: Sequence[ListedStudy],
    arguments: RunArguments,
    options: ScoreOptions,
    *,
    out: Path,
    predictor: Predictor,
    quiet: bool,
) -> tuple[Collection[StudyEntry], int]:
    """Retrieve what is not there yet; return all studies, and how many are older than the service's."""
    from medfuse.io import load_pseudonymizer
    from medfuse.progress import bar
    from medfuse.scoring import retrieve_studies
    from medfuse.scoring.engine import identity_of
    from medfuse.scoring.ledger import Ledger

    names = load_pseudonymizer(Path(arguments.key_file) if arguments.key_file else None)
    identity = identity_of(predictor, names, position=options.position)
    with Ledger(out, identity=identity):  # nobody else retrieves into it
        retrieval = retrieve_studies(
            service, listed, out=out, names=names, progress=bar("retrieved studies", quiet=quiet)
        )
    size = f"{retrieval.n_bytes / 1e9:.2f} GB"
    log.info("%d studies retrieved (%s), %d there before", retrieval.n_retrieved, size, retrieval.n_known)
    for key in retrieval.outdated[:SHOWN_REASONS]:
        log.warning("%s has changed at the service and could not be retrieved again: its earlier copy stays", key)
    return _entries(retrieval, arguments, predictor=predictor, names=names), len(retrieval.outdated)


def _entries(
    retrieval: Retrieval, arguments: RunArguments, *, predictor: Predictor, names: Pseudonymizer
) -> Collection[StudyEntry]:
    from medfuse.io.archive_store import kept_store
    from medfuse.io.inputs import FoundStudies
    from medfuse.scoring import RetrievedStudies

    found: Collection[StudyEntry] = []
    if len(retrieval.refused) < len(retrieval.listed):
        archive = FoundStudies(
            retrieval.folder,
            reports=Path(arguments.reports) if arguments.reports else None,
            rois=Path(arguments.rois) if arguments.rois else None,
            cache=kept_store(retrieval.folder),
        )
        found = archive.entries(unit=predictor.preprocessing.unit, rule=predictor.bundle.series)
        for reason, count in archive.reasons.most_common(SHOWN_REASONS):
            log.warning("refused %d: %s", count, reason)
    return RetrievedStudies(found, retrieval, names)


def send_results(service: DicomWeb, out: Path, *, quiet: bool) -> int:
    """Send the results; return of how many cases the service did not take them."""
    from medfuse.progress import bar
    from medfuse.scoring import store_results

    done = store_results(service, out, progress=bar("stored results", quiet=quiet))
    for case, why in list(done.refused.items())[:SHOWN_REASONS]:
        log.warning("results of %s are not stored: %s", case, why)
    told = (done.n_stored, done.n_known, len(done.refused))
    log.info("results of %d cases stored, of %d before, of %d not taken", *told)
    return len(done.refused)
