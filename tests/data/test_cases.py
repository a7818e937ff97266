from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from medfuse.config import ChannelConfig, ImageConfig, TextConfig
from medfuse.data import CaseSet, Preparer, Preprocessing, load_cases, to_samples
from medfuse.errors import DataError, ManifestError
from medfuse.io import Pseudonymizer, read_manifest, write_nifti
from medfuse.text import ReportTokenizer
from medfuse.types import Target, Volume

MALIGNANCY = Target("malignancy", "binary", ("negative", "positive"))
PREPARE = Preprocessing(
    ImageConfig(size=(4, 4, 4), spacing_mm=1.0, channels=(ChannelConfig(intensity=(0.0, 100.0)),)),
    TextConfig(),
    "HU",
    ("image", "text"),
)
NAMES = Pseudonymizer(bytes(32))
Row = dict[str, Any]


def row(number: int, **cells: Any) -> Row:
    return {
        "patient_id": f"SMITH-{number}",
        "study_uid": f"1.2.{number}",
        "lesion_id": "1",
        "image_path": f"SMITH{number}.nii.gz",
        "report_text": f"FINDINGS: Nodule {number}.",
        "roi_x_mm": 4.0,
        "roi_y_mm": 4.0,
        "roi_z_mm": 4.0,
        "fold": number % 2,
        "site": "north",
        "label_malignancy": MALIGNANCY.classes[number % 2],
        **cells,
    }


def load(folder: Path, rows: Sequence[Row], **options: Any) -> CaseSet:
    for one in rows:
        path = folder / str(one["image_path"] or "none")
        if one["image_path"] and not path.exists():
            number = float(str(one["patient_id"]).removeprefix("SMITH-"))
            write_nifti(Volume(np.full((8, 8, 8), 10 * number, dtype=np.float32), np.eye(4), "HU"), path)
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    given = {"preparer": Preparer(PREPARE, NAMES), "targets": [MALIGNANCY], **options}
    return load_cases(read_manifest(folder / "manifest.csv"), **given)


def test_each_labelled_row_becomes_a_case(tmp_path: Path) -> None:
    loaded = load(tmp_path, [row(1), row(2)])
    assert not loaded.refused
    assert loaded.n_unlabelled == 0
    first, second = loaded.cases
    assert first.id.study_key == NAMES.study("1.2.1")
    assert first.patient_key == NAMES.patient("SMITH-1")
    assert first.text is not None
    assert first.text.text == "FINDINGS: Nodule 1."
    assert (first.targets, second.targets) == ({"malignancy": 1}, {"malignancy": 0})
    assert first.image is not None
    assert first.image.shape == (1, 4, 4, 4)
    torch.testing.assert_close(first.image, torch.full((1, 4, 4, 4), 0.1), rtol=0, atol=0.5 / 65535 + 1e-7)
    assert (first.row["fold"], first.row["site"]) == ("1", "north")


def test_case_shows_no_real_id_path_or_report(tmp_path: Path) -> None:
    one = load(tmp_path, [row(1, image_path_ct="")]).cases[0]
    assert one.patient_id == "SMITH-1"
    assert "SMITH" not in str(one.row)
    assert "1.2.1" not in str(one.row)
    assert "Nodule" not in str(one.row)
    assert "patient_id" not in repr(one)


def test_paths_of_named_channels_are_kept_out_of_the_row(tmp_path: Path) -> None:
    write_nifti(Volume(np.ones((8, 8, 8), dtype=np.float32), np.eye(4), "HU"), tmp_path / "SMITH.nii.gz")
    one = load(tmp_path, [row(1, image_path_image="SMITH.nii.gz", image_path="")]).cases[0]
    assert one.image is not None
    assert "SMITH" not in str(one.row)


def test_mistyped_label_is_refused_with_the_nearest_class_and_its_place(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"row 3 column label_malignancy.*did you mean 'positive'") as caught:
        load(tmp_path, [row(1), row(2, label_malignancy="possitive")])
    assert "possitive" not in str(caught.value)


def test_missing_label_column_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    rows = [{("label_malignacy" if key == "label_malignancy" else key): v for key, v in row(1).items()}]
    with pytest.raises(ManifestError, match=r"no column 'label_malignancy'.*did you mean 'label_malignacy'"):
        load(tmp_path, rows)


def test_unlabelled_cases_are_counted_and_left_out(tmp_path: Path) -> None:
    loaded = load(tmp_path, [row(1), row(2, label_malignancy=""), row(3, label_malignancy=" ")])
    assert [case.patient_id for case in loaded.cases] == ["SMITH-1"]
    assert loaded.n_unlabelled == 2


def test_unlabelled_cases_are_kept_on_demand(tmp_path: Path) -> None:
    loaded = load(tmp_path, [row(1), row(2, label_malignancy="")], keep_unlabelled=True)
    assert [dict(case.targets) for case in loaded.cases] == [{"malignancy": 1}, {}]


