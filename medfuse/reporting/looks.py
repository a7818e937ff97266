"""How often a run's test set has been looked at: each look makes the next figure a little less of a surprise."""

from __future__ import annotations

import json
from pathlib import Path

from medfuse.whole_files import write_whole

__all__ = ["FILE", "count_look", "looks_so_far"]

FILE = "test_looks.json"


def looks_so_far(run: Path) -> int:
    """Return how often the test figures of a run were computed; 0 where nothing is recorded.

    Parameters
    ----------
    run : Path
        A run's folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     count_look(Path(folder)), count_look(Path(folder)), looks_so_far(Path(folder))
    (1, 2, 2)
    """
    try:
        return max(int(json.loads((run / FILE).read_text(encoding="utf-8"))["looks"]), 0)
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def count_look(run: Path) -> int:
    """Record one more look in ``test_looks.json`` of a run, and return how many there are now.

    Parameters
    ----------
    run : Path
        A run's folder.
    """
    looks = looks_so_far(run) + 1
    write_whole(run / FILE, (json.dumps({"looks": looks}) + "\n").encode())
    return looks
