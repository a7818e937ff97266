import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import benchmark_scoring as benchmark
from pipelines.scoring_tools import inputs, profile, sides
from pipelines.scoring_tools.inputs import LESION_SCAN, WHOLE_SCAN, Scan, make_model, write_archive

ROOT = Path(__file__).resolve().parents[2]


def answer(what: str, *arguments: str) -> dict[str, Any]:
    """What measuring gives, at once."""
    if what == "medfuse":
        return {"s": 0.1, "cpu_s": 0.1, "peak_mb": 500.0, "probabilities": {"1": 0.5, "2": 0.25}}
    if what == "monai":
        return {"s": 5.0, "cpu_s": 4.0, "peak_mb": 2000.0, "probabilities": {"1": 0.5001}}
    if what == "profile":
        return {"stages_ms": {"reading": 3.0, "model": 1.0}, "floor_ms": {"reading": 2.0}}
    if what == "overhead":
        return {"percent": 2.0}
    if what == "command":
        return {"s": 4.0, "peak_mb": {"command": 300.0, "worker": 400.0, "others": 20.0}}
    return {"s": {"index": 2.0}, "peak_mb": {"index": 100.0}}


def test_every_part_gives_rows_that_can_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "measured", answer)
    for name in ("make_model", "write_archive"):
        made = (tmp_path, tmp_path) if name == "write_archive" else tmp_path
        for module in ("benchmark_scoring", "scoring_tools.scale"):
            monkeypatch.setattr(f"pipelines.{module}.{name}", lambda *_, made=made, **__: made)
    out = tmp_path / "scoring.json"
    arguments = ["--out", str(out), "--work", str(tmp_path), "--scale", "10", "20"]
    assert benchmark.main(arguments) == 0
    rows = {row["name"]: row for row in json.loads(out.read_text())}
    assert all({"name", "ours", "theirs", "ratio", "unit", "command"} <= set(row) for row in rows.values())
    assert capsys.readouterr().out.count("\n") == len(rows)
    [speed] = [row for name, row in rows.items() if name.endswith("a study, against MONAI, cropped, then resampled")]
    assert (speed["ratio"], speed["aim"]) == (50, 8)
    assert benchmark.main([*arguments, "--parts", "overhead"]) == 0  # the other rows stay
    assert {row["name"] for row in json.loads(out.read_text())} == set(rows)


@pytest.mark.parametrize("scan", [LESION_SCAN, WHOLE_SCAN])
def test_boxes_begin_where_a_grid_from_the_first_voxel_has_a_point(scan: Scan) -> None:
    corner = scan.corner()
    for centre in scan.lesions():
        start = (centre - scan.step_mm * (np.array(scan.box) - 1) / 2 - corner) / scan.step_mm
        np.testing.assert_allclose(start, np.rint(start), atol=1e-6)
        if scan.region == "lesion":
            voxels = start * scan.step_mm / [scan.pixel_mm, scan.pixel_mm, scan.slice_mm]
            np.testing.assert_allclose(voxels, np.rint(voxels), atol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_both_sides_answer_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medfuse.inference import Predictor
    from medfuse.scoring.scorer import Scorer

    monkeypatch.setattr(inputs, "CONFIG", ROOT / "configs" / "lidc.yaml")
    monkeypatch.setattr(inputs, "N_CASES", 16)
    scan = Scan(96, 64, 0.75, 1.0, 1.25, (32, 32, 32), "lesion")
    model = make_model(scan, tmp_path / "models")
    archive, rois = write_archive(tmp_path, scan, n_studies=2)
    given = (str(archive), str(rois), str(model))
    predictor = Predictor.load(model)
    works = sides.works_of(str(archive), str(rois), predictor)
    names = sides.names_of(str(rois))
    scorer = Scorer(predictor, position="require", study_seconds=60)
    ours = {names[key]: rows[0]["probability_malignancy"] for key, _, rows in scorer.run(works)}
    for way in ("whole first", "crop first"):
        theirs = sides.measure_monai(*given, "2", way)["probabilities"]
        assert theirs == pytest.approx(ours, abs=1e-5)
    found = profile.profile_study(*given)
    assert all(value >= 0 for part in found.values() for value in part.values())
