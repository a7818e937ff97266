"""Where the cases come from and how they are prepared: a part of a configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from medfuse.image_config import CacheConfig, ImageConfig

__all__ = ["DataConfig", "SeriesRule", "TableConfig", "TextConfig"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TextConfig(_Strict):
    """How a report becomes token ids.

    Parameters
    ----------
    sections : tuple of str
        Sections that the model may read; empty means the whole text.
    max_length : int
        Tokens kept.
    vocabulary_size : int
        Upper bound of the tokenizer trained on the training texts.
    flags : {"none", "chest14", "ctrate18"}
        Labels whose mentions and denials go to the model as numbers beside the encoded text.
    mask_terms : tuple of str
        Words that the label may have been made from: concepts of the lexicon, which stand for all their wordings,
        or plain words.
    mask : {"compare", "always"}
        What is done with them: the model reads them, and its predictions say too what it answers without them, or it
        never reads them.
    """

    sections: tuple[str, ...] = ("findings", "impression")
    max_length: Annotated[int, Field(ge=8, le=4096)] = 256
    vocabulary_size: Annotated[int, Field(ge=64)] = 2000
    flags: Literal["none", "chest14", "ctrate18"] = "none"
    mask_terms: tuple[str, ...] = ()
    mask: Literal["compare", "always"] = "compare"


class SeriesRule(_Strict):
    """Which series of a study the model sees, where several are volumes. Saved with the model.

    Parameters
    ----------
    modality : str
        DICOM Modality, for example "CT"; empty for any.
    thickness_mm : tuple of float, optional
        Least and greatest slice thickness.
    kernels : tuple of str
        Values of ConvolutionKernel, whatever their letter case; empty for any.
    prefer : {"refuse", "thinnest", "thickest", "most_slices"}
        Which one of several that fit; a tie is refused.
    time_point : {"refuse", "first", "middle", "last"}
        Which volume of a series with several time points.
    """

    modality: str = ""
    thickness_mm: tuple[float, float] | None = None
    kernels: tuple[str, ...] = ()
    prefer: Literal["refuse", "thinnest", "thickest", "most_slices"] = "refuse"
    time_point: Literal["refuse", "first", "middle", "last"] = "refuse"

    @field_validator("thickness_mm")
    @classmethod
    def _low_to_high(cls, thickness: tuple[float, float] | None) -> tuple[float, float] | None:
        if thickness is not None and not 0 <= thickness[0] <= thickness[1]:
            raise ValueError("the least thickness first, both 0 or more")
        return thickness


class TableConfig(_Strict):
    """Which free columns of the manifest are the clinical table.

    Parameters
    ----------
    numeric : tuple of str
        Columns of numbers, which are standardised by the training cases.
    categorical : tuple of str
        Columns of categories; one that no training case has counts as unknown.
    """

    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()


class DataConfig(_Strict):
    """Where the cases come from and how they are split.

    Parameters
    ----------
    manifest : str
        Path of manifest.csv, relative to the working folder.
    image, text, table
        Preparation of each modality.
    test_fold : int, optional
        Fold of the manifest that is kept for the test. None if the manifest has a ``split`` column.
    folds : int, optional
        Train so many times, each fold kept for the test once: the folds of the manifest, if it has so many, else
        folds of patients by hash. None trains once.
    validation_fraction : float
        Share of the other patients held out for every choice made in training.
    unlabelled : {"train", "leave_out"}
        Cases of which no target is known can still train: alignment, and the attributes that are known of them.
    unit : {"HU", "arbitrary"}
        Unit of the voxels of NIfTI images, which do not say it themselves.
    series : SeriesRule
        Which series of a study is its image, in scoring and explaining.
    cache : CacheConfig
        Where prepared images are kept.
    """

    manifest: str = "manifest.csv"
    image: ImageConfig = ImageConfig()
    text: TextConfig = TextConfig()
    table: TableConfig = TableConfig()
    test_fold: Annotated[int, Field(ge=0)] | None = 0
    folds: Annotated[int, Field(ge=2)] | None = None
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    unlabelled: Literal["train", "leave_out"] = "train"
    unit: Literal["HU", "arbitrary"] = "HU"
    series: SeriesRule = SeriesRule()
    cache: CacheConfig = CacheConfig()

    @model_validator(mode="after")
    def _windows_are_of_hu(self) -> DataConfig:
        if self.unit != "HU" and self.image.needs_hu:
            raise ValueError("unit: HU for an intensity that is a window of CT by name")
        return self
