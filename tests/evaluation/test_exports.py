from importlib import import_module
from pathlib import Path

import medfuse.evaluation as room


def test_every_public_name_is_there_and_none_is_hidden_by_a_module():
    modules = {path.stem for path in Path(room.__file__).parent.glob("*.py")}
    assert not modules & set(room.__all__)
    for name in room.__all__:
        assert getattr(room, name) is getattr(import_module(f"medfuse.evaluation.{room._HOME[name]}"), name)
