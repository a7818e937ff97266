"""How an image becomes a tensor, and where prepared images are kept: the image's part of a configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from medfuse.errors import nearest_name

__all__ = ["WINDOWS", "CacheConfig", "ChannelConfig", "ImageConfig"]

WINDOWS: Mapping[str, tuple[float, float]] = {
    "lung": (-1350.0, 150.0),
    "soft_tissue": (-160.0, 240.0),
    "bone": (-500.0, 1300.0),
    "brain": (0.0, 80.0),
}
"""Lowest and highest HU of the customary windows of CT: level -600 and width 1500, 40/400, 400/1800, 40/80."""

Preset = Literal["lung", "soft_tissue", "bone", "brain", "zscore"]
Positive = Annotated[float, Field(gt=0)]
Voxels = Annotated[int, Field(ge=1, le=512)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ChannelConfig(_Strict):
    """One channel of a prepared image.

    Parameters
    ----------
    source : str
        Channel of the study that it comes from: ``image``, or ``ct`` of the manifest's ``image_path_ct``.
    intensity : preset, or tuple of float
        Lowest and highest value, mapped to 0 and 1 and clipped there; or the name of such a window of CT (`WINDOWS`);
        or ``zscore``, for MR: standard deviations from the mean of the volume's foreground, from -5 to 5.
    """

    source: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] = "image"
    intensity: Preset | tuple[float, float] = (-1000.0, 400.0)

    @field_validator("intensity", mode="before")
    @classmethod
    def _preset_or_window(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in (*WINDOWS, "zscore"):
                raise ValueError(nearest_name(value, [*WINDOWS, "zscore"]))
            return value
        numbers = [v for v in value if isinstance(v, int | float)] if isinstance(value, list | tuple) else []
        if len(numbers) != 2 or len(value) != 2 or not all(map(math.isfinite, numbers)) or numbers[0] >= numbers[1]:
            raise ValueError("a preset, or two numbers: the lowest value below the highest")
        return tuple(value)


class ImageConfig(_Strict):
    """How an image becomes a tensor: one box, resampled once, each channel with its own intensities.

    Parameters
    ----------
    region : {"lesion", "whole"}
        The box lies around the lesion (its point, or the centre of its mask or box), or around the middle of the
        whole volume.
    size : tuple of int
        Voxels of the box along R, A and S.
    spacing_mm : float or None
        Isotropic voxel spacing of the box. None makes the box just large enough: for the lesion's mask or box and
        ``margin_mm`` around it, or for the whole volume. Linear sampling takes no mean of what it steps over.
    margin_mm : float
        On each side of a lesion's extent; 0 unless ``region`` is ``lesion`` and ``spacing_mm`` None.
    channels : tuple of ChannelConfig
        The first one's volume says where the box lies; all others are sampled at the same places.
    """

    region: Literal["lesion", "whole"] = "lesion"
    size: tuple[Voxels, Voxels, Voxels] = (32, 32, 32)
    spacing_mm: Positive | None = 1.5
    margin_mm: Annotated[float, Field(ge=0)] = 0.0
    channels: Annotated[tuple[ChannelConfig, ...], Field(min_length=1)] = (ChannelConfig(),)

    @model_validator(mode="after")
    def _margin_is_used(self) -> ImageConfig:
        if self.margin_mm and (self.region == "whole" or self.spacing_mm is not None):
            raise ValueError("margin_mm only with region: lesion and spacing_mm: null, which fit the box to the lesion")
        return self

    @property
    def needs_hu(self) -> bool:
        """Whether a channel's intensities are a window of CT by name."""
        return any(channel.intensity in WINDOWS for channel in self.channels)


class CacheConfig(_Strict):
    """Where prepared images are kept between runs; see `medfuse.data.BoxStore`.

    Parameters
    ----------
    folder : str
        Empty for the user's own cache folder.
    max_gb : float
        Largest size in GB of 10**9 bytes; what was used longest ago makes room. 0 keeps nothing.
    """

    folder: str = ""
    max_gb: Annotated[float, Field(ge=0)] = 20.0
