import pandas as pd
import pytest

from medfuse.io import Pseudonymizer
from medfuse.reporting.feedback_joining import join_views

NAMES = Pseudonymizer(bytes(32))


def views(*rows):
    found = [{"study_key": NAMES.study(s), "lesion_id": i, "target": "t", "label": label} for s, i, label in rows]
    return pd.DataFrame(found, columns=["study_key", "lesion_id", "target", "label"])


def manifest(**columns):
    return pd.DataFrame({"study_uid": ["1.1", "1.2", "1.2"], "lesion_id": ["1", "1", "2"], **columns})


def test_each_lesion_gets_its_own_label():
    found = join_views(views(("1.2", "2", "b"), ("1.1", "1", "a")), manifest(), NAMES)
    assert found.frame["label_t"].tolist() == ["a", "", "b"]
    assert found.frame["training_only"].tolist() == ["yes", "", "yes"] and found.n_joined == 2


def test_a_case_without_a_position_is_the_only_row_of_its_study():
    found = join_views(views(("1.1", "whole", "a"), ("1.2", "whole", "a")), manifest(), NAMES)
    assert found.frame["label_t"].tolist() == ["a", "", ""]
    assert found.left == {"the manifest has no such case": 1}


def test_readers_who_differ_give_no_label_and_those_who_agree_one():
    found = join_views(
        views(("1.1", "1", "a"), ("1.1", "1", "b"), ("1.2", "1", "a"), ("1.2", "1", "a")), manifest(), NAMES
    )
    assert found.left == {"readers give different labels": 1} and found.frame["label_t"].tolist() == ["", "a", ""]


@pytest.mark.parametrize(
    ("columns", "joined"),
    [
        ({"label_t": ["b", "", ""]}, False),
        # It would take a case out of the test of another target.
        ({"label_u": ["b", "", ""]}, False),
        ({"label_u": ["b", "", ""], "training_only": ["yes", "", ""]}, True),
        ({"split": ["Test", "train", "train"]}, False),
        ({"split": ["train", "train", "train"]}, True),
        ({"fold": ["0", "1", "1"]}, True),
        ({"label": ["", "b", "b"]}, True),
    ],
)
def test_what_tests_and_what_has_a_label_stays_as_it_is(columns, joined):
    given = manifest(**columns)
    found = join_views(views(("1.1", "1", "a")), given, NAMES)
    column = "label" if "label" in columns else "label_t"
    assert found.n_joined == int(joined)
    if joined:
        assert found.frame.loc[0, column] == "a"
    else:
        pd.testing.assert_frame_equal(found.frame[list(given)], given)
