"""What the encoders start from and how far training may move them: a part of a configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["DistilConfig", "EncoderTransfer", "TransferConfig"]


class EncoderTransfer(BaseModel):
    """How one encoder is carried over from another training.

    Parameters
    ----------
    weights : str
        A .safetensors file or a torch state dict, relative to the working folder; empty to start at random. Every
        name loaded, missing and unexpected is logged and kept in run.json.
    prefix : str
        What the file puts before the encoder's names: ``encoders.image.`` of a model that medfuse saved.
    freeze_epochs : int or "all"
        Epochs in which the encoder stays as it is, running statistics included, while what follows it learns.
        ``all``, with a linear head, is a linear probe.
    layer_decay : float
        Times which the learning rate falls from each layer to the one before it; 1 for equal rates.

    Notes
    -----
    Source: Howard and Ruder 2018, Universal Language Model Fine-tuning, section 3.2 (rates by layer; their 2.6 is a
    decay of 0.38) and 3.3 (unfreezing); Alain and Bengio 2017, Understanding intermediate layers using linear
    classifier probes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    weights: str = ""
    prefix: str = ""
    freeze_epochs: Annotated[int, Field(ge=0)] | Literal["all"] = 0
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0


class TransferConfig(BaseModel):
    """The encoders by modality; one that the model does not read is passed over."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    image: EncoderTransfer = EncoderTransfer()
    text: EncoderTransfer = EncoderTransfer()
    table: EncoderTransfer = EncoderTransfer()


class DistilConfig(BaseModel):
    """A trained model whose answers this one learns beside the labels: a fused teacher of an image-only student.

    Parameters
    ----------
    teacher : str
        Folder of a saved model; empty for none. It must prepare images as this one does and answer the same targets,
        and must never have seen the patients that this one is tested on.
    temperature : float
        What both models' logits are divided by.
    weight : float
        Of the teacher's answers beside the labels, whose weight is 1.

    Notes
    -----
    See `medfuse.models.distillation.distillation_loss`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    teacher: str = ""
    temperature: Annotated[float, Field(gt=0)] = 2.0
    weight: Annotated[float, Field(ge=0)] = 1.0
