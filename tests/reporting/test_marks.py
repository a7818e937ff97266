from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.errors import DataError
from medfuse.reporting.marks import marked_pieces, strongest


@given(st.text(max_size=60), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.floats(-5, 5)), max_size=8))
def test_pieces_joined_are_the_text_or_the_offsets_are_refused(text, scores):
    spans = sorted(scores)
    sound = all(a <= b <= len(text) for a, b, _ in spans) and all(one[1] <= two[0] for one, two in pairwise(spans))
    if sound:
        assert "".join(piece.text for piece in marked_pieces(text, scores)) == text
    else:
        with pytest.raises(DataError, match="offsets"):
            marked_pieces(text, scores)


def test_sign_and_strength_follow_the_score():
    pieces = marked_pieces("abcd", [(0, 1, 1.0), (1, 2, -0.5), (2, 3, 0.2), (3, 4, -0.01)])
    assert [(p.side, p.strength) for p in pieces] == [("for", 3), ("against", 2), ("for", 1), ("", 0)]


def test_scores_of_zero_mark_nothing():
    assert [p.side for p in marked_pieces("abc", [(0, 3, 0.0)])] == [""]


def test_a_word_that_comes_twice_is_listed_once_with_its_larger_score():
    pieces = marked_pieces("Solid solid part", [(0, 5, 0.4), (6, 11, 0.9), (12, 16, 0.5)])
    assert [(p.text, p.score) for p in strongest(pieces, "for")] == [("solid", 0.9), ("part", 0.5)]
