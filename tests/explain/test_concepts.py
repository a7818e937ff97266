from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from medfuse.config import AttributeConfig, RunConfig
from medfuse.data import Case, to_samples
from medfuse.explain.case_logit import CaseLogit
from medfuse.explain.concepts import read_concepts
from medfuse.inference import Predictor, predict_logits, save_bundle
from medfuse.training import Fit, fit
from medfuse.training.parts import split_cases


@pytest.fixture(scope="module")
def learnt(toy_config: RunConfig, toy_cases: Sequence[Case]) -> tuple[Fit, Sequence[Case]]:
    """A model that learns the margin, in three grades, beside the malignancy."""
    grades = {"spiculated": "3", "smooth": "1"}

    def graded(case: Case) -> Case:
        word = next((w for w in grades if case.text and w in case.text.text), "")
        return replace(case, row={**case.row, "margin": grades.get(word, "")})

    cases = [graded(case) for case in toy_cases]
    attribute = AttributeConfig(column="margin", kind="ordinal", classes=("1", "2", "3"))
    config = toy_config.model_copy(update={"attributes": (attribute,)})
    parts = split_cases(cases, config.data, seed=0)
    return fit(config, train=parts.train, validation=parts.validation), parts.test


def test_the_model_says_what_it_reads_of_an_attribute(learnt: tuple[Fit, Sequence[Case]], tmp_path: Path) -> None:
    done, test = learnt
    save_bundle(done.bundle, tmp_path / "model")
    loaded = Predictor.load(tmp_path / "model")
    assert loaded.bundle.attributes == done.bundle.attributes
    right = []
    for case, sample in zip(test, to_samples(test, loaded.preprocessing), strict=True):
        if sample.image is None or sample.token_ids is None:
            continue
        [concept] = read_concepts(CaseLogit(loaded, sample, "malignancy"))
        assert concept.name == "margin" and concept.classes == ("1", "2", "3")
        assert set(concept.probabilities) == {"fused", "image", "text"}
        assert all(sum(values) == pytest.approx(1.0) for values in concept.probabilities.values())
        low, _, high = concept.probabilities["text"]
        right.append((high > low) == (case.row["margin"] == "3"))
    assert len(right) >= 5 and sum(right) >= 0.8 * len(right)


def test_attributes_change_no_answer_s_shape(learnt: tuple[Fit, Sequence[Case]]) -> None:
    done, test = learnt
    [sample] = to_samples(test[:1], done.bundle.preprocessing)
    [prediction] = Predictor(done.bundle).predict_samples([sample])
    assert prediction.target == "malignancy"
    assert "malignancy" in predict_logits(done.bundle, [sample])["image"]


def test_without_attributes_there_are_no_concepts(toy_predictor: Predictor, toy_cases: Sequence[Case]) -> None:
    [sample] = to_samples(toy_cases[:1], toy_predictor.preprocessing)
    assert read_concepts(CaseLogit(toy_predictor, sample, "malignancy")) == ()
