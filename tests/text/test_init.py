from __future__ import annotations

import subprocess
import sys

import medfuse.text


def test_room_is_imported_without_its_heavy_packages():
    code = "import sys, medfuse.text; sys.exit(bool({'spacy', 'tokenizers', 'yaml'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there():
    assert all(getattr(medfuse.text, name).__doc__ for name in medfuse.text.__all__)
