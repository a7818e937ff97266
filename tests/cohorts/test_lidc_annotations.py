import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from medfuse.cohorts import lidc_annotations
from medfuse.cohorts.lidc_annotations import SCORES, Contour, cohort_digest, load_nodules
from medfuse.errors import DataError, UsageError

DIGEST = "5b9dd1f68ab450f106a1be319986970056dcecd60ca981eff3ba495d535a42ef"

SQUARE = "10,20\n14,20\n14,24\n10,24\n10,20"


@pytest.fixture
def database(tmp_path):
    """Two scans: three readers of one nodule and one of another; a scan without annotations."""
    path = tmp_path / "annotations.sqlite"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "CREATE TABLE scans (id, study_instance_uid, series_instance_uid, patient_id,"
            " slice_thickness, pixel_spacing)"
        )
        db.execute(f"CREATE TABLE annotations (id, scan_id, {', '.join(SCORES)})")
        db.execute("CREATE TABLE contours (id, annotation_id, inclusion, image_z_position, coords)")
        db.execute("CREATE TABLE zvals (scan_id, val)")
        db.executemany(
            "INSERT INTO scans VALUES (?, ?, ?, ?, ?, ?)",
            [(1, "1.2.1", "1.2.1.1", "P-b", 2.0, 0.5), (2, "1.2.2", "1.2.2.1", "P-a", 2.0, 0.5)],
        )
        db.executemany("INSERT INTO zvals VALUES (?, ?)", [(s, z) for s in (1, 2) for z in (4.0, 0.0, 2.5)])
        for annotation, malignancy in ((11, 1), (12, 4), (13, 5), (14, 2)):
            scores = [3] * 8 + [malignancy]
            marks = ", ".join("?" * (2 + len(scores)))
            db.execute(f"INSERT INTO annotations VALUES ({marks})", (annotation, 1, *scores))  # noqa: S608
            coords = SQUARE if annotation < 14 else "300,300\n301,300\n300,300"
            db.execute("INSERT INTO contours VALUES (?, ?, 1, 2.5, ?)", (annotation, annotation, coords))
        db.execute("INSERT INTO contours VALUES (99, 11, 0, 2.5, '12,22')")
    return path


def test_points_are_column_then_row_and_contours_keep_slice_and_hole(database):
    (nodule,) = load_nodules(database=database)
    first = nodule.annotations[0]
    outline, hole = first.contours
    assert outline.points.tolist() == [[10, 20], [14, 20], [14, 24], [10, 24], [10, 20]]
    assert (outline.z_mm, outline.inclusion) == (2.5, True)
    assert (hole.points.tolist(), hole.inclusion) == ([[12, 22]], False)
    assert first.scores["malignancy"] == 1
    assert set(first.scores) == set(SCORES)


def test_scan_geometry_is_read_in_slice_order(database):
    scan = load_nodules(database=database)[0].scan
    assert (scan.pixel_spacing_mm, scan.slice_thickness_mm, scan.patient_id) == (0.5, 2.0, "P-b")
    assert scan.slice_z_mm.tolist() == [0.0, 2.5, 4.0]
    assert scan.slice_spacing_mm == 2.0


def test_diameter_is_the_longest_in_plane_chord_in_mm(database):
    (nodule,) = load_nodules(database=database)
    assert nodule.diameter_mm == pytest.approx(np.hypot(4, 4) * 0.5)


def test_diameter_of_single_point_contours_is_zero(database):
    (nodule,) = load_nodules(database=database)
    dot = replace(nodule.reporting, contours=(Contour(0.0, True, np.array([[3, 4]], dtype=np.int32)),))
    assert replace(nodule, reporting=dot).diameter_mm == 0.0


def test_fewer_readers_are_kept_when_asked(database):
    nodules = load_nodules(database=database, min_readers=1)
    assert [(n.index, len(n.annotations)) for n in nodules] == [(1, 3), (2, 1)]
    assert (nodules[1].label_median, nodules[1].label) == (None, None)


@pytest.mark.parametrize(
    ("scores", "median", "label"),
    [
        ((1, 2), 1.5, "negative"),
        ((2, 3), 2.5, "negative"),
        ((2, 4), 3.0, None),
        ((3, 4), 3.5, "positive"),
        ((1, 4, 5), 4.0, "positive"),
    ],
)
def test_label_is_the_side_of_the_other_readers_median(database, scores, median, label):
    (nodule,) = load_nodules(database=database)
    others = tuple(
        replace(nodule.others[0], annotation_id=100 + i, scores={"malignancy": s}) for i, s in enumerate(scores)
    )
    changed = replace(nodule, others=others)
    assert (changed.label_median, changed.label) == (median, label)


