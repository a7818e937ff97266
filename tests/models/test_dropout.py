from __future__ import annotations

import pytest
import torch

from medfuse.models.dropout import Dropout, drawing_for

PLACES = torch.arange(32)


def mask(shape: tuple[int, ...], *, key: int = 7, part: int = 0, rows: torch.Tensor | None = None, p: float = 0.3):
    with drawing_for(PLACES[: shape[0]] if rows is None else rows, key, part=part):
        return Dropout(p)(torch.ones(shape)) > 0


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_it_takes_its_share_and_keeps_the_mean(p):
    torch.manual_seed(0)
    dropped = Dropout(p)(torch.ones(200, 500))
    assert float((dropped == 0).float().mean()) == pytest.approx(p, abs=0.01)
    assert float(dropped.mean()) == pytest.approx(1.0 if p < 1 else 0.0, abs=0.02)


def test_a_mask_hangs_on_the_place_of_its_case_alone():
    whole = mask((32, 40))
    assert torch.equal(mask((5, 40), rows=PLACES[10:15]), whole[10:15])


def test_padding_moves_no_mask():
    assert torch.equal(mask((32, 9, 4))[:, :6], mask((32, 6, 4)))


def test_masks_of_steps_parts_cases_and_places_differ_as_chance_would_have_it():
    whole = mask((32, 4000), p=0.5)
    for other in (mask((32, 4000), p=0.5, key=8), mask((32, 4000), p=0.5, part=1)):
        assert float((whole == other).float().mean()) == pytest.approx(0.5, abs=0.01)
    cases = torch.corrcoef(whole.float()).fill_diagonal_(0)
    places = torch.corrcoef(mask((32, 4000), p=0.5).float().T[:200]).fill_diagonal_(0)
    assert float(cases.abs().max()) < 5 / 4000**0.5
    assert float(places.abs().max()) < 5 / 32**0.5


def test_one_pass_draws_a_new_mask_each_time():
    with drawing_for(PLACES, 7, part=0):
        first, second = Dropout(0.5)(torch.ones(32, 100)), Dropout(0.5)(torch.ones(32, 100))
    assert float((first == second).float().mean()) == pytest.approx(0.5, abs=0.05)


def test_whole_channels_go_together():
    torch.manual_seed(0)
    dropped = Dropout(0.5, whole_channels=True)(torch.ones(50, 20, 3, 3, 3)).flatten(start_dim=2)
    assert bool((dropped == dropped[..., :1]).all())
    assert float((dropped[..., 0] == 0).float().mean()) == pytest.approx(0.5, abs=0.05)


def test_it_is_repeated_by_torchs_seed_and_off_in_eval():
    masks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        masks.append(Dropout(0.5)(torch.ones(4, 50)))
    assert torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])
    assert torch.equal(Dropout(0.5).eval()(torch.ones(3)), torch.ones(3))


def test_the_gradient_goes_where_the_number_went():
    values = torch.rand(4, 30, requires_grad=True)
    torch.manual_seed(0)
    dropped = Dropout(0.5)(values)
    dropped.sum().backward()
    assert torch.equal(values.grad > 0, dropped > 0)


def test_no_case_gives_no_mask():
    assert Dropout(0.5)(torch.ones(0, 3)).shape == (0, 3)


def test_a_share_outside_0_to_1_is_refused():
    with pytest.raises(ValueError, match="found a dropout of 2"):
        Dropout(2.0)
