import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from medfuse.errors import DataError, UsageError
from medfuse.inference import Predictor
from medfuse.io import LesionEntry, Pseudonymizer, StudyEntry, read_study
from medfuse.scoring import ScoreOptions, engine, score, scorer
from medfuse.scoring.scorer import Scorer

CENTRE = ScoreOptions(position="centre")
COLUMNS = [
    "study_key", "lesion_id", "status", "stage", "reason", "warnings", "flags", "probability_malignancy",
    "set_malignancy", "probability_image_malignancy", "probability_text_malignancy", "modalities_used", "model_id",
    "seconds",
]  # fmt: skip


@pytest.fixture
def entries(toy: Any) -> list[StudyEntry]:
    return list(toy.entries[-8:])  # the last two lack a modality each


@pytest.fixture
def bad(entries: list[StudyEntry], tmp_path: Path) -> StudyEntry:
    """A study whose image is torn."""
    path = tmp_path / "torn" / "SMITH.nii.gz"
    path.parent.mkdir()
    path.write_bytes(Path(str(entries[0].images["image"])).read_bytes()[:500])
    return replace(entries[0], study_uid="1.2.826.0.1.3680043.7.9999", images={"image": path})


def table_of(out: Path) -> pd.DataFrame:
    parts = [pd.read_parquet(path) for path in sorted((out / "predictions").glob("part-*.parquet"))]
    return pd.concat(parts).sort_values(["study_key", "lesion_id"], ignore_index=True)


def results_of(out: Path) -> pd.DataFrame:
    return table_of(out).drop(columns="seconds")


