from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from medfuse.explain.case_logit import CaseLogit
from medfuse.explain.faithfulness import deletion_and_insertion, faithfulness_checks, random_maps, smoothed

Linear = Callable[[str, Tensor, Tensor], CaseLogit]


def test_areas_of_a_linear_function_have_a_known_answer(linear: Linear) -> None:
    # Four tokens of weights 4, 3, 2, 1: without the first k, or with them alone, the logit is a known sum.
    weights = torch.tensor([1.0, 4.0, 2.0, 3.0])
    case = linear("text", torch.ones(1, 4, 1), weights[:, None])
    found = deletion_and_insertion(case, weights, n_steps=4)
    deletion, insertion = (torch.sigmoid(torch.tensor(one)) for one in ([10.0, 6, 3, 1, 0], [0.0, 4, 7, 9, 10]))
    assert found.full == pytest.approx(float(deletion[0]))
    assert found.deletion == pytest.approx(float(torch.trapezoid(deletion, dx=0.25)), abs=1e-6)
    assert found.insertion == pytest.approx(float(torch.trapezoid(insertion, dx=0.25)), abs=1e-6)


def test_what_speaks_against_the_class_comes_first_where_the_input_does(linear: Linear) -> None:
    weights = -torch.tensor([1.0, 4.0, 2.0, 3.0])
    case = linear("text", torch.ones(1, 4, 1), weights[:, None])
    mirrored = linear("text", torch.ones(1, 4, 1), -weights[:, None])
    assert deletion_and_insertion(case, weights) == deletion_and_insertion(mirrored, -weights)


def test_every_channel_of_a_voxel_is_deleted(linear: Linear) -> None:
    weights = torch.zeros(2, 2, 5, 5)
    weights[:, 0, 0] = 1.0
    scores = torch.zeros(2, 5, 5)
    scores[0, 0] = 1.0  # 5 voxels of 50: all that matters goes with the first step
    found = deletion_and_insertion(linear("image", torch.ones(1, 2, 2, 5, 5), weights), scores, n_steps=10)
    first = torch.sigmoid(torch.tensor([10.0] + [0.0] * 10))
    assert found.deletion == pytest.approx(float(torch.trapezoid(first, dx=0.1)), abs=1e-6)


def test_true_scores_beat_random_ones_and_turned_ones_do_not(linear: Linear) -> None:
    weights = torch.zeros(8, 8, 8)
    weights[2:5, 2:5, 2:5] = 0.2
    case = linear("image", torch.ones(1, 1, 8, 8, 8), weights)
    right = {check.name: check.passed for check in faithfulness_checks(case, weights)}
    wrong = {check.name: check.passed for check in faithfulness_checks(case, -weights)}
    assert right == {"faithfulness_image": True, "deletion_image": True, "insertion_image": True}
    assert wrong == {"faithfulness_image": False, "deletion_image": False, "insertion_image": False}


def test_a_text_of_three_words_is_not_judged(linear: Linear) -> None:
    checks = faithfulness_checks(linear("text", torch.ones(1, 3, 2), torch.ones(3, 2)), torch.ones(3))
    assert [check.passed for check in checks] == [None] * 3


def test_random_maps_hang_on_their_seed_and_are_smooth() -> None:
    one, again, other = (random_maps((12, 12, 12), 1, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    neighbours = torch.corrcoef(torch.stack([one[1:].flatten(), one[:-1].flatten()]))[0, 1]
    assert neighbours > 0.7


def test_smoothing_keeps_the_sum() -> None:
    scores = torch.randn(9, 10, 11, generator=torch.Generator().manual_seed(0))
    assert float(smoothed(scores).sum()) == pytest.approx(float(scores.sum()), abs=1e-3)
