from __future__ import annotations

from pathlib import Path

import pytest

from medfuse.config import RunConfig, load_config
from medfuse.errors import ConfigError
from medfuse.reporting import design_of, limits_of, read_settings


def config(*overrides: str, labels_from: str = "elsewhere") -> RunConfig:
    target = {"name": "nodule", "classes": ["no", "yes"], "labels_from": labels_from}
    return load_config({"targets": [target]}, overrides=overrides)


def test_labels_mined_from_the_reports_that_a_model_reads_are_a_stated_limit() -> None:
    assert limits_of(config()) == []
    [limit] = limits_of(config(labels_from="report"))
    assert "nodule" in limit
    assert "very reports that the model reads" in limit
    [limit] = limits_of(config("model.modalities=[image]", labels_from="report"))
    assert "very reports" not in limit


def test_design_states_split_sections_and_masked_words() -> None:
    split, sections = design_of(config("data.test_fold=3", "data.validation_fraction=0.15", "data.text.sections=[]"))
    assert "fold 3" in split
    assert "15%" in split
    assert "the whole text" in sections
    masks = ["data.text.mask_terms=[nodule, mass]", "data.text.mask=always"]
    assert "never reads" in design_of(config(*masks))[-1]
    assert "are: nodule, mass." in design_of(config(masks[0]))[-1]
    assert len(design_of(config(*masks, "model.modalities=[image]"))) == 1


def test_settings_come_from_the_run_and_their_absence_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.resolved\.yaml"):
        read_settings(tmp_path)
