from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.text import annotate
from medfuse.text.measurements import find_image, find_measurements


def one(text: str):
    (measurement,) = find_measurements(text, 0, len(text))
    return measurement


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2-3 mm", (3.0,)),
        ("2 to 3 mm", (3.0,)),
        ("5 mm to 7 mm", (7.0,)),
        ("up to 1.5 cm", (15.0,)),
        ("2.1 x 1.8 x 1 cm", (21.0, 18.0, 10.0)),
        ("12 (AP) x 9 mm", (12.0, 9.0)),
        (".8 cm", (8.0,)),
    ],
)
def test_axes_and_ranges_come_in_millimetres(text, size):
    assert one(text).size_mm == pytest.approx(size)


@given(
    axes=st.lists(st.integers(1, 300), min_size=1, max_size=3),
    unit=st.sampled_from(["mm", "cm", "millimeters", "centimetres"]),
    by=st.sampled_from([" x ", "x", " by ", " × "]),
)
def test_any_size_is_read_as_it_is_written(axes, unit, by):
    factor = 10 if unit.startswith("c") else 1
    measurement = one(f"measures {by.join(map(str, axes))} {unit}.")
    assert measurement.size_mm == tuple(float(axis * factor) for axis in axes)


@pytest.mark.parametrize("text", ["Slice thickness 3 mm.", "The tip lies proximal to 4 cm."])
def test_distance_and_slice_thickness_are_no_sizes(text):
    assert find_measurements(text, 0, len(text)) == []


def test_size_of_an_earlier_examination_is_kept_apart():
    (nodule,) = annotate("A nodule measuring 8 mm, previously 5 mm.").findings
    assert (nodule.size_mm, nodule.previous_size_mm) == ((8.0,), (5.0,))


@pytest.mark.parametrize(("text", "bound"), [("subcentimeter", 10.0), ("sub-centimetre", 10.0), ("sub-5 mm", 5.0)])
def test_upper_bound_alone_is_no_size(text, bound):
    (node,) = annotate(f"A {text} lymph node.").findings
    assert (node.size_mm, node.size_below_mm) == ((), bound)


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("nodule (4:123)", "4:123"),
        ("nodule, series 4, image 123", "4:123"),
        ("nodule (series #4, image #123)", "4:123"),
        ("nodule on image 12", "12"),
        ("nodule at 4:30 pm", ""),
        ("nodule", ""),
    ],
)
def test_series_and_image_are_named(text, image):
    assert find_image(text, 0, len(text)) == image


def test_image_belongs_to_its_own_finding():
    found = annotate("A 3 mm nodule (2:10) and a 5 mm cyst (2:20).").findings
    assert [(f.concept, f.size_mm, f.series_image) for f in found] == [
        ("nodule", (3.0,), "2:10"),
        ("cyst", (5.0,), "2:20"),
    ]


def test_each_further_size_repeats_the_finding():
    found = annotate("Nodules of 3 mm in the left lung; the other is 5 mm.").findings
    assert [(f.concept, f.size_mm) for f in found] == [("nodule", (3.0,)), ("nodule", (5.0,))]


def test_size_in_a_sentence_of_its_own_belongs_to_the_finding_before():
    (nodule,) = annotate("A nodule in the left lung. It measures 7 mm.").findings
    assert nodule.size_mm == (7.0,)


def test_size_of_something_else_is_not_given_to_the_finding_before():
    (nodule,) = annotate("A nodule in the left lung. The aorta measures 31 mm.").findings
    assert nodule.size_mm == ()


@pytest.mark.parametrize(("size", "concept"), [("9 mm", "lymph_node"), ("12 x 10 mm", "lymphadenopathy")])
def test_lymph_node_counts_as_enlarged_from_ten_millimetres(size, concept):
    (node,) = annotate(f"A right hilar lymph node of {size}.").findings
    assert node.concept == concept
