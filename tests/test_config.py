from __future__ import annotations

from pathlib import Path

import pytest

from medfuse.config import load_config
from medfuse.errors import ConfigError

TARGETS = {"targets": [{"name": "malignancy", "classes": ["negative", "positive"]}]}


def test_unknown_key_is_refused_with_the_nearest_right_one() -> None:
    with pytest.raises(ConfigError, match=r"optim\.lerning_rate.*did you mean 'learning_rate'"):
        load_config({**TARGETS, "optim": {"lerning_rate": 0.1}})


def test_unknown_key_inside_a_list_is_refused_with_the_nearest_right_one() -> None:
    with pytest.raises(ConfigError, match=r"targets\.0\.clases.*did you mean 'classes'"):
        load_config({"targets": [{"name": "x", "clases": ["a", "b"]}]})


def test_yaml_number_that_is_read_as_text_is_explained() -> None:
    with pytest.raises(ConfigError, match=r"optim\.learning_rate: found '1e-3' \(YAML reads 1e-3 as text"):
        load_config({**TARGETS, "optim": {"weight_decay": 0.0, "learning_rate": "1e-3"}})


@pytest.mark.parametrize("window", ["[400.0, -1000.0]", "[0.0, 0.0]", "[0.0]", "[a, b]", "[0.0, .inf]"])
def test_window_without_a_width_is_refused(window: str) -> None:
    with pytest.raises(
        ConfigError, match=r"channels\.0\.intensity: found a list; expected .*lowest value below the highest"
    ):
        load_config(TARGETS, overrides=[f"data.image.channels=[{{intensity: {window}}}]"])


def test_box_without_voxels_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.image\.size\.1: found 0"):
        load_config(TARGETS, overrides=["data.image.size=[8, 0, 8]"])


def test_override_replaces_a_nested_value() -> None:
    assert load_config(TARGETS, overrides=["data.image.spacing_mm=2.5"]).data.image.spacing_mm == 2.5


@pytest.mark.parametrize("override", ["optim.epochs", "=3", "name.deeper=1"])
def test_malformed_override_is_refused(override: str) -> None:
    with pytest.raises(ConfigError):
        load_config({**TARGETS, "name": "x"}, overrides=[override])


def test_yaml_alias_is_refused(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.yaml"
    bomb.write_text("a: &a [x, x]\nb: [*a, *a]\n")
    with pytest.raises(ConfigError, match="alias"):
        load_config(bomb)


def test_invalid_yaml_names_its_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: x\noptim: [1, 2\n")
    with pytest.raises(ConfigError, match=r"broken\.yaml line 3"):
        load_config(broken)


@pytest.mark.parametrize("content", ["- a\n", "just text\n", ""])
def test_file_that_is_no_mapping_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match="expected a mapping"):
        load_config(path)


def test_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        load_config(tmp_path / "absent.yaml")


def test_duplicate_target_class_is_refused() -> None:
    from medfuse.errors import UsageError

    config = load_config({"targets": [{"name": "x", "classes": ["a", "a"]}]})
    with pytest.raises(UsageError, match="2 different classes"):
        config.targets[0].build()


def test_a_multilabel_target_is_a_binary_one_a_label() -> None:
    config = load_config({"targets": [{"name": "finding", "kind": "multilabel", "classes": ["nodule", "effusion"]}]})
    assert [(t.name, t.kind, t.classes) for t in config.targets] == [
        ("finding_nodule", "binary", ("0", "1")),
        ("finding_effusion", "binary", ("0", "1")),
    ]
    assert load_config(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([{"name": "x", "kind": "multilabel"}], "found a multilabel target without classes"),
        ([{"name": "x", "kind": "multilabel", "classes": ["a", "a"]}], "each target's name once"),
        ([{"name": "x", "kind": "ordnial", "classes": ["a", "b", "c"]}], "targets.0.kind: found 'ordnial'"),
    ],
)
def test_targets_that_cannot_be_told_apart_or_have_no_kind_are_refused(targets: list[object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config({"targets": targets})


def test_an_attribute_may_rise_with_its_classes() -> None:
    classes = ["1", "2", "3", "4"]
    config = load_config(
        {
            "targets": [{"name": "x", "classes": ["no", "yes"]}],
            "attributes": [
                {"column": "margin", "kind": "ordinal", "classes": classes},
                {"column": "b", "classes": classes},
            ],
        }
    )
    assert [(one.build().kind, one.build().n_outputs) for one in config.attributes] == [
        ("ordinal", 3),
        ("multiclass", 4),
    ]


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan"])
@pytest.mark.parametrize(
    "key", ["optim.learning_rate", "optim.weight_decay", "data.image.spacing_mm", "data.cache.max_gb"]
)
def test_a_number_that_is_not_finite_is_refused(key: str, value: str) -> None:
    content = {"targets": [{"name": "x", "classes": ["no", "yes"]}]}
    with pytest.raises(ConfigError, match=rf"{key}: found -?(inf|nan); expected"):
        load_config(content, overrides=[f"{key}={value}"])