def test_every_case_is_scored_as_the_predictor_does(
    entries: list[StudyEntry], toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    summary = score(entries, predictor=toy_predictor, out=tmp_path / "out", pseudonymizer=names)
    assert (summary.n_scored, summary.n_refused, summary.n_done_before) == (8, 0, 0)
    table = table_of(tmp_path / "out").set_index("study_key")
    for entry in entries:
        [expected] = toy_predictor.predict(read_study(entry, pseudonymizer=names))
        row = table.loc[expected.case.study_key]
        assert row["probability_malignancy"] == pytest.approx(expected.probabilities[expected.condition][1], abs=1e-6)
        for condition in ("image", "text"):
            value = expected.probabilities.get(condition)
            found = row[f"probability_{condition}_malignancy"]
            assert pd.isna(found) if value is None else found == pytest.approx(value[1], abs=1e-6)
        assert row["flags"] == "; ".join(expected.flags)
        assert row["modalities_used"] == "+".join(expected.modalities_used)
        assert row["model_id"] == toy_predictor.bundle.model_id


def test_the_parts_have_the_contract_s_columns_whatever_is_in_them(
    entries: list[StudyEntry], bad: StudyEntry, toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(engine, "FLUSH_STUDIES", 1)
    score([bad, *entries], predictor=toy_predictor, out=tmp_path / "out", pseudonymizer=names)
    parts = sorted((tmp_path / "out" / "predictions").glob("part-*.parquet"))
    assert len(parts) == 9
    for part in parts:
        frame = pd.read_parquet(part)
        assert list(frame.columns) == COLUMNS
        assert all(frame[c].dtype == float for c in COLUMNS if c.startswith(("probability", "seconds")))
    # As one data set, which takes its columns from the first part: here one of refusals only.
    whole = pd.read_parquet(tmp_path / "out" / "predictions")
    assert list(whole.columns) == COLUMNS
    assert whole["probability_malignancy"].notna().sum() == 8


def test_a_bad_study_among_good_ones_is_refused_by_name(
    entries: list[StudyEntry], bad: StudyEntry, toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    studies = [*entries[:3], bad, *entries[3:]]
    summary = score(studies, predictor=toy_predictor, out=tmp_path / "out", pseudonymizer=names)
    assert (summary.n_scored, summary.n_refused) == (8, 1)
    [refused] = [json.loads(line) for line in (tmp_path / "out" / "refused.jsonl").read_text().splitlines()]
    assert refused["study_key"] == names.study(bad.study_uid)
    assert refused["lesion_id"] == "1"
    assert refused["stage"] == "read"
    assert "NIfTI file" in refused["reason"]
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (record["scored"], record["refused"]) == (8, 1)
    assert record["identity"]["model_id"] == toy_predictor.bundle.model_id


def test_a_file_that_vanished_is_refused(
    entries: list[StudyEntry], toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    gone = replace(entries[0], images={"image": tmp_path / "SMITH" / "gone.nii.gz"})
    summary = score([gone, entries[1]], predictor=toy_predictor, out=tmp_path / "out", pseudonymizer=names)
    assert (summary.n_scored, summary.n_refused) == (1, 1)


def test_a_study_refused_before_reading_is_one_row(
    entries: list[StudyEntry], toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    known = replace(entries[0], refusal=DataError("series", "found two slices at one position"))
    score([known], predictor=toy_predictor, out=tmp_path / "out", pseudonymizer=names)
    [row] = table_of(tmp_path / "out").to_dict("records")
    assert (row["lesion_id"], row["stage"], row["status"]) == ("whole", "read", "refused")
    assert row["reason"] == "series: found two slices at one position"


def test_each_lesion_of_a_study_is_scored_or_refused(
    entries: list[StudyEntry], toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    good = entries[0].lesions[0]
    lesions = (
        good,
        replace(good, lesion_id="outside", centre=(900.0, 0.0, 0.0)),
        replace(good, lesion_id="nowhere", centre=None),
        replace(good, lesion_id="known", refusal=DataError("lesion", "found in no series")),
    )
    entry = replace(entries[0], lesions=lesions)
    summary = score([entry], predictor=toy_predictor, out=tmp_path / "out", pseudonymizer=names)
    assert (summary.n_scored, summary.n_refused) == (1, 3)
    stages = table_of(tmp_path / "out").set_index("lesion_id")["stage"].to_dict()
    assert stages == {"1": "", "outside": "read", "nowhere": "prepare", "known": "read"}


def test_a_study_whose_every_lesion_is_refused_has_a_row_for_each(
    entries: list[StudyEntry], toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    far = [replace(entries[0].lesions[0], lesion_id=n, centre=(900.0, 0.0, 0.0)) for n in ("1", "2")]
    entry = replace(entries[0], lesions=tuple(far))
    score([entry], predictor=toy_predictor, out=tmp_path / "out", pseudonymizer=names)
    table = table_of(tmp_path / "out")
    assert table["lesion_id"].tolist() == ["1", "2"]
    assert all("outside the image" in reason for reason in table["reason"])


def test_a_study_that_cannot_be_predicted_is_refused(
    entries: list[StudyEntry], toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    predict, poisoned = toy_predictor.predict_samples, names.study(entries[0].study_uid)

    def fails(samples: Sequence[Any]) -> Any:
        if any(sample.case.study_key == poisoned for sample in samples):
            raise DataError("prediction", "found probabilities that do not sum to 1")
        return predict(samples)

    monkeypatch.setattr(toy_predictor, "predict_samples", fails)
    score(entries[:2], predictor=toy_predictor, out=tmp_path / "out", pseudonymizer=names)
    stages = table_of(tmp_path / "out").set_index("study_key")["stage"]
    assert stages[names.study(entries[0].study_uid)] == "predict"
    assert stages[names.study(entries[1].study_uid)] == ""


def test_without_a_position_a_case_is_refused_or_taken_at_the_centre(
    entries: list[StudyEntry], toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    placed = entries[0]
    study = replace(placed, lesions=(), report=placed.lesions[0].report)
    required, centred = tmp_path / "require", tmp_path / "centre"
    score([study], predictor=toy_predictor, out=required, pseudonymizer=names)
    [row] = table_of(required).to_dict("records")
    assert (row["lesion_id"], row["status"], row["stage"]) == ("whole", "refused", "prepare")
    assert "no lesion position" in row["reason"]
    summary = score([study], predictor=toy_predictor, out=centred, pseudonymizer=names, options=CENTRE)
    assert (summary.n_scored, summary.n_refused) == (1, 0)
    [row] = table_of(centred).to_dict("records")
    [expected] = toy_predictor.predict(read_study(placed, pseudonymizer=names))  # its position is the centre
    assert row["probability_malignancy"] == pytest.approx(expected.probabilities["fused"][1], abs=1e-6)


def test_scoring_again_changes_nothing(
    entries: list[StudyEntry], bad: StudyEntry, toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out = tmp_path / "out"
    first = score([*entries, bad], predictor=toy_predictor, out=out, pseudonymizer=names)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file() and p.name != "run.json"}
    monkeypatch.setattr(toy_predictor, "predict_samples", None)  # nothing is predicted a second time
    again = score([*entries, bad], predictor=toy_predictor, out=out, pseudonymizer=names)
    assert before == {p: p.read_bytes() for p in out.rglob("*") if p.is_file() and p.name != "run.json"}
    assert (again.n_scored, again.n_refused) == (first.n_scored, first.n_refused)
    assert again.n_done_before == 9


@pytest.mark.parametrize("kill_at", [0, 1, 3, 4, 8])
def test_an_interrupted_run_goes_on_to_the_same_results(
    entries: list[StudyEntry], bad: StudyEntry, toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, kill_at: int,
) -> None:  # fmt: skip
    studies, prepare = [bad, *entries], Scorer._prepare
    monkeypatch.setattr(engine, "FLUSH_STUDIES", 2)

    def interrupted(self: Scorer, work: Any) -> Any:
        if work.study_key == names.study(studies[kill_at].study_uid):
            raise KeyboardInterrupt
        return prepare(self, work)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Scorer, "_prepare", interrupted)
        score(studies, predictor=toy_predictor, out=tmp_path / "killed", pseudonymizer=names)
    after = score(studies, predictor=toy_predictor, out=tmp_path / "killed", pseudonymizer=names)
    assert kill_at - 3 <= after.n_done_before <= kill_at  # what was finished is kept; two batches were on their way
    score(studies, predictor=toy_predictor, out=tmp_path / "whole", pseudonymizer=names)
    pd.testing.assert_frame_equal(results_of(tmp_path / "killed"), results_of(tmp_path / "whole"))
    assert not results_of(tmp_path / "killed").duplicated(["study_key", "lesion_id"]).any()


def test_an_answer_is_the_same_to_the_bit_whatever_lies_beside_it(
    entries: list[StudyEntry], toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    # In other orders, and in other batches.
    score(entries, predictor=toy_predictor, out=tmp_path / "all", pseudonymizer=names)
    score(entries[::-1], predictor=toy_predictor, out=tmp_path / "turned", pseudonymizer=names)
    for entry in entries:
        score([entry], predictor=toy_predictor, out=tmp_path / "each" / entry.study_uid, pseudonymizer=names)
    each = [results_of(folder) for folder in (tmp_path / "each").iterdir()]
    expected = pd.concat(each).sort_values(["study_key", "lesion_id"], ignore_index=True)
    pd.testing.assert_frame_equal(results_of(tmp_path / "all"), expected, check_exact=True)
    pd.testing.assert_frame_equal(results_of(tmp_path / "turned"), expected, check_exact=True)


def test_a_late_report_scores_its_study_again_and_no_other(
    entries: list[StudyEntry], toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    out, late = tmp_path / "out", replace(entries[0], lesions=(replace(entries[0].lesions[0], report=None),))
    first = score([late, *entries[1:]], predictor=toy_predictor, out=out, pseudonymizer=names)
    before = results_of(out).set_index("study_key")
    again = score(entries, predictor=toy_predictor, out=out, pseudonymizer=names)
    after = results_of(out).set_index("study_key")
    assert (first.n_scored, again.n_scored, again.n_done_before) == (8, 8, 7)
    key = names.study(entries[0].study_uid)
    assert "missing report" in before.loc[key, "flags"]
    assert "missing report" not in after.loc[key, "flags"]
    pd.testing.assert_frame_equal(before.drop(index=key), after.drop(index=key), check_exact=True)


def test_refused_studies_are_tried_again_when_asked(
    entries: list[StudyEntry], bad: StudyEntry, toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    out, studies = tmp_path / "out", [*entries, bad]
    score(studies, predictor=toy_predictor, out=out, pseudonymizer=names)
    image = Path(str(bad.images["image"]))
    status = image.stat()
    shutil.copy(Path(str(entries[0].images["image"])), image)  # mended
    retry = ScoreOptions(retry_refused=True)
    again = score(studies, predictor=toy_predictor, out=out, pseudonymizer=names, options=retry)
    assert (again.n_scored, again.n_refused, again.n_done_before) == (9, 0, 8)
    assert status != image.stat()
    assert not results_of(out).duplicated(["study_key", "lesion_id"]).any()


def test_shares_of_the_work_make_one_whole(
    entries: list[StudyEntry], bad: StudyEntry, toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    studies = [*entries, bad]
    shares = [
        score(
            studies, predictor=toy_predictor, out=tmp_path / "shared", pseudonymizer=names,
            options=ScoreOptions(share=(number, 3)),
        )
        for number in range(3)
    ]  # fmt: skip
    score(studies, predictor=toy_predictor, out=tmp_path / "whole", pseudonymizer=names)
    assert (shares[-1].n_scored, shares[-1].n_refused) == (8, 1)
    pd.testing.assert_frame_equal(results_of(tmp_path / "shared"), results_of(tmp_path / "whole"), check_exact=True)


def test_an_error_that_nobody_foresaw_refuses_its_study_alone_and_names_no_patient(
    entries: list[StudyEntry], toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    tried, prepare = list[str](), scorer.prepare_study

    def breaks(work: Any, **options: Any) -> Any:
        tried.append(work.study_key)
        if work.study_key == names.study(entries[1].study_uid):
            raise RuntimeError(f"SMITH {entries[1].study_uid}")
        return prepare(work, **options)

    monkeypatch.setattr(scorer, "prepare_study", breaks)
    summary = score(entries, predictor=toy_predictor, out=tmp_path / "out", pseudonymizer=names)
    assert (summary.n_scored, summary.n_refused) == (7, 1)
    assert tried.count(names.study(entries[1].study_uid)) == 2
    [refused] = [json.loads(line) for line in (tmp_path / "out" / "refused.jsonl").read_text().splitlines()]
    assert (refused["lesion_id"], refused["stage"]) == ("whole", "read")
    assert "unexpected RuntimeError, twice" in refused["reason"]
    assert "SMITH" not in refused["reason"]


def test_a_study_that_takes_too_long_is_stopped_and_refused(
    entries: list[StudyEntry], toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    prepare = scorer.prepare_study

    def hangs(work: Any, **options: Any) -> Any:
        if work.study_key == names.study(entries[1].study_uid):
            time.sleep(60)
        return prepare(work, **options)

    monkeypatch.setattr(scorer, "prepare_study", hangs)
    limited = ScoreOptions(study_seconds=0.2)
    summary = score(entries, predictor=toy_predictor, out=tmp_path / "out", pseudonymizer=names, options=limited)
    assert (summary.n_scored, summary.n_refused) == (7, 1)
    assert "and was stopped" in (tmp_path / "out" / "refused.jsonl").read_text()


def test_the_folder_of_another_model_is_refused(
    entries: list[StudyEntry], toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    score(entries[:1], predictor=toy_predictor, out=tmp_path / "out", pseudonymizer=names)
    other = Predictor(replace(toy_predictor.bundle, model_id="another"))
    with pytest.raises(UsageError, match=r"model_id \(.* there, another now\) differ"):
        score(entries, predictor=other, out=tmp_path / "out", pseudonymizer=names)


def test_the_folder_of_another_pseudonym_key_is_refused(
    entries: list[StudyEntry], toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    # Under another key the same study would be there a second time, by another name.
    score(entries[:1], predictor=toy_predictor, out=tmp_path / "out", pseudonymizer=names)
    with pytest.raises(UsageError, match="pseudonym_key differ"):
        score(entries, predictor=toy_predictor, out=tmp_path / "out", pseudonymizer=Pseudonymizer(bytes(32)))


def test_a_study_given_twice_is_refused_before_anything_is_written(
    entries: list[StudyEntry], toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="found 1 study more than once"):
        score([*entries, entries[0]], predictor=toy_predictor, out=tmp_path / "out", pseudonymizer=names)
    assert not (tmp_path / "out").exists()


def test_no_real_id_and_no_report_text_is_in_the_results(
    toy: Any, entries: list[StudyEntry], bad: StudyEntry, toy_predictor: Predictor, names: Pseudonymizer,
    tmp_path: Path, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    lost = replace(entries[1], lesions=(LesionEntry("1", mask=tmp_path / "SMITH" / "mask.nii.gz"),))
    shutil.copytree(tmp_path / "torn", tmp_path / "SMITH")
    score([entries[0], lost, bad, *entries[2:]], predictor=toy_predictor, out=tmp_path / "out", pseudonymizer=names)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {"refused.jsonl", "run.json"} < {path.name for path in files}
    for path in files:
        # Parquet may compress: search the values that it holds too.
        held = pd.read_parquet(path).to_csv() if path.suffix == ".parquet" else ""
        for secret in toy.secrets:
            assert secret.encode() not in path.read_bytes()
            assert secret not in held
            assert secret not in str(path.relative_to(tmp_path))
            assert secret not in caplog.text
