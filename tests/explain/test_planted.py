"""A ground truth: models trained where one planted thing alone decides, which attribution must find.

Every image shows a rod and every report a finding of the heart; of the positive cases the image has a ball beside it,
or the report a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from medfuse.config import load_config
from medfuse.data import Case
from medfuse.data.prepared import PreparedImage
from medfuse.data.preprocessing import ImageFacts
from medfuse.explain import CaseLogit, build_method, modality_shares
from medfuse.explain.localisation import localisation_checks
from medfuse.inference import Predictor
from medfuse.tensors import Sample
from medfuse.training import fit
from medfuse.types import CaseId, ReportText

SIZE, RADIUS, N_TRAIN = 20, 2.5, 240
WORD = "spiculated"
FILLERS = [
    "nodule",
    "margin",
    "lobe",
    "right",
    "left",
    "upper",
    "lower",
    "lung",
    "small",
    "solid",
    "seen",
    "stable",
    "the",
    "a",
    "in",
    "of",
]

IMAGE_METHODS = {
    "integrated_gradients": {"n_steps": 16},
    "gradient_shap": {"n_samples": 8},
    "deep_lift": {},
    "occlusion": {"edge": 5.0},
}
TEXT_METHODS = {
    "integrated_gradients": {"n_steps": 16},
    "gradient_shap": {"n_samples": 8},
    "deep_lift": {},
    "feature_ablation": {},
}


@dataclass(frozen=True)
class Planted:
    """One case, where its ball lies and which token is its word."""

    sample: Sample
    ball: NDArray[np.bool_]
    word: int


@dataclass(frozen=True)
class World:
    """A model for which one modality alone decides, and positive cases that it never saw."""

    predictor: Predictor
    cases: list[Planted]


def draw(rng: np.random.Generator, *, ball: bool, word: bool) -> tuple[NDArray[np.float64], NDArray[np.bool_], str]:
    grid = np.moveaxis(np.indices((SIZE, SIZE, SIZE)), 0, -1)
    image = 0.2 + 0.03 * rng.standard_normal((SIZE, SIZE, SIZE))
    at = rng.integers(3, SIZE - 3, 2)
    rod = np.hypot(grid[..., 0] - at[0], grid[..., 1] - at[1]) <= 1.0
    image[rod] = 0.8
    mask = np.zeros(rod.shape, dtype=np.bool_)
    while ball and not mask.any():
        centre = rng.uniform(RADIUS + 1, SIZE - RADIUS - 2, 3)
        mask = np.linalg.norm(grid - centre, axis=-1) <= RADIUS
        if (mask & rod).any():
            mask[:] = False
    image[mask] = 0.7
    words = [*rng.choice(FILLERS, 12), "heart"]
    if word:
        words.insert(int(rng.integers(len(words))), WORD)
    return np.clip(image, 0, 1), mask, " ".join(words)


def make_case(number: int, decides: str, rng: np.random.Generator) -> tuple[Case, NDArray[np.bool_]]:
    positive = number % 2 == 1
    other = bool(rng.random() < 0.5)
    ball, word = (positive, other) if decides == "image" else (other, positive)
    image, mask, text = draw(rng, ball=ball, word=word)
    stored = np.rint(image[None] * 65535).astype(np.uint16)
    case = Case(
        CaseId(f"S{number}", "1"),
        patient_key=f"P{number}",
        patient_id=f"P{number}",
        prepared=PreparedImage(stored, ImageFacts("arbitrary")),
        text=ReportText(text),
        targets={"planted": int(positive)},
        row={},
    )
    return case, mask


def make_world(decides: str, *, n_test: int, epochs: int = 25) -> World:
    rng = np.random.default_rng(7)
    cases, masks = zip(*[make_case(n, decides, rng) for n in range(N_TRAIN + 2 * n_test)], strict=True)
    content: dict[str, Any] = {
        "name": "planted",
        "data": {
            "manifest": "none.csv",
            "unit": "arbitrary",
            "image": {"size": [SIZE] * 3, "spacing_mm": 1.0, "channels": [{"intensity": [0.0, 1.0]}]},
            "text": {"sections": [], "max_length": 32, "vocabulary_size": 100},
        },
        "targets": [{"name": "planted", "classes": ["absent", "present"]}],
        "model": {
            "embedding_size": 8,
            "image_encoder": {"name": "small_cnn", "widths": [8, 8], "dropout": 0.0},
            "text_encoder": {"name": "bag", "token_size": 8, "dropout": 0.0},
            "modality_dropout": 0.3,
        },
        "optim": {"epochs": epochs, "batch_size": 16, "learning_rate": 0.02, "weight_average": 0.0},
    }
    done = fit(load_config(content), train=cases[: N_TRAIN - 40], validation=cases[N_TRAIN - 40 : N_TRAIN])
    predictor = Predictor(done.bundle)
    test = []
    for case, mask in zip(cases[N_TRAIN:], masks[N_TRAIN:], strict=True):
        if case.targets["planted"]:
            words = case.text.text.split() if case.text else []
            tokens = predictor.preprocessing.prepare_text(case.text)
            sample = Sample(case.id, image=case.image, token_ids=tokens)
            test.append(Planted(sample, mask, words.index(WORD) if WORD in words else -1))
    return World(predictor, test)


def pointing(world: World, name: str, options: dict[str, Any]) -> float:
    """Return how often the strongest voxel lies in the ball."""
    method = build_method({"name": name, **options}, explains="image")
    hits = []
    for planted in world.cases:
        scores = method(CaseLogit(world.predictor, planted.sample, "planted").moving(("image",)))["image"]
        hits.append(localisation_checks(scores, torch.from_numpy(planted.ball))[0].passed)
    return float(np.mean(hits))


def first_rank(world: World, name: str, options: dict[str, Any]) -> float:
    """Return how often the planted word has the largest score."""
    method = build_method({"name": name, **options}, explains="text")
    hits = []
    for planted in world.cases:
        scores = method(CaseLogit(world.predictor, planted.sample, "planted").moving(("text",)))["text"]
        hits.append(int(scores.argmax()) == planted.word)
    return float(np.mean(hits))


def share_says(world: World, decides: str) -> float:
    """Return how often the modality that decides has the largest share."""
    found = [modality_shares(world.predictor, planted.sample, target="planted") for planted in world.cases]
    return float(np.mean([max(shares, key=lambda m: abs(shares[m])) == decides for shares in found]))


def is_right(world: World) -> float:
    predictions = world.predictor.predict_samples([planted.sample for planted in world.cases])
    return float(np.mean([one.probabilities["fused"][1] > 0.5 for one in predictions]))


@pytest.fixture(scope="module", params=[pytest.param(20), pytest.param(100, marks=pytest.mark.slow)])
def n_test(request: pytest.FixtureRequest) -> Iterator[int]:
    yield request.param


@pytest.fixture(scope="module")
def ball_world(n_test: int) -> World:
    return make_world("image", n_test=n_test)


@pytest.fixture(scope="module")
def word_world(n_test: int) -> World:
    return make_world("text", n_test=n_test)


@pytest.mark.parametrize("name", IMAGE_METHODS)
def test_the_planted_ball_is_found(ball_world: World, name: str) -> None:
    assert is_right(ball_world) >= 0.95
    assert pointing(ball_world, name, IMAGE_METHODS[name]) >= 0.95


@pytest.mark.parametrize("name", TEXT_METHODS)
def test_the_planted_word_comes_first(word_world: World, name: str) -> None:
    assert is_right(word_world) >= 0.95
    assert first_rank(word_world, name, TEXT_METHODS[name]) >= 0.95


def test_shares_say_which_modality_decides(ball_world: World, word_world: World) -> None:
    assert share_says(ball_world, "image") >= 0.95
    assert share_says(word_world, "text") >= 0.95
