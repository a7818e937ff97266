"""The prepared images of a study's lesions, from the store where they are known, else from their source."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medfuse.data.intensity import restore
from medfuse.data.preprocessing import ImageFacts, Preprocessing
from medfuse.data.source_parts import VERSION, SourcePart, digest_of, prepare_steps
from medfuse.data.store import BoxStore, StoredBox
from medfuse.errors import DataError, MedfuseError
from medfuse.image_config import CacheConfig
from medfuse.io import LesionEntry, Pseudonymizer, StudyEntry, read_study
from medfuse.io.volumes import source_files

__all__ = ["CACHE_DIR", "PreparedImage", "Preparer", "open_store"]

CACHE_DIR = "MEDFUSE_CACHE_DIR"
"""Environment variable that names another folder than the user's own cache folder."""

GIGABYTE = 10**9


@dataclass(frozen=True, slots=True, eq=False)
class PreparedImage:
    """The image of one case: where its box lies, or in its absence what is known of it.

    Parameters
    ----------
    box : StoredBox or ndarray of uint16, optional
        In a store, or in memory where none is used; None if the case has no image or the model reads none.
    facts : ImageFacts, optional
        None if the case has no image.
    """

    box: StoredBox | NDArray[np.uint16] | None
    facts: ImageFacts | None

    def tensor(self) -> Tensor | None:
        """Return the image, shape (C, I, J, K), float32, in [0, 1]; read anew each time."""
        if self.box is None:
            return None
        return restore(self.box.read() if isinstance(self.box, StoredBox) else self.box)


def open_store(cache: CacheConfig) -> BoxStore | None:
    """Open the store that a configuration names; None if it wants none.

    Parameters
    ----------
    cache : CacheConfig

    Returns
    -------
    BoxStore or None

    Raises
    ------
    UsageError
        If its folder cannot be written.
    """
    from platformdirs import user_cache_path

    if not cache.max_gb:
        return None
    folder = Path(cache.folder or os.environ.get(CACHE_DIR) or user_cache_path("medfuse")) / "boxes"
    return BoxStore(folder, max_bytes=int(cache.max_gb * GIGABYTE))


@dataclass(frozen=True, slots=True)
class Preparer:
    """Prepares the images of a study's lesions, once for all runs where there is a store.

    Parameters
    ----------
    preprocessing : Preprocessing
        Its tokenizer is not needed.
    pseudonymizer : Pseudonymizer
    store : BoxStore, optional
        Without one the images stay in memory.
    """

    preprocessing: Preprocessing
    pseudonymizer: Pseudonymizer
    store: BoxStore | None = None

    def check_room(self, entries: Sequence[StudyEntry]) -> None:
        """Refuse studies whose images are more than the store may hold; see `BoxStore.check_room`."""
        if self.store is not None and "image" in self.preprocessing.modalities:
            n_images = sum(len(entry.lesions) for entry in entries if entry.images)
            self.store.check_room(n_images, self.preprocessing.image_bytes)

    def __call__(self, entry: StudyEntry, *, refusals: list[tuple[str, MedfuseError]]) -> dict[str, PreparedImage]:
        """Prepare what is not kept yet.

        Parameters
        ----------
        entry : StudyEntry
            With its lesions.
        refusals : list
            Gets (lesion_id, error) of each lesion that cannot be prepared; of the study as a whole with an empty id.

        Returns
        -------
        dict of str to PreparedImage
            By lesion_id, of all others.
        """
        if entry.refusal is not None:
            refusals.append(("", entry.refusal))
            return {}
        done: dict[str, PreparedImage] = {}
        reads_image = bool(entry.images) and "image" in self.preprocessing.modalities
        requests = _requests(entry, self.preprocessing) if self.store is not None and reads_image else {}
        for lesion_id, request in requests.items():
            if self.store is not None and (found := self.store.find(request)) is not None:
                done[lesion_id] = PreparedImage(found[0], ImageFacts(**found[1]))
        waiting = tuple(replace(part, report=None) for part in entry.lesions if part.lesion_id not in done)
        if not entry.images:
            return {part.lesion_id: PreparedImage(None, None) for part in waiting}
        if waiting:
            source = replace(entry, report=None, lesions=waiting)
            done |= self._prepare(source, requests, refusals)
        return done

    def _prepare(
        self, entry: StudyEntry, requests: Mapping[str, bytes], refusals: list[tuple[str, MedfuseError]]
    ) -> dict[str, PreparedImage]:
        bad: list[tuple[str, MedfuseError]] = []
        try:
            study = read_study(entry, pseudonymizer=self.pseudonymizer, refusals=bad, whole=False)
        except DataError as error:
            # Where each lesion has its own reason, the study's "no lesion can be read" would only hide them.
            refusals += bad or [("", error)]
            return {}
        refusals += bad
        done: dict[str, PreparedImage] = {}
        for lesion in study.lesions:
            try:
                facts = self.preprocessing.image_facts(study, lesion)
                parts = self.preprocessing.gather(study, lesion)
                box: StoredBox | NDArray[np.uint16] | None = None
                if parts is not None and facts is not None:
                    box = self._box(parts, facts, requests.get(lesion.lesion_id))
                done[lesion.lesion_id] = PreparedImage(box, facts)
            except DataError as error:
                refusals.append((lesion.lesion_id, error))
        return done

    def _box(
        self, parts: Sequence[SourcePart], facts: ImageFacts, request: bytes | None
    ) -> StoredBox | NDArray[np.uint16]:
        if self.store is None or request is None:
            return prepare_steps(parts)
        key = hashlib.sha256(digest_of(parts) + repr(tuple(facts)).encode()).digest()
        found = self.store.find_key(key, request=request)
        return found[0] if found else self.store.add(key, prepare_steps(parts), facts._asdict(), request=request)


def _requests(entry: StudyEntry, preprocessing: Preprocessing) -> dict[str, bytes]:
    """Return by lesion the digest of all that its box follows from, without opening a file; empty if one is gone."""
    try:
        versions = {key: [_version(path) for path in source_files(source)] for key, source in entry.images.items()}
        return {part.lesion_id: _request(part, entry, versions, preprocessing) for part in entry.lesions}
    except (OSError, DataError):
        return {}  # reading it names what is wrong


def _request(part: LesionEntry, entry: StudyEntry, versions: Mapping[str, Any], preprocessing: Preprocessing) -> bytes:
    images = dict(part.channels) or {key: key for key in versions}
    content = {
        "version": VERSION,
        "image": preprocessing.image.model_dump(mode="json"),
        "unit": entry.unit,
        "sources": {channel: [_how_read(entry, key), versions[key]] for channel, key in images.items()},
        "centre": part.centre,
        "size_mm": part.size_mm,
        "mask": None if part.mask is None else _version(part.mask),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()


def _how_read(entry: StudyEntry, key: str) -> str:
    """Tell what beside its files says which volume a source is: of several in one series, a time point's rule."""
    source = entry.images[key]
    return f"{type(source).__name__} {getattr(source, 'time_point', '')} {getattr(source, 'label', '')}"


def _version(path: Path) -> list[str | int]:
    """Tell one version of a file from all others, by what the file system says of it."""
    found = path.stat()
    return [os.fspath(path.absolute()), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
