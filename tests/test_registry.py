from __future__ import annotations

from dataclasses import dataclass

import pytest

from medfuse.errors import ConfigError
from medfuse.registry import build


@dataclass
class Box:
    width: int
    height: int = 2

    def __post_init__(self) -> None:
        if self.height < 0:
            raise ValueError("height is below 0")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "bax"}, r"model\.shape\.name: found 'bax'.*did you mean 'box'"),
        ({}, "found 'None'"),
        ({"name": "box", "hieght": 1}, r"model\.shape\.hieght.*did you mean 'height'"),
        ({"name": "box", "height": -1}, "height is below 0"),
        ({"name": "box", "width": 3}, r"model\.shape\.width: component 'box' has no such option"),
    ],
)
def test_wrong_component_is_refused_with_key_and_nearest_name(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build({"box": Box}, options, where="model.shape", given={"width": 1})


def test_missing_required_option_is_named() -> None:
    with pytest.raises(ConfigError, match=r"lacks \['width'\]"):
        build({"box": Box}, {"name": "box"}, where="model.shape", given={})


def test_given_arguments_that_a_component_does_not_take_are_left_out() -> None:
    assert build({"box": Box}, {"name": "box"}, where="x", given={"width": 1, "depth": 5}) == Box(1)
