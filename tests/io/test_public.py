from __future__ import annotations

import importlib
import subprocess
import sys

import medfuse.io


def test_every_public_name_is_handed_on() -> None:
    for name in medfuse.io.__all__:
        home = importlib.import_module(getattr(medfuse.io, name).__module__)
        assert getattr(home, name) is getattr(medfuse.io, name) and name in home.__all__


def test_importing_the_room_loads_nothing_heavy() -> None:
    code = "import sys, medfuse.io; print([m for m in ('pydicom', 'nibabel', 'pandas', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
