import pytest
import torch

from medfuse.explain.wording import Wording, spread_flags
from medfuse.text import FindingFlags

TEXT = "No effusion. A nodule."
OFFSETS = ((0, 2), (3, 11), (11, 12), (13, 14), (15, 21), (21, 22))


def test_tokens_are_found_by_any_touched_character() -> None:
    wording = Wording(TEXT, OFFSETS, None)
    assert wording.tokens_in([(10, 14)]) == [1, 2, 3]
    assert wording.tokens_in([(0, 12)]) == [0, 1, 2]
    assert wording.tokens_in([(12, 13)]) == []
    assert wording.tokens_in([]) == []


def test_a_flag_s_score_is_shared_by_the_words_it_comes_from() -> None:
    flags = FindingFlags((1.0, 0.0, 1.0), (((15, 21),), (), ((0, 2), (3, 11))))
    wording = Wording(TEXT, OFFSETS, flags)
    scores = spread_flags(wording, torch.tensor([0.5, 9.0, -2.0]))
    assert scores.tolist() == [-1.0, -1.0, 0.0, 0.0, 0.5, 0.0]
    assert spread_flags(Wording(TEXT, OFFSETS, None), torch.ones(0)).tolist() == [0.0] * 6


def test_a_flag_without_words_scores_nothing() -> None:
    wording = Wording(TEXT, OFFSETS, FindingFlags((1.0,), ((),)))
    assert float(spread_flags(wording, torch.tensor([3.0])).sum()) == pytest.approx(0.0)
