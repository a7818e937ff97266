from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import os, resource
from medfuse.memory import prepare_process
done = prepare_process() if {prepare} else None
import numpy
def touch():
    for _ in range(20):
        numpy.ones(6_000_000)  # above what glibc ever raises its own threshold to
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
touch()
print(done, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, os.environ.get("OMP_WAIT_POLICY"))
"""


def run(code: str, **settings: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PATH": "", **settings}
    )
    return done.stdout.split()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_freed_memory_is_reused_without_new_pages() -> None:
    _, before, _ = run(FAULTS.format(prepare=False))
    done, after, waiting = run(FAULTS.format(prepare=True))
    assert (done, waiting) == ("True", "PASSIVE")
    assert int(before) > 1000
    assert int(after) < int(before) / 10


def test_what_the_user_has_set_stays() -> None:
    settings = {"MALLOC_TRIM_THRESHOLD_": "100000", "OMP_WAIT_POLICY": "ACTIVE"}
    done, _, waiting = run(FAULTS.format(prepare=True), **settings)
    assert (done, waiting) == ("False", "ACTIVE")
