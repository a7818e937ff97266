from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from medfuse.config import ModelConfig
from medfuse.errors import ConfigError
from medfuse.models import build_model, list_components, pretrained_tokenizer, self_contained
from medfuse.models.aligners import ALIGNERS
from medfuse.models.fusions import FUSIONS
from medfuse.models.heads import HEADS
from medfuse.models.image_encoders import IMAGE_ENCODERS
from medfuse.models.table_encoders import TABLE_ENCODERS
from medfuse.models.text_encoders import TEXT_ENCODERS
from medfuse.types import Target

TARGETS = (Target("malignancy", "binary", ("negative", "positive")),)


def build(*, vocabulary_size: int = 20, size: tuple[int, int, int] = (16, 16, 16), **options: Any):
    config = ModelConfig.model_validate(options)
    return build_model(config, targets=TARGETS, in_channels=1, image_size=size, vocabulary_size=vocabulary_size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_encoder": {"name": "smal_cnn"}}, r"model\.image_encoder\.name: .*did you mean 'small_cnn'"),
        ({"text_encoder": {"name": "gru", "hiden_size": 8}}, r"model\.text_encoder\.hiden_size: .*'hidden_size'\?"),
        ({"aligner": {"name": "info_nce"}}, r"model\.aligner\.name: .*did you mean 'infonce'"),
        ({"fusion": {"name": "concatenate"}}, r"model\.fusion\.name: .*did you mean 'concatenation'"),
        ({"head": {"name": "mlp", "width": 3}}, r"model\.head\.width: component 'mlp' has no such option"),
        ({"image_encoder": {"name": "small_cnn", "in_channels": 2}}, r"model\.image_encoder\.in_channels: "),
        ({"image_encoder": {"name": "small_cnn", "widths": [4] * 5}}, r"widths: found 5 blocks .* 32 voxels or more"),
        ({"image_encoder": {"name": "small_cnn", "widths": [4, 0]}}, r"widths: found \[4, 0\]; expected"),
        ({"image_encoder": {"name": "small_cnn", "widths": 4}}, r"model\.image_encoder: .*refused its options"),
        ({"image_encoder": {"name": "small_cnn", "dropout": 2}}, r"model\.image_encoder: .*dropout"),
        ({"text_encoder": {"name": "gru", "token_size": 0}}, r"model\.text_encoder\.token_size: found 0"),
        ({"head": {"name": "mlp", "hidden_size": 0}}, r"model\.head\.hidden_size: found 0; expected 1 or more"),
        ({"vocabulary_size": 0}, r"vocabulary_size: found 0; expected 2 or more"),
        ({"size": (16, 16, 7)}, r"found 3 blocks for a box of \(16, 16, 7\) voxels"),
    ],
)
def test_a_wrong_component_or_option_is_named_with_what_was_expected(options, message):
    with pytest.raises(ConfigError, match=message):
        build(**options)


def test_one_config_makes_image_only_text_only_and_fused_models():
    for modalities in (("image",), ("text",), ("image", "text")):
        model = build(modalities=modalities, vocabulary_size=20 if "text" in modalities else 0)
        assert model.modalities == modalities
        assert set(model.encoders) == set(model.projections) == set(modalities)


def test_a_text_model_asks_nothing_of_the_box():
    assert build(modalities=("text",), size=(1, 1, 1)).modalities == ("text",)


def test_every_target_has_its_own_head_of_its_own_size():
    targets = (*TARGETS, Target("texture", "multiclass", ("solid", "part-solid", "ground glass")))
    model = build_model(
        ModelConfig(head={"name": "linear"}), targets=targets, in_channels=1, image_size=(8,) * 3, vocabulary_size=9
    )
    assert model.heads["fused"]["malignancy"].layer.out_features == 1
    assert model.heads["text"]["texture"].layer.out_features == 3


def test_the_list_names_every_component_and_its_options():
    listed = list_components()
    kinds = {
        "image_encoder": IMAGE_ENCODERS,
        "text_encoder": TEXT_ENCODERS,
        "table_encoder": TABLE_ENCODERS,
        "aligner": ALIGNERS,
        "fusion": FUSIONS,
        "head": HEADS,
    }
    assert {kind: set(names) for kind, names in listed.items()} == {kind: set(own) for kind, own in kinds.items()}
    assert listed["image_encoder"]["small_cnn"] == {
        "": "A 3D CNN of a few blocks (convolution, batch norm, ReLU) that halve the resolution, for small boxes on a CPU.",
        "widths": "(16, 32, 64)",
        "dropout": "0.1",
        "downsampling": "'stride'",
    }


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, names in list_components().items() for n in names])
def test_the_listed_options_rebuild_the_component(kind, name):
    from ast import literal_eval

    options = {k: literal_eval(v) for k, v in list_components()[kind][name].items() if k}
    if name == "huggingface":  # it has no default model
        pytest.importorskip("transformers", reason="transformers is not installed: pip install 'medfuse[hf]'")
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        config = {"model_type": "bert", "vocab_size": 20, **sizes}
        options["architecture"] = {"config": config, "before": [2], "after": [3], "mask": 4}
    build(**{kind: {"name": name, **options}})


def test_importing_the_room_loads_no_torch():
    code = "import sys, medfuse.models; sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_importing_the_encoders_loads_no_transformers():
    code = "import sys, medfuse.models.build; sys.exit('transformers' in sys.modules or 'tokenizers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_encoder_that_learns_its_own_words_brings_no_tokenizer_and_needs_nothing_saved():
    config = ModelConfig(text_encoder={"name": "gru", "hidden_size": 4})
    assert pretrained_tokenizer(config) is None
    assert pretrained_tokenizer(ModelConfig(modalities=("image",), text_encoder={"name": "unknown"})) is None
    model = build(text_encoder=config.text_encoder)
    assert self_contained(config, model) == config


def test_an_unknown_encoder_has_no_tokenizer():
    with pytest.raises(ConfigError, match="did you mean 'huggingface'"):
        pretrained_tokenizer(ModelConfig(text_encoder={"name": "hugingface"}))
