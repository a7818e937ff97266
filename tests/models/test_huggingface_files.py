from __future__ import annotations

import importlib.util
import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from medfuse.errors import ConfigError
from medfuse.models.huggingface import HuggingFaceEncoder
from medfuse.models.huggingface_files import (
    NUMBERED_FROM_PADDING,
    SUPPORTED,
    Architecture,
    build_module,
    find_folder,
    load_module,
    n_positions,
    read_architecture,
    read_tokenizer,
)

SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "initializer_range": 0.2,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "cls_token_id": 2,
    "sep_token_id": 3,
}


@pytest.fixture
def folder(encoder_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(encoder_folder, tmp_path / "models" / "tiny-bert"))


def change_config(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, **changes}))


def architecture_of(model_type: str) -> Architecture:
    padding = 1 if model_type in NUMBERED_FROM_PADDING else 0
    config = {**SIZES, "model_type": model_type, "pad_token_id": padding}
    if model_type == "roformer":
        config["embedding_size"] = 8
    return Architecture(config=config, before=(2,), after=(3,), mask=4)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What asks for the network, which there is not."""
    questions: list[object] = []

    def refuse(*question: object, **_: object) -> None:
        questions.append(question)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return questions


@pytest.mark.parametrize("model_type", SUPPORTED)
def test_every_supported_architecture_reads_rows_alone_as_in_a_batch(model_type: str) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed: pip install 'medfuse[hf]'")
    torch.manual_seed(0)
    options = {"architecture": architecture_of(model_type).model_dump(), "chunk_length": 8, "trainable": True}
    encoder = HuggingFaceEncoder(42, **options).eval()
    lengths = torch.tensor([15, 1, 9])
    mask = torch.arange(15) < lengths[:, None]
    ids = torch.randint(7, 42, (3, 15))
    together = encoder(encoder.embed(ids), mask)
    for row, n in enumerate(lengths.tolist()):
        alone = encoder(encoder.embed(ids[row : row + 1, :n]), mask[row : row + 1, :n])
        torch.testing.assert_close(alone[0], together[row], rtol=1e-5, atol=1e-6)
    embedded = encoder.embed(ids)
    embedded.retain_grad()
    encoder(embedded, mask).square().sum().backward()
    assert torch.equal(embedded.grad.abs().sum(dim=2) > 0, mask)


@pytest.mark.parametrize("model_type", sorted(set(SUPPORTED) - {"modernbert"}))
def test_the_positions_of_an_architecture_are_as_many_as_stated(model_type: str) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed: pip install 'medfuse[hf]'")
    architecture = architecture_of(model_type)
    module = build_module(architecture).eval()
    n = n_positions(architecture)
    assert n is not None
    words = module.get_input_embeddings()(torch.full((1, n + 1), 7))
    module(inputs_embeds=words[:, :n], attention_mask=torch.ones(1, n))
    with pytest.raises((RuntimeError, IndexError)):
        module(inputs_embeds=words, attention_mask=torch.ones(1, n + 1))


def test_a_folder_of_old_files_gives_a_tokenizer_all_the_same(folder: Path) -> None:
    assert not (folder / "tokenizer.json").exists()
    assert json.loads(read_tokenizer(folder))["model"]["vocab"]["spiculated"] == 8
    assert (read_architecture(folder).before, read_architecture(folder).after) == ((2,), (3,))


def test_loading_says_nothing_and_asks_nothing(
    folder: Path, asked: list[object], capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    read_tokenizer(folder)
    load_module(folder, read_architecture(folder))
    assert (*capfd.readouterr(), caplog.text) == ("", "", "")
    assert asked == []


def test_a_folder_s_weights_are_loaded_as_float32(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file({k: v.half() for k, v in weights.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    change_config(folder, dtype="float16")
    loaded = load_module(folder, read_architecture(folder)).state_dict()
    assert {tensor.dtype for tensor in loaded.values() if tensor.is_floating_point()} == {torch.float32}
    name = "embeddings.word_embeddings.weight"
    assert torch.equal(loaded[name], weights[name].half().float())


def test_a_mistyped_folder_is_named_with_the_nearest(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"found no folder 'tiny-bret'; expected .*did you mean 'tiny-bert'"):
        find_folder(str(folder.parent / "tiny-bret"), revision=None, local_files_only=True)
    with pytest.raises(ConfigError, match=r"found no folder 'x'; expected a folder with config\.json, or a model's id"):
        find_folder(str(folder / "no" / "x"), revision=None, local_files_only=True)
    with pytest.raises(ConfigError, match="found no folder ''"):
        find_folder("", revision=None, local_files_only=True)


@pytest.mark.usefixtures("encoder_folder")
def test_a_model_id_is_looked_for_in_the_cache_alone(
    asked: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"found no model 'someone/encoder' .*local_files_only: false"):
        find_folder("someone/encoder", revision=None, local_files_only=True)
    assert asked == []


@pytest.mark.usefixtures("encoder_folder")
def test_a_cached_model_is_found_by_its_id_and_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "models--someone--encoder"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "v2").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert find_folder("someone/encoder", revision="v2", local_files_only=True) == snapshot
    with pytest.raises(ConfigError, match="found no model 'someone/encoder'"):
        find_folder("someone/encoder", revision="v3", local_files_only=True)


def remove_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickle_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut_weights(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def drop_a_weight(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.bias"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def remove_vocabulary(folder: Path) -> None:
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer_config.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_weights, "found no weights; expected model.safetensors"),
        (pickle_weights, "found weights as pytorch_model.bin, which could run code; expected model.safetensors"),
        (cut_weights, "its weights do not load"),
        (drop_a_weight, "it lacks 1 weights, for example 'encoder.layer.1.output.dense.bias'"),
        (remove_vocabulary, "its tokenizer has no words; expected tokenizer.json"),
        (lambda f: (f / "config.json").unlink(), "its config.json cannot be read"),
        (lambda f: (f / "config.json").write_text("[1"), "its config.json cannot be read"),
        (lambda f: (f / "config.json").write_text("[]"), "its config.json holds no keys"),
        (lambda f: change_config(f, model_type="gpt2"), "found architecture 'gpt2'; expected one of 'albert'"),
        (lambda f: change_config(f, model_type="modern-bert"), "did you mean 'modernbert'"),
        (lambda f: change_config(f, auto_map={"AutoModel": "code.Model"}), "it needs code of its own"),
        (lambda f: change_config(f, hidden_size="x"), r"found values that no bert model has"),
        (lambda f: change_config(f, hidden_size=32), "its weights do not load"),
    ],
)
def test_a_damaged_or_dangerous_folder_is_refused_by_name(
    folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(ConfigError, match=message):
        load_module(folder, read_architecture(folder))


@pytest.mark.usefixtures("encoder_folder")
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "gpt2"}, "found architecture 'gpt2'"),
        ({"model_type": "bert", "hidden_size": 15}, "found sizes of no bert model|found values that no bert model"),
        ({"model_type": "bert", "hidden_act": "os.system"}, "found sizes of no bert model|found values"),
        ({"model_type": "bert", "vocab_size": -1}, "found sizes of no bert model|found values"),
    ],
)
def test_a_saved_architecture_that_cannot_be_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_module(Architecture(config=config, before=(), after=(), mask=0))


@pytest.mark.usefixtures("encoder_folder")
def test_a_saved_architecture_cannot_bring_code(asked: list[object]) -> None:
    extra = {
        "auto_map": {"AutoModel": "code.Model"},
        "attn_implementation": "someone/kernel",
        "quantization_config": {},
    }
    plain = architecture_of("bert")
    module = build_module(plain.model_copy(update={"config": {**plain.config, **extra}}))
    assert type(module).__module__ == "transformers.models.bert.modeling_bert"
    assert asked == []


def test_without_the_extra_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"not installed; expected transformers, as in: pip install 'medfuse\[hf\]'"):
        build_module(architecture_of("bert"))
    with pytest.raises(ConfigError, match="pip install"):
        find_folder("someone/encoder", revision=None, local_files_only=True)
