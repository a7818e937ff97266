"""Small models and batches for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from medfuse.config import ModelConfig
from medfuse.models import StudyClassifier, build_model
from medfuse.tensors import Batch
from medfuse.types import CaseId, Target

TARGETS = (
    Target("malignancy", "binary", ("negative", "positive")),
    Target("texture", "multiclass", ("solid", "part-solid", "ground glass")),
)
OPTIONS: dict[str, Any] = {
    "embedding_size": 8,
    "image_encoder": {"name": "small_cnn", "widths": [4, 8]},
    "text_encoder": {"name": "gru", "token_size": 8, "hidden_size": 8},
}


@pytest.fixture
def make_model() -> Callable[..., StudyClassifier]:
    def make(*modalities: str, **options: Any) -> StudyClassifier:
        torch.manual_seed(0)
        config = ModelConfig.model_validate({**OPTIONS, "modalities": modalities or ("image", "text"), **options})
        return build_model(config, targets=TARGETS, in_channels=1, image_size=(8, 8, 8), vocabulary_size=20)

    return make


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    def make(
        present: Sequence[tuple[bool, ...]],
        *,
        modalities: tuple[str, ...] = ("image", "text"),
        seed: int = 0,
        n_flags: int = 0,
    ) -> Batch:
        n, draw = len(present), torch.Generator().manual_seed(seed)
        mask = torch.arange(6) < torch.randint(1, 7, (n, 1), generator=draw)
        return Batch(
            cases=tuple(CaseId(f"S{row}", "1") for row in range(n)),
            modalities=modalities,
            image=torch.randn(n, 1, 8, 8, 8, generator=draw),
            token_ids=torch.randint(2, 20, (n, 6), generator=draw) * mask,
            token_mask=mask,
            flags=torch.rand(n, n_flags, generator=draw),
            present=torch.tensor(present, dtype=torch.bool),
            targets={"malignancy": torch.arange(n) % 2, "texture": torch.arange(n) % 3},
            target_mask={"malignancy": torch.ones(n, dtype=torch.bool), "texture": torch.arange(n) % 2 == 0},
        )

    return make
