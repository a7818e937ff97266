"""Every file in configs/ is complete, and its model can be built."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from medfuse.config import load_config
from medfuse.models import build_model
from medfuse.training import read_grid

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
GRIDS = sorted((Path(__file__).parents[1] / "configs" / "grids").glob("*.yaml"))


def test_there_are_configs() -> None:
    assert CONFIGS


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_config_writes_out_every_key(path: Path) -> None:
    def keys(content: object, prefix: str = "") -> set[str]:
        if not isinstance(content, dict):
            return {prefix}
        return {key for name, value in content.items() for key in keys(value, f"{prefix}.{name}")}

    resolved = load_config(path).model_dump(mode="json")
    assert keys(resolved) - keys(yaml.safe_load(path.read_text())) == set()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
@pytest.mark.parametrize("modalities", ["[image]", "[text]", "[image, text]"])
def test_config_builds_its_model_for_any_modalities(path: Path, modalities: str) -> None:
    config = load_config(path, overrides=[f"model.modalities={modalities}"])
    model = build_model(
        config.model,
        targets=[target.build() for target in (*config.targets, *config.attributes)],
        in_channels=1,
        image_size=config.data.image.size,
        vocabulary_size=100,
    )
    assert model.modalities == config.model.modalities


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.name)
def test_grid_names_runs_that_can_be_built(path: Path) -> None:
    grid, configs = read_grid(path)
    assert grid.reference in configs
    for config in configs.values():
        targets = [target.build() for target in (*config.targets, *config.attributes)]
        build_model(config.model, targets=targets, in_channels=1, image_size=config.data.image.size, vocabulary_size=9)
