import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from medfuse.config import SeriesRule
from medfuse.errors import BundleError
from medfuse.inference import Predictor, load_bundle, predict_logits, save_bundle
from medfuse.tensors import Sample
from medfuse.training import Fit
from medfuse.types import Study

CONTENT = ("weights.safetensors", "model.json", "tokenizer.json", "evidence.safetensors", "evidence.json")
FILES = (*CONTENT, "sha256")


@pytest.fixture
def folder(toy_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_bundle, tmp_path / "model"))


def sign(folder: Path, *extra: str) -> None:
    """Make the checksums right again: what follows must be refused for its content."""
    names = sorted(n for n in (*CONTENT, *extra) if (folder / n).exists())
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "sha256").write_text("".join(lines))


def change_json(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads((folder / "model.json").read_text())
    change(content)
    (folder / "model.json").write_text(json.dumps(content))
    sign(folder)


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    weights = load((folder / "weights.safetensors").read_bytes())  # as an older version saved it: it names no labels
    change(weights)
    (folder / "weights.safetensors").write_bytes(save(weights))
    sign(folder)


def samples_of(predictor: Predictor, studies: list[Study]) -> list[Sample]:
    return [predictor.preprocessing(study, lesion) for study in studies for lesion in study.lesions]


def test_round_trip_gives_bitwise_equal_logits(toy_fit: Fit, toy_bundle: Path, toy_studies: list[Study]) -> None:
    samples = samples_of(Predictor(toy_fit.bundle), toy_studies)
    before, after = (predict_logits(bundle, samples) for bundle in (toy_fit.bundle, load_bundle(toy_bundle)))
    assert before.keys() == after.keys() == {"fused", "image", "text"}
    for condition, logits in before.items():
        assert torch.equal(logits["malignancy"], after[condition]["malignancy"])


def test_round_trip_keeps_everything_else(toy_fit: Fit, toy_bundle: Path) -> None:
    loaded = load_bundle(toy_bundle)
    assert loaded.config == toy_fit.bundle.config
    assert loaded.targets == toy_fit.bundle.targets
    assert loaded.calibration == toy_fit.bundle.calibration
    assert loaded.prevalence == toy_fit.bundle.prevalence
    assert loaded.preprocessing.digest == toy_fit.bundle.preprocessing.digest
    assert not loaded.model.training


def test_series_rule_is_saved(toy_fit: Fit, folder: Path) -> None:
    rule = SeriesRule(modality="CT", thickness_mm=(0.5, 2.5), kernels=("B30f",), prefer="thinnest", time_point="first")
    save_bundle(replace(toy_fit.bundle, series=rule), folder)
    assert load_bundle(folder).series == rule


def test_model_id_depends_on_the_content_alone(toy_fit: Fit, toy_bundle: Path, tmp_path: Path) -> None:
    same = save_bundle(toy_fit.bundle, tmp_path / "same")
    other = save_bundle(replace(toy_fit.bundle, prevalence={"malignancy": 0.25}), tmp_path / "other")
    assert load_bundle(toy_bundle).model_id == same != other
    assert load_bundle(tmp_path / "other").model_id == other


def test_saving_over_a_bundle_leaves_no_file_of_the_old_one(toy_fit: Fit, folder: Path) -> None:
    from medfuse.models import build_model

    config = toy_fit.bundle.config.model_copy(update={"modalities": ("image",)})
    preprocessing = replace(toy_fit.bundle.preprocessing, modalities=("image",), tokenizer=None)
    model = build_model(
        config, targets=toy_fit.bundle.targets, in_channels=1, image_size=(16, 16, 16), vocabulary_size=0
    )
    save_bundle(replace(toy_fit.bundle, model=model, config=config, preprocessing=preprocessing), folder)
    assert {path.name for path in folder.iterdir()} == {*FILES} - {"tokenizer.json"}
    assert load_bundle(folder).preprocessing.tokenizer is None


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_byte_is_refused(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    step = max(len(data) // 150, 1) if name != "sha256" else 1
    # 0x07 turns a line feed into a carriage return, 0x20 the case of a letter.
    flips = (0x01, 0x80) if name != "sha256" else (0x01, 0x07, 0x20, 0x80)
    for at in [*range(0, len(data), step), len(data) - 1]:
        for flip in flips:
            (folder / name).write_bytes(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
            with pytest.raises(BundleError):
                load_bundle(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match="model model: cannot be read"):
        load_bundle(folder)


@pytest.mark.parametrize("name", CONTENT)
def test_a_cut_file_is_refused_even_if_its_checksum_is_right(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    sign(folder)
    with pytest.raises(BundleError):
        load_bundle(folder)


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="model absent: cannot be read"):
        load_bundle(tmp_path / "absent")


def test_a_text_model_without_its_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    sign(folder)
    with pytest.raises(BundleError):
        load_bundle(folder)


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_pickled_file_is_refused_and_not_run(folder: Path, tmp_path: Path) -> None:
    (folder / "weights.safetensors").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    sign(folder)
    with pytest.raises(BundleError, match="weights do not fit"):
        load_bundle(folder)
    assert not (tmp_path / "sprung").exists()


def test_a_model_of_the_format_before_is_refused_by_what_it_lacks(folder: Path) -> None:
    for name in ("evidence.safetensors", "evidence.json"):
        (folder / name).unlink()
    change_json(folder, lambda content: content.update(format=1))
    with pytest.raises(BundleError, match="found format 1, made before models kept intervals, prediction sets"):
        load_bundle(folder)


def test_another_file_among_the_checksums_is_refused_unread(folder: Path) -> None:
    (folder / "code.py").write_text("raise SystemExit")
    sign(folder, "code.py")
    with pytest.raises(BundleError, match="found other files in sha256"):
        load_bundle(folder)


def first(weights: dict[str, torch.Tensor]) -> str:
    return next(name for name, tensor in weights.items() if tensor.is_floating_point() and tensor.ndim > 1)


def fill(value: float) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(weights: dict[str, torch.Tensor]) -> None:
        weights[first(weights)].flatten()[0] = value

    return change


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float) -> None:
    change_weights(folder, fill(value))
    with pytest.raises(BundleError, match="found NaN or infinite weights"):
        load_bundle(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.pop(first(w)),
        lambda w: w.update(stranger=torch.zeros(2)),
        lambda w: w.update({first(w): torch.zeros(3, 3)}),
        lambda w: w.update({first(w): w[first(w)].double()}),
        lambda w: w.update({first(w): w[first(w)].to(torch.complex64)}),
        lambda w: w.update({first(w): torch.full_like(w[first(w)], 1e300, dtype=torch.float64)}),
    ],
    ids=["missing", "extra", "shape", "double", "complex", "beyond float32"],
)
def test_weights_of_another_model_are_refused(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    change_weights(folder, change)
    with pytest.raises(BundleError, match="weights do not fit"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format=1), "found format 1, made before .* expected format 2: train the model again"),
        (lambda c: c.update(format=3), "found format 3, made by a newer medfuse; expected format 2, or that version$"),
        (lambda c: c.update(format="2"), "found format '2'; expected format 2$"),
        (lambda c: c["model"].update(embedding_size=16), "weights do not fit"),
        (lambda c: c["model"]["image_encoder"].update(name="resnet"), "cannot be built"),
        (lambda c: c["model"]["image_encoder"].update(widths=[4, 8, 16, 32, 64, 128]), "cannot be built"),
        (lambda c: c["model"]["head"].update(colour="red"), "cannot be built"),
        (lambda c: c["model"].update(embedding_size=10**15), "cannot be built"),
        (lambda c: c["model"].update(modalities=["image"]), "modalities"),
        (lambda c: c["model"].update(surprise=1), "missing or wrong value"),
        (lambda c: c["preprocessing"]["image"].update(spacing_mm=2.0), "its preprocessing differs"),
        (lambda c: c["preprocessing"].update(image=None), "missing or wrong value"),
        (lambda c: c.update(targets=[]), "missing or wrong value"),
        (lambda c: c["targets"][0].update(classes=["one"]), "missing or wrong value"),
        (lambda c: c["targets"].append(c["targets"][0]), "missing or wrong value"),
        (lambda c: c.update(calibration={}), "missing or wrong value"),
        (lambda c: c["calibration"]["malignancy"].pop("text"), "missing or wrong value"),
        (lambda c: c["calibration"]["malignancy"]["text"].update(temperature=float("nan")), "out of range"),
        (lambda c: c["calibration"]["malignancy"]["text"].update(threshold=1.5), "out of range"),
        (lambda c: c["calibration"]["malignancy"]["text"].update(biases=[float("inf")]), "out of range"),
        (lambda c: c["calibration"]["malignancy"]["text"].update(biases=[0.1, 0.2]), "missing or wrong value"),
        (lambda c: c["calibration"]["malignancy"]["text"].pop("biases"), "missing or wrong value"),
        (lambda c: c["calibration"]["malignancy"].update(text=3), "missing or wrong value"),
        (lambda c: c["prevalence"].update(malignancy=0.0), "missing or wrong value"),
        (lambda c: c["prevalence"].update(malignancy=float("nan")), "missing or wrong value"),
        (lambda c: c.pop("provenance"), "missing or wrong value"),
        (lambda c: c["series"].update(prefer="any"), "missing or wrong value"),
        (lambda c: c.pop("series"), "missing or wrong value"),
    ],
)
def test_a_wrong_value_in_model_json_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    change_json(folder, change)
    with pytest.raises(BundleError, match=message):
        load_bundle(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda target: target["classes"].reverse(),
        lambda target: target.update(classes=["benign", "malignant"]),
        lambda target: target.update(kind="multiclass", classes=["negative", "positive", "unsure"]),
    ],
    ids=["turned", "renamed", "one more"],
)
def test_labels_other_than_those_of_the_training_are_refused(
    folder: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    change_json(folder, lambda content: change(content["targets"][0]))
    with pytest.raises(BundleError, match=r"learnt for other labels|missing or wrong value"):
        load_bundle(folder)


def test_weights_that_name_no_labels_are_read(folder: Path) -> None:
    change_weights(folder, lambda weights: None)
    assert load_bundle(folder).targets[0].name == "malignancy"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("model.json", b"[]"),
        ("model.json", b"\xff\xfe"),
        ("model.json", b"[" * 100_000),
        ("tokenizer.json", b"\xff\xfe"),
        ("tokenizer.json", b"{}"),
        ("weights.safetensors", b""),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    sign(folder)
    with pytest.raises(BundleError):
        load_bundle(folder)


def test_a_pretrained_encoder_is_saved_whole(
    pretrained_fit: Fit, encoder_folder: Path, toy_studies: list[Study], tmp_path: Path
) -> None:
    save_bundle(pretrained_fit.bundle, tmp_path / "model")
    assert str(encoder_folder.parent) not in (tmp_path / "model" / "model.json").read_text()
    samples = samples_of(Predictor(pretrained_fit.bundle), toy_studies)
    aside = encoder_folder.rename(tmp_path / "aside")
    try:
        loaded = load_bundle(tmp_path / "model")
        again = save_bundle(loaded, tmp_path / "again")
    finally:
        aside.rename(encoder_folder)
    assert again == loaded.model_id
    before, after = (predict_logits(bundle, samples) for bundle in (pretrained_fit.bundle, loaded))
    for condition, logits in before.items():
        assert torch.equal(logits["malignancy"], after[condition]["malignancy"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda o: o.pop("architecture"), "cannot be built: .*found no model 'tiny-bert'"),
        (lambda o: o["architecture"].pop("mask"), r"cannot be built: .*architecture: found a missing or wrong value"),
        (lambda o: o["architecture"]["config"].update(model_type="gpt2"), "cannot be built: .*architecture 'gpt2'"),
        (lambda o: o["architecture"]["config"].update(hidden_size=32), "weights do not fit|cannot be built"),
        (lambda o: o["architecture"].update(before=[99]), "cannot be built: .*ids above"),
        (lambda o: o.update(name="gru"), "cannot be built: .*has no such option"),
    ],
)
def test_a_changed_pretrained_encoder_is_refused(
    pretrained_fit: Fit, tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    save_bundle(pretrained_fit.bundle, tmp_path / "model")
    change_json(tmp_path / "model", lambda content: change(content["model"]["text_encoder"]))
    with pytest.raises(BundleError, match=message):
        load_bundle(tmp_path / "model")


def test_weights_of_another_program_are_refused_by_what_is_wrong_with_them(tmp_path: Path) -> None:
    path = tmp_path / "other" / "model.pt"
    path.parent.mkdir()
    torch.save({"w": torch.tensor([1.0, float("nan")])}, path)
    for source in (path.parent, path):
        with pytest.raises(BundleError, match=r"^model .*: found NaN or a value that is not finite in 'w'"):
            load_bundle(source)
    torch.save({"w": torch.ones(2)}, path)
    with pytest.raises(BundleError, match=r"found weights alone, model.pt; expected a folder that medfuse train wrote"):
        load_bundle(path.parent)
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(BundleError, match=r"model.pt holds pickled objects, which could run code"):
        load_bundle(path)
    assert not (tmp_path / "sprung").exists()
