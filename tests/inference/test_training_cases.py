from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from medfuse.data.intensity import restore
from medfuse.errors import BundleError, UsageError
from medfuse.inference import TrainingCases
from medfuse.inference.training_cases import even_part, fingerprint, image_fingerprint
from medfuse.types import Target

TARGETS = (Target("malignancy", "binary", ("no", "yes")), Target("kind", "multiclass", ("a", "b", "c")))


def unit(n: int, *, seed: int) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(n, 6))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def kept(n: int = 50) -> TrainingCases:
    rng = np.random.default_rng(0)
    return TrainingCases(
        tuple(f"S{row}-1" for row in range(n)),
        {"image": unit(n, seed=1).astype(np.float16), "text": unit(n, seed=2).astype(np.float16)},
        {
            "malignancy": rng.integers(-1, 2, n).astype(np.int16),
            "kind": rng.integers(-1, 3, n).astype(np.int16),
        },
        TARGETS,
        np.array(sorted(fingerprint(f"P{row}".encode()) for row in range(n))),
        np.array([], dtype=np.int64),
    )


def test_nearest_of_one_modality_are_those_of_scikit_learn() -> None:
    cases, query = kept(), unit(1, seed=9)[0]
    distances, rows = NearestNeighbors(n_neighbors=7, metric="cosine").fit(cases.embeddings["text"]).kneighbors([query])
    found = cases.nearest({"text": query}, 7)
    assert [one.case_key for one in found] == [f"S{row}-1" for row in rows[0]]
    assert [one.similarity for one in found] == pytest.approx((1 - distances[0]).tolist(), abs=2e-3)


def test_a_training_case_is_nearest_to_itself_and_says_its_labels() -> None:
    cases = kept()
    for row in (0, 7, 49):
        [found] = cases.nearest({name: array[row] for name, array in cases.embeddings.items()}, 1)
        assert found.case_key == f"S{row}-1"
        assert found.similarity == pytest.approx(1, abs=2e-3)
        expected = {t.name: t.classes[cases.labels[t.name][row]] for t in TARGETS if cases.labels[t.name][row] >= 0}
        assert found.labels == expected


def test_cases_are_compared_by_the_modalities_that_both_have() -> None:
    cases = kept()
    images = cases.embeddings["image"].copy()
    images[:10] = 0
    cases = replace(cases, embeddings={**cases.embeddings, "image": images})
    query = {"image": unit(1, seed=3)[0], "text": unit(1, seed=4)[0]}
    found = {one.case_key: one.similarity for one in cases.nearest(query, 50)}
    text = cases.embeddings["text"].astype(float) @ query["text"]
    both = (images.astype(float) @ query["image"] + text) / 2
    assert len(found) == 50
    assert found["S3-1"] == pytest.approx(text[3], abs=1e-5)
    assert found["S30-1"] == pytest.approx(both[30], abs=1e-5)
    assert len(cases.nearest({"image": query["image"], "text": np.zeros(6)}, 50)) == 40


def test_another_modality_or_size_is_refused() -> None:
    with pytest.raises(UsageError, match="found 'pathology'"):
        kept().nearest({"pathology": np.zeros(6)})
    with pytest.raises(UsageError, match=r"found shape \(7,\)"):
        kept().nearest({"text": np.zeros(7)})


def test_patients_and_images_are_known_again_and_not_named() -> None:
    image = restore(np.arange(24, dtype=np.uint16).reshape(1, 2, 3, 4))
    cases = replace(kept(), images=np.array([image_fingerprint(image)]))
    assert cases.n_known_patients(["P3", "P3", "P49", "P50", "other"]) == 2
    assert cases.n_known_images([image, image + 1 / 65535, image.reshape(1, 4, 3, 2)]) == 1
    assert kept().n_known_images([image]) == 0


@given(steps=st.lists(st.integers(0, 65535), min_size=8, max_size=8))
def test_an_image_keeps_its_fingerprint_through_its_floats(steps: list[int]) -> None:
    whole = np.array(steps, dtype=np.uint16).reshape(1, 2, 2, 2)
    expected = fingerprint(str(whole.shape).encode() + whole.tobytes())
    assert image_fingerprint(restore(whole)) == expected
    assert image_fingerprint(restore(whole).to(memory_format=torch.contiguous_format)) == expected


@given(n=st.integers(1, 500), bytes_each=st.integers(1, 50), at_most=st.integers(1, 2000))
def test_what_is_kept_fits_and_is_spread_evenly(n: int, bytes_each: int, at_most: int) -> None:
    rows = list(even_part(n, bytes_each=bytes_each, at_most=at_most))
    assert len(rows) == min(n, max(at_most // bytes_each, 1))
    assert rows == sorted(set(rows))
    assert rows[-1] < n
    assert max(np.diff(rows), default=1) - min(np.diff(rows), default=1) <= 1


@pytest.mark.parametrize(
    "change",
    [
        {"case_keys": ("S0-1",)},
        {"labels": {}},
        {"labels": {"malignancy": np.full(50, 2, np.int16), "kind": np.zeros(50, np.int16)}},
        {"embeddings": {"image": np.full((50, 6), np.inf, np.float16)}},
        {"embeddings": {"image": np.zeros(50, np.float16)}},
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(BundleError, match="arrays that do not fit"):
        replace(kept(), **change)  # type: ignore[arg-type]
