from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from medfuse.config import ChannelConfig, ImageConfig, TextConfig
from medfuse.data import Preprocessing
from medfuse.errors import BundleError, DataError, LesionPositionError, ReportTextError, UsageError
from medfuse.text import ReportTokenizer, flag_names
from medfuse.text.tokens import UNKNOWN_ID
from medfuse.types import Lesion, ReportText, Study, Unit, Volume

TEXT = "HISTORY: Cough.\nFINDINGS: A solid nodule.\nIMPRESSION: Nodule."
TOKENIZER = ReportTokenizer.train([TEXT], vocabulary_size=100)
IMAGE = ImageConfig(size=(4, 4, 4), spacing_mm=1.0, channels=(ChannelConfig(intensity=(-100.0, 300.0)),))
BOTH = ("image", "text")
PREPARE = Preprocessing(IMAGE, TextConfig(), "HU", BOTH, TOKENIZER)
CENTRE = (4.5, 4.5, 4.5)
AT_CENTRE = Lesion("1", CENTRE)
HALF_STEP = 0.5 * 400 / 65535 + 1e-4
"""In HU, of a window of 400 HU."""


def study(
    *, value: float = 100.0, unit: Unit = "HU", report: str | None = TEXT, lesions: tuple[Lesion, ...] = (AT_CENTRE,)
) -> Study:
    volume = Volume(np.full((10, 10, 10), value), np.eye(4), unit)
    return Study("S1", "P1", {"image": volume}, None if report is None else ReportText(report), lesions)


def words(prepare: Preprocessing, text: str) -> list[str]:
    encoding = prepare.encode(ReportText(text))
    assert encoding is not None
    return [text[start:end] for start, end in encoding.offsets]


def test_sample_has_the_shape_type_and_identity_that_the_model_reads() -> None:
    sample = PREPARE(study(), AT_CENTRE)
    assert str(sample.case) == "S1-1"
    assert sample.image is not None
    assert sample.token_ids is not None
    assert sample.image.shape == PREPARE.image_shape == (1, 4, 4, 4)
    assert sample.image.dtype == torch.float32
    assert sample.token_ids.dtype == torch.int64
    assert sample.targets == {}


@pytest.mark.parametrize(("value", "scaled"), [(-100, 0), (0, 0.25), (100, 0.5), (300, 1), (-3000, 0), (3000, 1)])
def test_window_maps_to_0_and_1_and_clips(value: float, scaled: float) -> None:
    image = PREPARE.prepare_image(study(value=value), AT_CENTRE)
    assert image is not None
    np.testing.assert_allclose(image.numpy(), scaled, atol=0.5 / 65535 + 1e-7)


def test_undo_window_gives_the_units_back() -> None:
    image = PREPARE.prepare_image(study(value=123.0), AT_CENTRE)
    assert image is not None
    np.testing.assert_allclose(PREPARE.undo_window(image), np.full((4, 4, 4), 123.0), atol=HALF_STEP)


def test_box_is_cut_where_its_affine_says() -> None:
    ramp = np.indices((10, 10, 10))[0].astype(float)
    one = Study("S1", "P1", {"image": Volume(ramp, np.diag([-1.0, 1, 1, 1]), "HU")})
    lesion = Lesion("1", (-4.0, 5.0, 5.0))
    image = PREPARE.prepare_image(one, lesion)
    assert image is not None
    x_mm = (PREPARE.box_affine(one, lesion) @ np.vstack([np.arange(4), np.zeros((2, 4)), np.ones(4)]))[0]
    np.testing.assert_allclose(PREPARE.undo_window(image)[:, 0, 0], -x_mm, atol=HALF_STEP)


def test_box_beyond_the_volume_looks_like_the_lowest_value() -> None:
    image = PREPARE.prepare_image(study(value=300.0), Lesion("1", (-0.2, 4.5, 4.5)))
    assert image is not None
    assert image[0, :, 0, 0].tolist() == [0, 0, 1, 1]  # at -1.7, -0.7, 0.3 and 1.3; the volume starts at -0.5


@pytest.mark.parametrize(("trained", "given"), [("HU", "arbitrary"), ("arbitrary", "HU")])
def test_image_in_another_unit_is_prepared_with_a_doubt(trained: Unit, given: Unit) -> None:
    [doubt] = replace(PREPARE, unit=trained)(study(unit=given), AT_CENTRE).doubts
    assert doubt.startswith(f"image in unit '{given}', unlike the training images in '{trained}'")
    assert PREPARE(study(), AT_CENTRE).doubts == ()
    assert replace(PREPARE, modalities=("text",))(study(unit="arbitrary"), AT_CENTRE).doubts == ()


def test_missing_position_is_refused() -> None:
    with pytest.raises(LesionPositionError, match="study S1 lesion 1: no lesion position"):
        PREPARE(study(), Lesion("1"))