def test_case_with_one_of_two_labels_is_kept(tmp_path: Path) -> None:
    grade = Target("grade", "multiclass", ("low", "middle", "high"))
    rows = [row(1, label_grade=""), row(2, label_grade="high", label_malignancy=""), row(4, label_grade="low")]
    loaded = load(tmp_path, rows, targets=[MALIGNANCY, grade])
    assert [dict(c.targets) for c in loaded.cases] == [{"malignancy": 1}, {"grade": 2}, {"malignancy": 0, "grade": 0}]


BAD: list[tuple[str, Row, str]] = [
    ("image that is none", {"image_path": "broken.nii.gz"}, "NIfTI file"),
    ("no position", {"roi_x_mm": "", "roi_y_mm": "", "roi_z_mm": ""}, "no lesion position"),
    ("position outside", {"roi_x_mm": 400}, "outside the image"),
    ("another unit", {"unit": "arbitrary"}, "unit 'arbitrary'"),
    ("report without a word", {"report_text": "---"}, "report"),
]


@pytest.mark.parametrize(("cells", "reason"), [(cells, why) for _, cells, why in BAD], ids=[name for name, *_ in BAD])
def test_bad_study_is_refused_by_name_with_its_reason_and_the_others_go_on(
    tmp_path: Path, cells: Row, reason: str
) -> None:
    (tmp_path / "broken.nii.gz").write_bytes(b"SMITH")
    loaded = load(tmp_path, [row(1, unit="HU"), row(2, **{"unit": "HU", **cells}), row(3, unit="HU")])
    assert [case.patient_id for case in loaded.cases] == ["SMITH-1", "SMITH-3"]
    reasons = " ".join(why for key, _, why in loaded.refused if key == NAMES.study("1.2.2"))
    assert reason in reasons
    assert {key for key, _, _ in loaded.refused} == {NAMES.study("1.2.2")}
    assert "SMITH" not in str(loaded.refused)


def test_bad_lesion_of_a_study_is_refused_alone(tmp_path: Path) -> None:
    rows = [row(1), row(1, lesion_id="2", roi_x_mm=-99.0), row(1, lesion_id="3", label_malignancy="")]
    loaded = load(tmp_path, rows)
    assert [case.id.lesion_id for case in loaded.cases] == ["1"]
    assert [(key, lesion) for key, lesion, _ in loaded.refused] == [(NAMES.study("1.2.1"), "2")]
    assert loaded.n_unlabelled == 1


def test_manifest_without_a_usable_case_is_refused_with_counts_and_reasons(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [row(1, label_malignancy=""), row(2, roi_x_mm=400)]
    with pytest.raises(DataError, match=r"no usable case \(1 without a label, 1 refused\)"):
        load(tmp_path, rows)
    assert f"refused {NAMES.study('1.2.2')} 1: " in caplog.text and "SMITH" not in caplog.text


def test_case_may_lack_either_modality(tmp_path: Path) -> None:
    loaded = load(tmp_path, [row(1, image_path=""), row(2, report_text="")])
    assert [(case.image is None, case.text is None) for case in loaded.cases] == [(True, False), (False, True)]


def test_progress_sees_each_study_once(tmp_path: Path) -> None:
    seen = []

    def progress(items: Sequence[Any], /) -> Iterable[Any]:
        for item in items:
            seen.append(item.study_uid)
            yield item

    load(tmp_path, [row(1), row(1, lesion_id="2"), row(2)], progress=progress)
    assert seen == ["1.2.1", "1.2.2"]


def test_samples_hold_what_the_model_reads(tmp_path: Path) -> None:
    cases = load(tmp_path, [row(1), row(2, report_text="")]).cases
    tokenizer = ReportTokenizer.train(["Nodule 1."], vocabulary_size=100)
    both = to_samples(cases, replace(PREPARE, tokenizer=tokenizer))
    assert both[0].token_ids is not None
    assert tuple(both[0].token_ids.tolist()) == tokenizer.encode("Nodule 1.", max_length=8).ids
    assert torch.equal(both[0].image, cases[0].image)
    assert both[0].targets == {"malignancy": 1}
    assert both[1].token_ids is None
    image_only = to_samples(cases, replace(PREPARE, modalities=("image",)))
    assert all(sample.token_ids is None for sample in image_only)
    assert [sample.case for sample in image_only[1:]] == [cases[1].id]
    with pytest.raises(DataError, match="neither image nor text"):
        to_samples(cases, replace(PREPARE, modalities=("text",), tokenizer=tokenizer))


def test_attributes_become_further_targets_where_their_value_is_a_class(tmp_path: Path) -> None:
    cases = load(tmp_path, [row(1, site="south"), row(2, site="elsewhere")]).cases
    site = Target("attribute site", "multiclass", ("north", "south", "east"))
    samples = to_samples(cases, replace(PREPARE, modalities=("image",)), attributes={"site": site})
    assert [dict(s.targets) for s in samples] == [{"malignancy": 1, "attribute site": 1}, {"malignancy": 0}]