def test_reporting_reader_among_the_label_readers_is_refused(database):
    (nodule,) = load_nodules(database=database)
    with pytest.raises(DataError, match="reporting reader among the label readers"):
        replace(nodule, others=nodule.annotations)


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(lidc_annotations, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'medfuse\[lidc\]'"):
        load_nodules()


@pytest.mark.parametrize("content", [None, b"no database at all, only text"])
def test_absent_or_broken_database_is_refused_without_its_path(tmp_path, content):
    path = tmp_path / "secret-name.sqlite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match="no readable database") as caught:
        load_nodules(database=path)
    assert "secret-name" not in str(caught.value)


@pytest.mark.parametrize("min_readers", [0, 5])
def test_impossible_number_of_readers_is_refused(min_readers):
    with pytest.raises(UsageError, match="1 to 4"):
        load_nodules(min_readers=min_readers)


def test_database_is_left_untouched(database):
    before = database.read_bytes()
    load_nodules(database=database)
    assert database.read_bytes() == before
    assert [p.name for p in database.parent.iterdir()] == [database.name]


def test_cohort_counts_and_digest_are_frozen(lidc_nodules):
    labelled = [n for n in lidc_nodules if n.label]
    counts = {
        "nodules": len(lidc_nodules),
        "labelled": len(labelled),
        "positive": sum(n.label == "positive" for n in labelled),
        "patients": len({n.scan.patient_id for n in labelled}),
    }
    assert counts == {"nodules": 1377, "labelled": 862, "positive": 380, "patients": 520}
    assert cohort_digest(lidc_nodules) == DIGEST


def test_no_label_reader_is_the_reporting_reader(lidc_nodules):
    for nodule in lidc_nodules:
        ids = [reader.annotation_id for reader in nodule.annotations]
        assert len(ids) == len(set(ids)) == len(nodule.others) + 1
        assert nodule.reporting.annotation_id not in {o.annotation_id for o in nodule.others}


def test_each_nodule_has_three_or_four_readers_and_each_annotation_one_nodule(lidc_nodules):
    ids = [reader.annotation_id for n in lidc_nodules for reader in n.annotations]
    assert {len(n.annotations) for n in lidc_nodules} == {3, 4}
    assert len(ids) == len(set(ids))
    assert len({(n.scan.study_instance_uid, n.index) for n in lidc_nodules}) == len(lidc_nodules)


def test_each_readers_turn_to_report_comes_up_alike(lidc_nodules):
    places = [
        [reader.annotation_id for reader in n.annotations].index(n.reporting.annotation_id)
        for n in lidc_nodules
        if len(n.annotations) == 4
    ]
    shares = np.bincount(places, minlength=4) / len(places)
    assert np.abs(shares - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / len(places))


def test_another_seed_changes_the_reporting_readers_only(lidc_nodules):
    other = load_nodules(seed=1)
    assert [n.scan.study_instance_uid for n in other] == [n.scan.study_instance_uid for n in lidc_nodules]
    assert [n.index for n in other] == [n.index for n in lidc_nodules]
    same = [a.reporting.annotation_id == b.reporting.annotation_id for a, b in zip(lidc_nodules, other, strict=True)]
    assert 0.2 < np.mean(same) < 0.4  # one of 3 or 4 readers by chance
    assert cohort_digest(other) != DIGEST


def test_every_contour_lies_on_a_slice_of_its_scan(lidc_nodules):
    for nodule in lidc_nodules:
        z = [contour.z_mm for reader in nodule.annotations for contour in reader.contours]
        assert np.isin(z, nodule.scan.slice_z_mm).all()


def test_diameter_alone_tells_much_of_the_label(lidc_nodules):
    """The size baseline, as the rank-sum (Mann-Whitney) form of the AUC."""
    from scipy.stats import mannwhitneyu

    positive = [n.diameter_mm for n in lidc_nodules if n.label == "positive"]
    negative = [n.diameter_mm for n in lidc_nodules if n.label == "negative"]
    auc = mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative))
    assert auc == pytest.approx(0.908, abs=0.01)