@pytest.mark.parametrize("centre", [(-0.6, 4, 4), (4, 9.6, 4), (4, 4, 1e6)])
def test_position_outside_the_image_is_refused_without_telling_it(centre: tuple[float, float, float]) -> None:
    with pytest.raises(LesionPositionError, match="outside the image") as caught:
        PREPARE(study(), Lesion("1", centre))
    assert str(centre[0]) not in str(caught.value)


@pytest.mark.parametrize("centre", [(-0.5, 4, 4), (9.5, 9.5, 9.5)])
def test_position_at_the_very_edge_of_a_voxel_is_inside(centre: tuple[float, float, float]) -> None:
    assert PREPARE(study(), Lesion("1", centre)).image is not None


def test_lesion_can_name_its_own_image() -> None:
    volumes = {"image": study(value=300).volumes["image"], "image-2": study(value=-100).volumes["image"]}
    second = PREPARE.prepare_image(Study("S1", "P1", volumes), Lesion("2", CENTRE, channels={"image": "image-2"}))
    assert second is not None
    assert not second.any()


def test_own_text_of_a_lesion_wins_over_the_report() -> None:
    own = replace(AT_CENTRE, text=ReportText("A cough."))
    sample = PREPARE(study(lesions=(own,)), own)
    assert sample.token_ids is not None
    assert tuple(sample.token_ids.tolist()) == TOKENIZER.encode("A cough.", max_length=8).ids


def test_only_the_chosen_sections_are_read() -> None:
    assert words(PREPARE, TEXT) == ["A", "solid", "nodule", ".", "Nodule", "."]
    assert words(replace(PREPARE, text=TextConfig(sections=("indication",))), TEXT) == ["Cough", "."]
    assert words(replace(PREPARE, text=TextConfig(sections=())), TEXT)[0] == "HISTORY"


def test_report_whose_chosen_section_holds_no_word_is_read_whole() -> None:
    assert "cough" in words(PREPARE, "HISTORY: cough.\nFINDINGS: ---")


def test_tokens_beyond_the_limit_are_left_out() -> None:
    sample = replace(PREPARE, text=TextConfig(max_length=8))(study(report="nodule " * 20), AT_CENTRE)
    assert sample.token_ids is not None
    assert len(sample.token_ids) == 8


def test_modality_that_the_model_does_not_read_is_left_unread() -> None:
    text_only = replace(PREPARE, modalities=("text",))
    assert text_only(study(unit="arbitrary"), Lesion("1")).image is None
    image_only = replace(PREPARE, modalities=("image",), tokenizer=None)
    assert image_only(study(report="---"), AT_CENTRE).token_ids is None


def test_case_may_lack_either_modality_but_not_both() -> None:
    assert PREPARE(study(report=None), AT_CENTRE).token_ids is None
    no_image = Study("S1", "P1", {}, ReportText(TEXT), (AT_CENTRE,))
    assert PREPARE(no_image, AT_CENTRE).image is None
    with pytest.raises(DataError, match="neither image nor text"):
        replace(PREPARE, modalities=("image",))(no_image, AT_CENTRE)


def test_report_without_a_word_is_refused() -> None:
    with pytest.raises(ReportTextError):
        PREPARE(study(report="---"), AT_CENTRE)


def test_model_that_reads_text_refuses_to_do_so_without_its_tokenizer() -> None:
    with pytest.raises(UsageError, match="tokenizer"):
        replace(PREPARE, tokenizer=None)(study(), AT_CENTRE)


def test_preparation_leaves_the_study_untouched() -> None:
    one = study()
    before = one.volumes["image"].voxels.copy()
    PREPARE(one, AT_CENTRE)
    np.testing.assert_array_equal(one.volumes["image"].voxels, before)


OTHERS: list[Callable[[Preprocessing], Preprocessing]] = [
    lambda p: replace(p, image=p.image.model_copy(update={"size": (4, 4, 5)})),
    lambda p: replace(p, image=p.image.model_copy(update={"spacing_mm": 1.25})),
    lambda p: replace(p, image=p.image.model_copy(update={"region": "whole"})),
    lambda p: replace(p, image=p.image.model_copy(update={"spacing_mm": None, "margin_mm": 1.0})),
    lambda p: replace(p, image=p.image.model_copy(update={"channels": (ChannelConfig(intensity=(-100.0, 301.0)),)})),
    lambda p: replace(p, image=p.image.model_copy(update={"channels": (ChannelConfig(source="ct"),)})),
    lambda p: replace(p, text=p.text.model_copy(update={"sections": ("findings",)})),
    lambda p: replace(p, text=p.text.model_copy(update={"max_length": 255})),
    lambda p: replace(p, text=p.text.model_copy(update={"vocabulary_size": 1999})),
    lambda p: replace(p, text=p.text.model_copy(update={"flags": "chest14"})),
    lambda p: replace(p, text=p.text.model_copy(update={"mask_terms": ("nodule",)})),
    lambda p: replace(p, text=p.text.model_copy(update={"mask": "always"})),
    lambda p: replace(p, unit="arbitrary"),
    lambda p: replace(p, modalities=("text",)),
    lambda p: replace(p, tokenizer=None),
    lambda p: replace(p, tokenizer=ReportTokenizer.train([TEXT + " mass"], vocabulary_size=100)),
]


