"""What a service is asked for is said in words of DICOM, and nothing else."""

import pytest

from medfuse.errors import UsageError
from medfuse.io.dicomweb_query import parse_query


def test_values_keep_what_stands_in_them() -> None:
    assert parse_query(["StudyDescription=CT=chest", "StudyDate=-20240131"]) == {
        "StudyDescription": "CT=chest",
        "StudyDate": "-20240131",
    }


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (["StudyDat=2024"], "did you mean 'StudyDate'"),
        (["limit=5"], "no such keyword 'limit'"),
        (["StudyDate"], "found no KEYWORD=VALUE in number 1"),
        (["PatientID="], "found no KEYWORD=VALUE in number 1"),
        (["StudyDate=2024-01-01"], "found no date for StudyDate"),
        (["Modality=CT", "Modality=MR"], "found Modality for the second time"),
    ],
)
def test_what_a_service_would_pass_over_is_refused(terms: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_query(terms)
    assert "2024-01" not in str(caught.value)
