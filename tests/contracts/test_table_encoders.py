"""The contract of every table encoder, those of installed packages included."""

from __future__ import annotations

import pytest
import torch

from medfuse.errors import ConfigError
from medfuse.models.table_encoders import TABLE_ENCODERS, TableEncoder
from medfuse.registry import build, with_entry_points
from medfuse.tensors import NO_TABLE, TableShape

COMPONENTS = with_entry_points(TABLE_ENCODERS, group="medfuse.table_encoders")
pytestmark = pytest.mark.parametrize("name", COMPONENTS)
SHAPE = TableShape(2, (3, 4))


def make(name: str, shape: TableShape = SHAPE) -> TableEncoder:
    return build(COMPONENTS, {"name": name}, where="test", given={"table_shape": shape})


def table(n_categories: tuple[int, ...] = (3, 4)) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    numbers, known = torch.randn(12, 2, generator=draw), (torch.rand(12, 2, generator=draw) < 0.7).float()
    codes = [torch.arange(12)[:, None] % n for n in n_categories]
    return torch.cat([numbers * known, known, *codes], dim=1)


@pytest.mark.parametrize("shape", [SHAPE, TableShape(2), TableShape(0, (3, 4))])
def test_features_have_the_stated_size(name, shape):
    encoder, whole = make(name, shape).eval(), table()
    given = torch.cat([whole[:, : 2 * shape.n_numbers], whole[:, 4 : 4 + len(shape.category_sizes)]], dim=1)
    assert encoder(given).shape == (12, encoder.feature_size)


def test_a_gradient_reaches_numbers_and_every_parameter(name, contract):
    encoder, given = make(name).train(), table().requires_grad_()
    contract.gradient_reaches(encoder(given), module=encoder, inputs={"table": given})
    assert (given.grad[:, :4].abs().sum(dim=1) > 0).all()


def test_a_batch_of_one_equals_its_row_of_a_batch(name, contract):
    encoder, given = make(name).eval(), table()
    contract.rows_stand_alone(lambda rows: encoder(given[list(rows)]), 12)


def test_a_missing_number_is_not_the_mean(name):
    encoder, given = make(name).eval(), table()[:1]
    missing, mean = given.clone(), given.clone()
    missing[0, [0, 2]] = torch.tensor([0.0, 0.0])
    mean[0, [0, 2]] = torch.tensor([0.0, 1.0])
    assert not torch.allclose(encoder(missing), encoder(mean))


def test_a_model_of_no_column_is_refused(name):
    with pytest.raises(ConfigError, match=r"found no column to read; expected data\.table\.numeric"):
        make(name, NO_TABLE)


def test_it_survives_saving_and_loading(name, contract):
    contract.survives_saving(lambda: make(name), lambda encoder: encoder(table()))


def test_eval_is_deterministic(name, contract):
    contract.eval_is_deterministic(make(name), lambda encoder: encoder(table()))
