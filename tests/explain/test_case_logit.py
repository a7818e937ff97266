from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from medfuse.config import RunConfig
from medfuse.data import Case, to_samples
from medfuse.explain.case_logit import CaseLogit, members_of
from medfuse.explain.table import column_scores
from medfuse.inference import Predictor
from medfuse.training import Fit, fit
from medfuse.training.parts import split_cases
from medfuse.types import Study


@pytest.fixture(scope="module")
def with_table(toy_config: RunConfig, toy_cases: Sequence[Case]) -> tuple[Fit, Case]:
    content = toy_config.model_dump(mode="json")
    content["data"]["table"] = {"numeric": ["diameter_mm"], "categorical": ["site"]}
    content["model"] |= {"modalities": ["image", "text", "table"], "table_encoder": {"name": "mlp"}, "members": 2}
    content["optim"]["epochs"] = 2
    config = RunConfig.model_validate(content)
    parts = split_cases(toy_cases, config.data, seed=0)
    case = next(case for case in parts.test if case.has_image and case.text)
    return fit(config, train=parts.train, validation=parts.validation), case


def test_what_does_not_move_is_encoded_once_a_batch(toy_predictor: Predictor, toy_studies: list[Study]) -> None:
    case = CaseLogit(
        toy_predictor, toy_predictor.preprocessing(toy_studies[0], toy_studies[0].lesions[0]), "malignancy"
    )
    [member] = members_of(case.model)
    rows: list[int] = []
    handle = next(member.encoders["image"].children()).register_forward_pre_hook(
        lambda module, given: rows.append(len(given[0]))
    )
    try:
        moving = case.moving(("text",))
        [embedded] = moving.inputs()
        logits = moving.at(embedded.expand(5, -1, -1), batch_size=5)
    finally:
        handle.remove()
    assert rows == [1] * len(rows) and rows
    assert "forward" not in member.encoders["image"].__dict__
    torch.testing.assert_close(logits, case.at(*case.inputs()).expand(5), rtol=1e-5, atol=1e-6)


def test_moving_one_input_holds_the_others(with_table: tuple[Fit, Case]) -> None:
    done, case = with_table
    [sample] = to_samples([case], done.bundle.preprocessing)
    logit = CaseLogit(Predictor(done.bundle), sample, "malignancy")
    [image], embedded = logit.moving(("image",)).inputs(), logit.inputs()[1]
    changed = image.flip(2)
    both = logit.at(changed, embedded)
    torch.testing.assert_close(logit.moving(("image",)).at(changed), both, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(logit.with_image(changed).moving(("text",)).at(embedded), both, rtol=1e-5, atol=1e-6)
    assert len(members_of(done.bundle.model)) == 2


def test_a_column_scores_what_the_answer_loses_without_it(with_table: tuple[Fit, Case]) -> None:
    done, case = with_table
    predictor = Predictor(done.bundle)
    [sample] = to_samples([case], done.bundle.preprocessing)
    logit = CaseLogit(predictor, sample, "malignancy")
    scores = column_scores(logit)
    assert set(scores) == {"diameter_mm", "site"}
    unknown = done.bundle.preprocessing.prepare_table({"diameter_mm": case.row["diameter_mm"]})
    without = CaseLogit(predictor, replace(sample, table=unknown), "malignancy")
    expected = float(logit.at(*logit.inputs())[0]) - float(without.at(*without.inputs())[0])
    assert scores["site"] == pytest.approx(expected, abs=1e-5)
    assert column_scores(CaseLogit(predictor, replace(sample, table=None), "malignancy")) == {}
