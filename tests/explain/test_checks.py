import pytest
import torch
from torch import Tensor

from medfuse.explain.checks import DELETED_SHARE, deletion_check


class Linear:
    """A logit that is a weighted sum of its one input; the baseline is zeros."""

    def __init__(self, name: str, given: Tensor, weights: Tensor) -> None:
        self.names: tuple[str, ...] = (name,)
        self.given, self.weights = given, weights

    def inputs(self) -> tuple[Tensor, ...]:
        return (self.given,)

    def baselines(self) -> tuple[Tensor, ...]:
        return (torch.zeros_like(self.given),)

    def __call__(self, *inputs: Tensor) -> Tensor:
        return (inputs[0] * self.weights).flatten(start_dim=1).sum(dim=1)


def test_equal_voxels_give_exactly_chance() -> None:
    logit = Linear("image", torch.ones(1, 1, 5, 5, 4), torch.ones(5, 5, 4))
    assert deletion_check(logit, "image", torch.rand(5, 5, 4)) == pytest.approx(1.0)


def test_perfect_scores_of_a_linear_function_have_a_known_answer() -> None:
    # Of 100 voxels the 10 that matter weigh 3, the others 1: the tenth deleted first moves the logit by 30,
    # a random tenth by 12 in the mean.
    weights = torch.ones(100)
    weights[torch.randperm(100, generator=torch.Generator().manual_seed(5))[:10]] = 3.0
    weights = weights.view(5, 5, 4)
    logit = Linear("image", torch.ones(1, 1, 5, 5, 4), weights)
    assert deletion_check(logit, "image", weights) == pytest.approx(30 / 12, rel=0.1)


def test_scores_that_point_away_are_below_chance() -> None:
    weights = torch.linspace(1, 2, 100).view(5, 5, 4)
    logit = Linear("image", torch.ones(1, 1, 5, 5, 4), weights)
    assert deletion_check(logit, "image", 3 - weights) < 0.8 < 1.2 < deletion_check(logit, "image", weights)


def test_negative_scores_count_by_their_size() -> None:
    weights = torch.linspace(1, 2, 100).view(5, 5, 4)
    logit = Linear("image", torch.ones(1, 1, 5, 5, 4), weights)
    assert deletion_check(logit, "image", -weights) == deletion_check(logit, "image", weights)


def test_every_channel_of_a_voxel_is_deleted() -> None:
    scores = torch.zeros(2, 5, 5)
    scores[0, 0] = 1.0  # 5 voxels of 50: the tenth
    weights = torch.zeros(2, 2, 5, 5)
    weights[:, 0, 0] = 1.0
    logit = Linear("image", torch.ones(1, 2, 2, 5, 5), weights)
    with_two = deletion_check(logit, "image", scores)
    assert with_two > 5  # all of the logit is gone, where a random tenth takes a tenth of it


def test_a_whole_token_is_deleted() -> None:
    weights = torch.zeros(10, 4)
    weights[3] = 1.0
    logit = Linear("text", torch.ones(1, 10, 4), weights)
    scores = torch.zeros(10)
    scores[3] = 0.1
    n = round(DELETED_SHARE * 10)
    assert n == 1
    # A random token is this one in a tenth of the draws; 16 draws may miss it.
    assert deletion_check(logit, "text", scores) > 3


def test_a_text_of_one_token_can_be_checked() -> None:
    assert deletion_check(Linear("text", torch.ones(1, 1, 2), torch.ones(1, 2)), "text", torch.ones(1)) == 1.0


def test_the_check_draws_the_same_tenths_each_time() -> None:
    logit = Linear("image", torch.ones(1, 1, 5, 5, 4), torch.rand(5, 5, 4))
    scores = torch.rand(5, 5, 4)
    assert deletion_check(logit, "image", scores) == deletion_check(logit, "image", scores)
