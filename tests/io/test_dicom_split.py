"""Series are parted by headers alone: nothing here has a file, unless copies must be compared."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.errors import GeometryError, PixelError, VolumeError
from medfuse.io.dicom_headers import SliceHeader, group_headers
from medfuse.io.dicom_split import Stack, split_series

MR = "1.2.840.10008.5.1.4.1.1.4"
AXIAL, SAGITTAL = "1\\0\\0\\0\\1\\0", "0\\1\\0\\0\\0\\-1"
N = 5


def header(z: float, *, number: int = 1, syntax: str = "1.2.840.10008.1.2.1", **values: object) -> SliceHeader:
    base = {
        "SOPClassUID": MR,
        "SOPInstanceUID": f"2.25.{number}",
        "StudyInstanceUID": "2.25.1",
        "SeriesInstanceUID": "2.25.2",
        "PatientID": "Ann",
        "Modality": "MR",
        "ImageType": "ORIGINAL\\PRIMARY\\M",
        "InstanceNumber": number,
        "Rows": 6,
        "Columns": 7,
        "PhotometricInterpretation": "MONOCHROME2",
        "SamplesPerPixel": 1,
        "PixelSpacing": "0.8\\0.7",
        "ImageOrientationPatient": AXIAL,
        "ImagePositionPatient": f"0\\0\\{z}",
        "SliceThickness": 2.5,
    }
    texts = {key: str(value) for key, value in (base | values).items() if value is not None}
    return SliceHeader(Path(f"{number}.dcm"), syntax, texts)


def series(*volumes: dict[str, object], n: int = N) -> list[SliceHeader]:
    """One after the other, each of n slices 2.5 mm apart, InstanceNumber counted through."""
    return [
        header(
            values.get("start", 0) + 2.5 * k, number=v * n + k + 1, **{k: x for k, x in values.items() if k != "start"}
        )
        for v, values in enumerate(volumes)
        for k in range(n)
    ]


def zs(stack: Stack) -> list[float]:
    return [float(item.text("ImagePositionPatient").split("\\")[2]) for item in stack.slices]


@pytest.mark.parametrize(
    ("one", "other", "label"),
    [
        ({"EchoTime": 2.46}, {"EchoTime": 4.92}, "EchoTime 4.92"),
        ({"EchoNumbers": 1}, {"EchoNumbers": 2}, "EchoNumbers 2"),
        ({"DiffusionBValue": 0}, {"DiffusionBValue": 1000}, "DiffusionBValue 1000"),
        ({"DiffusionBValue": None}, {"DiffusionBValue": 1000}, "DiffusionBValue absent"),
        ({"TemporalPositionIdentifier": 2}, {"TemporalPositionIdentifier": 10}, "TemporalPositionIdentifier 10"),
        ({"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B70f"}, "ConvolutionKernel B70f"),
        (
            {"ImageType": "ORIGINAL\\PRIMARY\\M"},
            {"ImageType": "ORIGINAL\\PRIMARY\\P"},
            "ImageType ORIGINAL\\PRIMARY\\P",
        ),
        ({"InversionTime": 100}, {"InversionTime": 800}, "InversionTime 800"),
        ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}, "AcquisitionNumber 2"),
        ({"Rows": 6}, {"Rows": 12}, "Rows 12"),
        ({"PixelSpacing": "0.8\\0.7"}, {"PixelSpacing": "1.6\\1.4"}, "PixelSpacing 1.6\\1.4"),
        ({"ComplexImageComponent": "MAGNITUDE"}, {"ComplexImageComponent": "PHASE"}, "ComplexImageComponent PHASE"),
    ],
)
def test_volumes_of_one_series_are_parted_and_named(one, other, label: str) -> None:
    stacks = split_series(series(one, other)[::-1])
    assert [zs(stack) for stack in stacks] == [[0, 2.5, 5, 7.5, 10]] * 2
    assert stacks[1].label == label and label in stacks[1].warnings[0] and "one of 2 volumes" in stacks[1].warnings[0]


def test_orientations_are_parted() -> None:
    sagittal = [
        header(0, number=9 + k, ImageOrientationPatient=SAGITTAL, ImagePositionPatient=f"{3 * k}\\0\\0")
        for k in range(3)
    ]
    stacks = split_series([*series({}), *sagittal])
    assert sorted(len(stack.slices) for stack in stacks) == [3, 5]
    assert sorted(np.abs(stack.affine[:3, 2]).argmax() for stack in stacks) == [0, 2]


def test_noise_in_an_orientation_parts_nothing() -> None:
    slices = [
        header(2.5 * k, number=k, ImageOrientationPatient=f"1\\{k * 1e-6}\\0\\{-k * 1e-6}\\1\\0") for k in range(N)
    ]
    assert len(split_series(slices)) == 1


@given(st.integers(2, 6), st.integers(2, 5), st.randoms(use_true_random=False), st.booleans())
def test_time_points_without_a_tag_are_counted_at_each_position(times, n, random_, by_slice) -> None:
    """Whether the scanner counts by time or by slice, and whatever the order of the files."""
    slices = [
        header(2.5 * k, number=1 + (k * times + t if by_slice else t * n + k), Time=t)
        for t in range(times)
        for k in range(n)
    ]
    random_.shuffle(slices)
    stacks = split_series(slices)
    assert [[item.text("Time") for item in stack.slices] for stack in stacks] == [[str(t)] * n for t in range(times)]
    assert all(zs(stack) == [2.5 * k for k in range(n)] for stack in stacks)


def test_cardiac_phases_with_a_trigger_time_a_slice_are_ordered_by_it() -> None:
    """Trigger times differ a little from slice to slice, so that no value is common to a phase."""
    slices = [
        header(2.5 * k, number=1 + k * 4 + (t * 3) % 4, TriggerTime=t * 50 + k * 1.5, Phase=t)
        for k in range(N)
        for t in range(4)
    ]
    stacks = split_series(slices)
    assert [{item.text("Phase") for item in stack.slices} for stack in stacks] == [{"0"}, {"1"}, {"2"}, {"3"}]
    assert stacks[1].label == "volume 2 of 4 by TriggerTime"


@pytest.mark.parametrize(
    ("keyword", "values"), [("FlipAngle", (2, 20)), ("RepetitionTime", (90, 900)), ("KVP", (80, 140))]
)
def test_what_was_set_on_the_scanner_parts_doubled_positions_before_their_numbers(keyword: str, values) -> None:
    """Numbered so that the n-th at a position is not always of the n-th volume."""
    slices = [
        header(2.5 * k, number=2 * k + (k + j) % 2, **{keyword: value})
        for k in range(N)
        for j, value in enumerate(values)
    ]
    stacks = split_series(slices)
    assert [{item.text(keyword) for item in stack.slices} for stack in stacks] == [{str(value)} for value in values]
    assert [zs(stack) for stack in stacks] == [[0, 2.5, 5, 7.5, 10]] * 2


def test_acquisition_number_a_slice_does_not_make_each_slice_a_volume() -> None:
    slices = [
        header(2.5 * k, number=1 + 4 * k + t, AcquisitionNumber=k, TriggerTime=30 * t + k, Phase=t)
        for k in range(N)
        for t in range(4)
    ]
    stacks = split_series(slices)
    assert [{item.text("Phase") for item in stack.slices} for stack in stacks] == [{"0"}, {"1"}, {"2"}, {"3"}]


@pytest.mark.parametrize("times", [("235959.10", "235959.20"), ("20200101100001.00", "20200101100002.00")])
def test_acquisition_times_part_volumes_whose_numbers_begin_anew(times) -> None:
    slices = [header(2.5 * k, number=k, AcquisitionTime=time) for time in times for k in range(N)]
    slices = [replace(item, values={**item.values, "SOPInstanceUID": f"2.25.{n}"}) for n, item in enumerate(slices)]
    stacks = split_series(slices)
    assert [{item.text("AcquisitionTime") for item in stack.slices} for stack in stacks] == [{time} for time in times]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"SliceLocation": lambda k: 2.5 * k, "AcquisitionTime": lambda k: f"10000{k}"}, "SliceLocation differ"),
        ({}, "only InstanceNumber tells apart"),
    ],
)
def test_slices_that_lost_their_positions_are_refused_by_name(folder, change, values, message: str) -> None:
    for k, path in enumerate(sorted(folder.iterdir())):
        change(path, ImagePositionPatient=[0, 0, 0], **{key: value(k) for key, value in values.items()})
    with pytest.raises(GeometryError, match=f"5 .*at one ImagePositionPatient.*{message}"):
        split_series(headers(folder))


def test_series_in_time_of_one_slice_is_read_and_its_exact_copy_dropped(folder, change) -> None:
    for k, path in enumerate(sorted(folder.iterdir())):
        change(path, ImagePositionPatient=[0, 0, 0], SliceLocation=7, TriggerTime=40 * k)
    assert [len(stack.slices) for stack in split_series(headers(folder))] == [1] * N
    for path in sorted(folder.iterdir())[1:]:
        path.unlink()
    shutil.copy(folder / "0001.dcm", folder / "renamed.dcm")
    change(folder / "renamed.dcm", SOPInstanceUID="2.25.777", InstanceNumber=77)
    (stack,) = split_series(headers(folder))
    assert len(stack.slices) == 1 and "1 exact duplicate images are dropped" in stack.warnings


@pytest.mark.parametrize("keyword", ["EchoTime", "ConvolutionKernel", "DiffusionBValue", "TemporalPositionIdentifier"])
def test_slices_that_fill_the_gaps_of_another_kind_are_refused_by_name(keyword: str) -> None:
    """Each kind alone would be even, at twice the true step."""
    slices = [header(2.5 * k, number=k, **{keyword: 10 + 10 * (k % 2)}) for k in range(6)]
    with pytest.raises(GeometryError, match=f"different {keyword} that fill each other's gaps"):
        split_series(slices)


def test_noise_in_the_echo_time_parts_nothing_but_two_echoes_are_two() -> None:
    noisy = [header(2.5 * k, number=k, EchoTime=4.92 + 0.001 * (k % 2)) for k in range(N)]
    assert [len(stack.slices) for stack in split_series(noisy)] == [N]
    assert len(split_series(series({"EchoTime": 0.03}, {"EchoTime": 0.05}))) == 2


def test_two_grids_may_lie_among_each_other() -> None:
    """Only slices of one grid can fill the gaps of a volume."""
    slices = [header(2.5 * k, number=k, Rows=6 + 6 * (k % 2)) for k in range(8)]
    assert [zs(stack) for stack in split_series(slices)] == [[0, 5, 10, 15], [2.5, 7.5, 12.5, 17.5]]


def test_a_kind_that_fills_one_gap_of_another_is_refused_by_name() -> None:
    slices = [
        header(2.5 * k, number=10 * echo + k, EchoTime=echo) for echo, ks in ((2, (0, 1, 3)), (4, (1, 2))) for k in ks
    ]
    with pytest.raises(GeometryError, match="different EchoTime that fill each other's gaps"):
        split_series(slices)


def test_what_parts_slices_into_no_volumes_is_passed_over_for_what_does() -> None:
    """The kind of image would leave the first with a gap; the inversion time makes two whole volumes."""
    kinds = [[f"A\\B\\{'N' if (time, k) == (100, 3) or time == 800 else 'M'}" for k in range(N)] for time in (100, 800)]
    slices = [
        header(2.5 * k, number=1 + v * N + k, InversionTime=time, ImageType=kinds[v][k])
        for v, time in enumerate((100, 800))
        for k in range(N)
    ]
    stacks = split_series(slices)
    assert [stack.label for stack in stacks] == ["InversionTime 100", "InversionTime 800"]
    assert [zs(stack) for stack in stacks] == [[0, 2.5, 5, 7.5, 10]] * 2


def test_volumes_of_two_slices_are_parted_by_what_was_set_before_their_numbers() -> None:
    stacks = split_series(series({"FlipAngle": 2}, {"FlipAngle": 20}, n=2))
    assert [stack.label for stack in stacks] == ["FlipAngle 2", "FlipAngle 20"]


def test_two_images_at_one_position_are_two_times_where_a_time_tells_them_apart() -> None:
    slices = [header(0, number=k, ContentTime=f"10000{k}") for k in (1, 2)]
    assert [stack.label for stack in split_series(slices)] == ["InstanceNumber 1", "InstanceNumber 2"]


def test_acquisition_times_of_single_slices_count_no_volumes() -> None:
    """Each slice has its own: they say when it was measured, not of which volume it is."""
    slices = [
        header(2.5 * k, number=1 + v * N + k, AcquisitionTime=f"1000{(7 * (v * N + k)) % 10:02d}")
        for v in range(2)
        for k in range(N)
    ]
    assert [stack.label for stack in split_series(slices)] == [f"volume {v} of 2 by InstanceNumber" for v in (1, 2)]


def test_two_dimensions_at_once() -> None:
    slices = series(*({"EchoTime": echo, "ImageType": f"A\\B\\{kind}"} for echo in (2, 4) for kind in "MP"))
    assert [stack.label for stack in split_series(slices)] == [
        "EchoTime 2, ImageType A\\B\\M", "EchoTime 2, ImageType A\\B\\P",
        "EchoTime 4, ImageType A\\B\\M", "EchoTime 4, ImageType A\\B\\P",
    ]  # fmt: skip


def test_slabs_of_two_acquisitions_are_two_volumes_but_one_gap_is_none() -> None:
    slabs = series({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2, "start": 100})
    assert [len(stack.slices) for stack in split_series(slabs)] == [5, 5]
    two_each = [slabs[0], slabs[1], slabs[5], slabs[6]]
    with pytest.raises(GeometryError, match="missing slices"):
        split_series(two_each)


def test_slab_of_other_thickness_is_a_volume_of_its_own() -> None:
    thin = [header(2 * k, number=k, SliceThickness=2) for k in range(4)]
    thick = [header(10 + 5 * k, number=10 + k, SliceThickness=5) for k in range(4)]
    assert [stack.affine[2, 2] for stack in split_series(thin + thick)] == [2, 5]


def test_what_may_differ_within_a_volume_parts_nothing() -> None:
    slices = [header(2.5 * k, number=k, AcquisitionNumber=k, ImageType=f"A\\B\\{k % 2}") for k in range(N)]
    (stack,) = split_series(slices)
    assert stack.label == "" and stack.warnings == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"Rows": 12}, "different Rows"),
        ({"PixelSpacing": "1.6\\1.4"}, "different PixelSpacing"),
        ({"EchoTime": 9}, "different EchoTime"),
        ({"TemporalPositionIdentifier": 2}, "different TemporalPositionIdentifier"),
    ],
)
@pytest.mark.parametrize("place", [0, 2, N - 1])
def test_one_slice_of_another_kind_is_refused_by_name(values, message: str, place: int) -> None:
    slices = series({})
    slices[place] = header(2.5 * place, number=50, **values)
    with pytest.raises(GeometryError, match=message):
        split_series(slices)


def test_slice_of_another_orientation_that_leaves_a_gap_is_refused_by_both_names() -> None:
    slices = series({})
    slices[2] = header(5, number=50, ImageOrientationPatient=SAGITTAL)
    with pytest.raises(GeometryError, match=r"different ImageOrientationPatient.*missing slices"):
        split_series(slices)


def test_time_point_without_one_slice_is_refused_by_name() -> None:
    with pytest.raises(GeometryError, match="missing slices"):
        slices = series({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2})
        split_series([*slices[:7], *slices[8:]])


@pytest.mark.parametrize("keyword", ["PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "Modality"])
def test_slices_that_share_no_identity_are_refused_without_showing_it(keyword: str) -> None:
    slices = [*series({}), header(12.5, number=9, **{keyword: "Bob^Secret"})]
    with pytest.raises(GeometryError, match=f"different {keyword}") as caught:
        split_series(slices)
    assert "Secret" not in str(caught.value) and "Ann" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"ImageType": "ORIGINAL\\PRIMARY\\LOCALIZER"}, "a localizer"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "a secondary capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1", "Modality": "CR"}, r"a projection image \(CR\)"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1", "Modality": "DX"}, r"a projection image \(DX\)"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.12.1", "Modality": "XA"}, r"a projection image \(XA\)"),
        ({"SOPClassUID": None, "Modality": "MG"}, r"a projection image \(MG\)"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.2", "Modality": "RTDOSE"}, "a radiotherapy dose"),
        ({"SOPClassUID": "1.2.3.4"}, "an image of another kind"),
    ],
)
def test_what_is_no_slice_is_set_aside_or_alone_refused_by_name(values, reason: str) -> None:
    aside = header(0, number=99, **(values | {"Rows": 400, "PixelSpacing": None, "ImagePositionPatient": None}))
    if values.get("Modality"):
        aside = SliceHeader(aside.path, aside.transfer_syntax, dict(aside.values) | {"Modality": values["Modality"]})
    (stack,) = split_series([*series({}), aside])
    assert len(stack.slices) == N and "set aside" in stack.warnings[0]
    with pytest.raises(VolumeError, match=reason):
        split_series([aside])


def test_colour_among_grey_slices_is_refused_and_alone_named() -> None:
    colour = header(12.5, number=9, SamplesPerPixel=3, PhotometricInterpretation="RGB")
    for slices in ([*series({}), colour], [colour]):
        with pytest.raises(PixelError, match=r"colour image .*RGB"):
            split_series(slices)


def test_unknown_transfer_syntax_is_refused_by_name() -> None:
    with pytest.raises(PixelError, match=r"transfer syntax 1\.2\.840\.99999"):
        split_series([header(0, syntax="1.2.840.99999.1")])


def test_monochrome1_and_absent_study_uid_are_said() -> None:
    slices = [
        header(2.5 * k, number=k, PhotometricInterpretation="MONOCHROME1", StudyInstanceUID=None) for k in range(3)
    ]
    said = " ".join(split_series(slices)[0].warnings)
    assert "MONOCHROME1" in said and "StudyInstanceUID" in said


def test_slices_that_share_a_sop_instance_uid_are_said() -> None:
    slices = [header(2.5 * k, number=max(k, 1)) for k in range(N)]
    (stack,) = split_series(slices)
    assert len(stack.slices) == N and any("1 images carry the SOPInstanceUID" in text for text in stack.warnings)


@pytest.fixture
def folder(tmp_path: Path, write_series: Callable[..., object]) -> Path:
    write_series(tmp_path / "ct")
    return tmp_path / "ct"


def headers(folder: Path) -> list[SliceHeader]:
    (items,) = group_headers(sorted(folder.iterdir())).values()
    return items


def test_exact_duplicates_are_dropped_with_a_warning(folder: Path, change) -> None:
    shutil.copy(folder / "0002.dcm", folder / "copy.dcm")
    shutil.copy(folder / "0004.dcm", folder / "renamed.dcm")
    change(folder / "renamed.dcm", SOPInstanceUID="2.25.777", InstanceNumber=77)
    (stack,) = split_series(headers(folder))
    assert len(stack.slices) == N
    assert [text for text in stack.warnings if "duplicate" in text] == ["1 exact duplicate images are dropped"] * 2


@pytest.mark.parametrize("values", [{}, {"SOPInstanceUID": "2.25.777"}, {"TriggerTime": 40}])
def test_duplicates_with_other_pixels_are_refused_by_name(folder: Path, change, values) -> None:
    shutil.copy(folder / "0002.dcm", folder / "again.dcm")
    change(folder / "again.dcm", PixelData=b"\1\0" * 42, **values)
    with pytest.raises(GeometryError, match=r"duplicate .*pixels differ") as caught:
        split_series(headers(folder))
    assert ("TriggerTime" in str(caught.value)) == ("TriggerTime" in values)
