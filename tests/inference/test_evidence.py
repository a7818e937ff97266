from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from medfuse.errors import BundleError
from medfuse.inference import Bundle, Evidence, Predictor, TrainingCases
from medfuse.inference.evidence import ARRAYS, WORDS, pack_evidence, unpack_evidence
from medfuse.training import Fit


@pytest.fixture
def bundle(toy_fit: Fit) -> Bundle:
    return toy_fit.bundle


def cases_of(evidence: Evidence) -> TrainingCases:
    assert evidence.training_cases is not None
    return evidence.training_cases


def test_what_is_packed_comes_back(bundle: Bundle) -> None:
    before = bundle.evidence
    after = unpack_evidence(pack_evidence(before), bundle.targets, "model")
    assert after.uncertainty == before.uncertainty
    assert set(after.uncertainty["malignancy"]) == {"fused", "image", "text"}
    assert before.novelty is not None
    assert after.novelty is not None
    for name in ("centre", "whitening", "limit", "promise", "n_validation", "n_alarms"):
        assert np.array_equal(getattr(after.novelty, name), getattr(before.novelty, name))
    one, two = cases_of(before), cases_of(after)
    assert (one.case_keys, one.targets) == (two.case_keys, two.targets)
    for name in ("embeddings", "labels"):
        assert getattr(one, name).keys() == getattr(two, name).keys()
        assert all(np.array_equal(getattr(one, name)[key], getattr(two, name)[key]) for key in getattr(one, name))
    assert np.array_equal(one.patients, two.patients)
    assert np.array_equal(one.images, two.images)
    assert pack_evidence(after) == pack_evidence(before)


def test_no_evidence_is_packed_as_none(bundle: Bundle) -> None:
    after = unpack_evidence(pack_evidence(Evidence()), bundle.targets, "model")
    assert (after.uncertainty, after.novelty, after.training_cases) == ({"malignancy": {}}, None, None)


def test_a_loaded_model_says_the_same_as_the_fitted_one(
    bundle: Bundle, toy_predictor: Predictor, toy_studies: list[Any]
) -> None:
    found = list(toy_predictor.predict_many(toy_studies))
    for study, [after] in zip(toy_studies, found, strict=True):
        [before] = Predictor(bundle).predict(study)
        assert (after.intervals, after.sets, after.novelty) == (before.intervals, before.sets, before.novelty)
        assert after.interval_kind == "Venn-Abers"
        assert (after.novelty is None) == ("image" not in after.modalities_used)


def test_no_name_and_no_text_is_kept(bundle: Bundle, toy: Any) -> None:
    content = b"".join(pack_evidence(bundle.evidence).values())
    assert not any(secret.encode() in content for secret in toy.secrets)


@pytest.mark.parametrize(
    "change",
    [
        lambda w, a: w.pop("uncertainty"),
        lambda w, a: w["uncertainty"].update(malignancy=3),
        lambda w, a: w["uncertainty"]["malignancy"]["image"]["sets"].update(cutoffs=[0.5, 2.0]),
        lambda w, a: w["uncertainty"]["malignancy"]["image"]["sets"].update(cutoffs=[0.5, 0.5, 0.5], n=[1, 1, 1]),
        lambda w, a: a.pop("uncertainty/malignancy/image/0/low"),
        lambda w, a: a["uncertainty/malignancy/image/0/low"].fill_(2.0),
        lambda w, a: w["novelty"].update(limit=0.0),
        lambda w, a: w["novelty"].pop("promise"),
        lambda w, a: a["novelty/whitening"].fill_(float("nan")),
        lambda w, a: a.update({"novelty/centre": a["novelty/centre"].float()}),
        lambda w, a: w["training_cases"].pop(),
        lambda w, a: a["labels/malignancy"].fill_(7),
        lambda w, a: a["embeddings/image"].fill_(float("inf")),
        lambda w, a: a.update({"known/patients": torch.zeros(2)}),
    ],
)
def test_a_wrong_value_is_refused(
    bundle: Bundle, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], object]
) -> None:
    files = pack_evidence(bundle.evidence)
    words, arrays = json.loads(files[WORDS]), load(files[ARRAYS])
    change(words, arrays)
    with pytest.raises(BundleError):
        unpack_evidence({WORDS: json.dumps(words).encode(), ARRAYS: save(arrays)}, bundle.targets, "model")