def test_digest_changes_with_every_option_and_the_tokenizer() -> None:
    digests = {PREPARE.digest, *(change(PREPARE).digest for change in OTHERS)}
    assert len(digests) == 1 + len(OTHERS)


def test_every_option_of_the_configuration_is_among_those_tried() -> None:
    options = set(ImageConfig.model_fields) | set(TextConfig.model_fields)
    of_images = {"region", "size", "spacing_mm", "margin_mm", "channels"}
    assert options == of_images | {"sections", "max_length", "vocabulary_size", "flags", "mask_terms", "mask"}


def test_plain_values_survive_a_round_trip_through_json() -> None:
    saved = json.loads(json.dumps(PREPARE.to_dict()))
    rebuilt = Preprocessing.from_dict(saved, tokenizer=ReportTokenizer.from_json(TOKENIZER.to_json()))
    assert rebuilt == PREPARE
    assert rebuilt.digest == PREPARE.digest


@pytest.mark.parametrize(
    "change",
    [
        {"image": None},
        {"image": {"size": [4, 4], "spacing_mm": 1.0}},
        {"image": {"size": [4, 4, 4], "spacing_mm": 1.0, "margin_mm": 3.0}},
        {"image": {"channels": []}},
        {"image": {"channels": [{"intensity": "lungs"}]}},
        {"image": {"channels": [{"source": "../x"}]}},
        {"version": 2},
        {"image": {"colour": True}},
        {"text": {"max_length": "many"}},
        {"unit": "Hounsfield"},
        {"unit": None},
        {"modalities": "image"},
        {"modalities": ["image", "sound"]},
        {"modalities": []},
        {"modalities": [["image"]]},
    ],
)
def test_wrong_value_is_refused_as_a_bad_bundle(change: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=r"model\.json preprocessing"):
        Preprocessing.from_dict({**PREPARE.to_dict(), **change}, tokenizer=TOKENIZER)


@pytest.mark.parametrize("key", ["image", "text", "unit", "modalities"])
def test_missing_value_is_refused_as_a_bad_bundle(key: str) -> None:
    content = {name: value for name, value in PREPARE.to_dict().items() if name != key}
    with pytest.raises(BundleError):
        Preprocessing.from_dict(content, tokenizer=TOKENIZER)


MASK = TextConfig(mask_terms=("nodule", "solid"), mask="always")


def test_masked_terms_are_one_unknown_word_where_they_stood_whatever_their_length() -> None:
    prepare = replace(PREPARE, text=MASK)
    plain, masked = PREPARE.encode(ReportText(TEXT)), prepare.encode(ReportText(TEXT))
    assert plain is not None
    assert masked is not None
    assert [TEXT[a:b] for a, b in masked.offsets] == ["A", "solid nodule", ".", "Nodule", "."]
    a, _, _, stop, *_ = plain.ids
    assert masked.ids == (a, UNKNOWN_ID, stop, UNKNOWN_ID, stop)


def test_terms_to_compare_with_are_read_until_the_masked_preparation_is_asked_for() -> None:
    compare = replace(PREPARE, text=TextConfig(mask_terms=("nodule", "solid")))
    assert compare.encode(ReportText(TEXT)) == PREPARE.encode(ReportText(TEXT))
    assert compare.masked() == replace(PREPARE, text=MASK)
    assert len({compare.digest, compare.masked().digest, PREPARE.digest}) == 3


def test_flags_tell_only_what_the_model_may_read() -> None:
    text = ReportText("HISTORY: Pneumonia.\nCOMPARISON: Mass.\nFINDINGS: A solid nodule. No effusion.")
    prepare = replace(PREPARE, text=TextConfig(flags="chest14"))
    flags = prepare.prepare_flags(text)
    assert flags is not None
    assert flags.shape == (prepare.n_flags,) == (28,)
    said = [name for name, value in zip(flag_names("chest14"), flags, strict=True) if value]
    assert said == ["Effusion absent", "Nodule present"]
    masked = replace(prepare, text=MASK.model_copy(update={"flags": "chest14"})).prepare_flags(text)
    assert masked is not None
    assert masked[flag_names("chest14").index("Nodule present")] == 0
    assert masked[flag_names("chest14").index("Effusion absent")] == 1


def test_a_model_without_text_or_without_flags_gets_none() -> None:
    assert PREPARE.prepare_flags(ReportText(TEXT)) is None
    assert PREPARE.n_flags == 0
    images = Preprocessing(IMAGE, TextConfig(flags="chest14"), "HU", ("image",))
    assert images.prepare_flags(ReportText(TEXT)) is None
    assert images.n_flags == 0
