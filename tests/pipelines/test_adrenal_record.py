from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from medfuse.config import load_config
from medfuse.training.fitting import make_preprocessing
from medfuse.types import Lesion, Study, Volume
from pipelines import adrenal_record
from pipelines.adrenal_record import CONFIG, SIZES, accuracy_kernel, auroc_kernel, figures, on_test, page, write_page


@pytest.fixture
def tables() -> list[pd.DataFrame]:
    """Three seeds' predictions of 40 validation and 60 test cases, each in an order of its own."""
    rng = np.random.default_rng(0)
    labels = np.arange(100) % 4 == 0
    made = []
    for seed in range(3):
        scores = np.clip(0.35 + 0.3 * labels + 0.2 * rng.standard_normal(100), 0.001, 0.999).round(2)
        table = pd.DataFrame(
            {
                "case_id": [f"case {i:03d}" for i in range(100)],
                "patient_key": [f"patient {i:03d}" for i in range(100)],
                "split": np.where(np.arange(100) < 40, "validation", "test"),
                "fold": -1,
                "target": "class",
                "class": "hyperplasia",
                "probability": scores,
                "label": labels.astype(int),
                "seed": seed,
                "seconds": 1.0,
            }
        )
        made.append(table.sample(frac=1, random_state=seed))
    return made


def test_figures_are_the_means_over_the_seeds_on_the_test_cases(tables):
    found = figures(tables)
    tests = [table[table["split"] == "test"] for table in tables]
    areas = [roc_auc_score(t["label"], t["probability"]) for t in tests]
    shares = [accuracy_score(t["label"], t["probability"] >= 0.5) for t in tests]
    assert found["auroc"]["value"] == pytest.approx(np.mean(areas))
    assert found["accuracy"]["value"] == pytest.approx(np.mean(shares))
    assert [one["auroc"]["value"] for one in found["seeds"]] == pytest.approx(areas)
    assert found["auroc"]["low"] < np.mean(areas) < found["auroc"]["high"]
    assert found["auroc"]["n"] == 60
    assert found["majority"]["accuracy"]["value"] == pytest.approx(0.75)


def test_the_ensemble_is_the_mean_probability_of_each_case(tables):
    mean = pd.concat(tables).groupby(["case_id", "split"])[["label", "probability"]].mean().xs("test", level="split")
    found = figures(tables)["ensemble"]
    assert found["members"] == 3
    assert found["auroc"]["value"] == pytest.approx(roc_auc_score(mean["label"], mean["probability"]))
    assert found["accuracy"]["value"] == pytest.approx(accuracy_score(mean["label"], mean["probability"] >= 0.5))


def test_weighted_figures_are_those_of_repeated_cases(tables):
    labels, probabilities = on_test(tables)
    weights = np.random.default_rng(1).integers(0, 4, (1, labels.size))
    again, scores = np.repeat(labels, weights[0]), np.repeat(probabilities[0], weights[0])
    assert auroc_kernel(labels, probabilities[0], weights) == pytest.approx([roc_auc_score(again, scores)])
    calls = (probabilities[0] >= 0.5).astype(float)
    expected = accuracy_score(again, scores >= 0.5)
    assert accuracy_kernel(labels, calls, weights) == pytest.approx([expected])


def test_the_page_puts_every_figure_beside_the_published_ones(tables, tmp_path):
    found = figures(tables)
    text = page({"28": found, "64": found})
    assert f"{found['auroc']['value']:.3f}" in text and "0.839 | 0.754" in text and "majority class" in text
    write_page(tables, tmp_path, size="28", config=load_config(CONFIG))
    html = (tmp_path / "report.html").read_text()
    assert "ensemble of 3 seeds" in html.lower() and "auto-sklearn 0.828 / 0.802" in html


def test_a_seed_that_was_predicted_is_not_trained_again(tables, tmp_path, monkeypatch):
    config = load_config(CONFIG)
    folder = tmp_path / "predictions"
    folder.mkdir()
    tables[0].to_parquet(folder / f"{adrenal_record.config_digest(config)[:12]}_seed0.parquet", index=False)
    monkeypatch.setattr(adrenal_record, "fit", None)
    assert adrenal_record.predict(config, 0, folder=folder)["label"].sum() == tables[0]["label"].sum()


def test_at_64_voxels_the_network_sees_the_means_of_blocks_of_two():
    rng = np.random.default_rng(0)
    voxels = rng.integers(0, 2, (64, 64, 64), dtype=np.uint8) * 255
    config = load_config(CONFIG, overrides=SIZES["64"][1])
    study = Study("s", "p", {"image": Volume(voxels, np.eye(4), unit="arbitrary")}, None, (Lesion("1"),))
    image = make_preprocessing(config).prepare_image(study, study.lesions[0])
    expected = voxels.reshape(32, 2, 32, 2, 32, 2).mean(axis=(1, 3, 5)) / 255
    assert image is not None
    assert np.abs(image[0].numpy() - expected).max() < 1 / 65535
