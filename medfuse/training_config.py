"""How a model is trained: a part of a configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["AugmentConfig", "ComputeConfig", "LossConfig", "OptimConfig", "PretrainConfig", "TrackingConfig"]

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LossConfig(_Strict):
    """What a wrong answer on a target costs.

    Parameters
    ----------
    name : {"cross_entropy", "focal"}
        Focal loss (Lin 2017, eq. 4) leaves cases alone that are answered well already.
    gamma : float
        Of the focal loss: how far cases that are answered well already are left alone; 0 is cross-entropy.
    class_weights : {"none", "balanced"}
        ``"balanced"`` gives each class the same total weight.
    logit_adjustment : float
        Times the logarithm of each class's share of the training cases, added to its logit in training alone.

    Notes
    -----
    Source: Lin et al. 2017, Focal Loss, equation 5 (alpha is ``class_weights``); Menon et al. 2021, Long-tail
    learning via logit adjustment, equation 10.
    """

    name: Literal["cross_entropy", "focal"] = "cross_entropy"
    gamma: Annotated[float, Field(ge=0)] = 2.0
    class_weights: Literal["none", "balanced"] = "none"
    logit_adjustment: Annotated[float, Field(ge=0)] = 0.0


class OptimConfig(_Strict):
    """How the model is trained.

    Parameters
    ----------
    epochs : int
        Upper bound, and what the schedule spans; early stopping may end sooner.
    batch_size : int
        Cases a step and process group: of all processes together.
    accumulate : int
        Batches whose gradients are summed before the optimiser steps.
    chunks : int
        Pieces that a batch is encoded in, each twice, to hold the activations of one piece at a time: for contrastive
        losses over more cases than fit into memory.
    learning_rate : float
        Its largest value, of AdamW.
    schedule : {"one_cycle", "cosine", "constant"}
        Course of the learning rate.
    warmup : float
        Share of the steps in which the rate rises to ``learning_rate``.
    clip_norm : float
        Largest norm of the gradient; 0 leaves it as it is.
    weight_decay : float
        Of AdamW, apart from the gradient.
    patience : int
        Epochs without a better validation loss before stopping.
    weight_average : float
        Share of the old weights in the running mean that is validated and kept, a step; 0 keeps the newest.
    average_best : int
        Epochs of lowest validation loss whose weights are averaged into the model.
    aligner_weight : float
        Weight of the alignment loss beside the classification loss.
    auxiliary_weight : float
        Weight of each single-modality classification loss.
    attribute_weight : float
        Weight of the mean loss over the attributes, beside that of the targets.
    task_weighting : {"fixed", "uncertainty"}
        ``"uncertainty"`` learns a weight for each target and attribute beside those above.
    loss : LossConfig
        Of the targets.

    Notes
    -----
    Source: Kendall, Gal & Cipolla 2018, Multi-Task Learning Using Uncertainty to Weigh Losses, equation 10.
    """

    epochs: Annotated[int, Field(ge=1)] = 30
    batch_size: Annotated[int, Field(ge=2)] = 32
    accumulate: Annotated[int, Field(ge=1)] = 1
    chunks: Annotated[int, Field(ge=1)] = 1
    learning_rate: Positive = 2e-3
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.3
    clip_norm: Annotated[float, Field(ge=0)] = 1.0
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    weight_average: Annotated[float, Field(ge=0, lt=1)] = 0.97
    average_best: Annotated[int, Field(ge=1)] = 1
    patience: Annotated[int, Field(ge=1)] = 10
    aligner_weight: Annotated[float, Field(ge=0)] = 0.1
    auxiliary_weight: Annotated[float, Field(ge=0)] = 0.3
    attribute_weight: Annotated[float, Field(ge=0)] = 1.0
    task_weighting: Literal["fixed", "uncertainty"] = "fixed"
    loss: LossConfig = LossConfig()


class PretrainConfig(_Strict):
    """How the encoders learn, before any label is shown, to tell image and report from one latent vector.

    Parameters
    ----------
    epochs : int
        0 for none. Cases without a label count too, if ``data.unlabelled`` lets them train.
    learning_rate : float
        Of this pretraining.
    latent_size : int
        Of the vector that both come back from.
    variational : bool
        A product-of-experts VAE; else a plain autoencoder.
    decode_all : bool
        Let each modality alone tell the other too.
    noise : float
        Share of voxels set to 0 and of words hidden before encoding.
    image_weight, text_weight : float
        Of the squared error a voxel, and of the negative log-likelihood a word in nats.
    divergence_weight : float
        Of the latent distribution's divergence from a standard normal one, if variational.

    Notes
    -----
    See `medfuse.models.autoencoder.MultimodalAutoencoder`.
    """

    epochs: Annotated[int, Field(ge=0)] = 0
    learning_rate: Positive = 2e-3
    latent_size: Annotated[int, Field(ge=1)] = 64
    variational: bool = True
    decode_all: bool = True
    noise: Annotated[float, Field(ge=0, lt=1)] = 0.1
    image_weight: Annotated[float, Field(ge=0)] = 50.0
    text_weight: Annotated[float, Field(ge=0)] = 1.0
    divergence_weight: Annotated[float, Field(ge=0)] = 0.1


class AugmentConfig(_Strict):
    """Random changes of training cases; each is a function of the seed, the epoch and the case alone.

    Parameters
    ----------
    mirror : tuple of {"R", "A", "S"}
        Anatomical axes along which the box may be mirrored.
    turn : bool
        Turn a cubic box by right angles, which moves voxels without smoothing them.
    rotate_degrees, scale, translate : float
        Largest rotation about each axis in degrees, change of size as a share, and shift as a share of the box.
    interpolation : {"linear", "nearest"}
        Of these three. ``nearest`` keeps the shapes of masks as sharp as they are outside training.
    brightness, contrast, noise : float
        Largest shift of the values, largest change of their spread as a share, and greatest standard deviation
        of noise; values run from 0 to 1.
    cutout : float
        Edge of a block that is set to 0, as a share of the box; 0 for none.
    token_dropout : float
        Chance that a word becomes unknown.
    shuffle_sentences : float
        Chance that a report's sentences change places within their section.
    drop_section : float
        Chance that a report of several sections loses one.
    synonyms : float
        Chance that a finding is worded otherwise, as the lexicon words it.
    hide_terms : float
        Chance that all mentions of ``data.text.mask_terms`` are hidden from a training case.
    """

    mirror: tuple[Literal["R", "A", "S"], ...] = ("R", "A", "S")
    turn: bool = True
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = 0.0
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.0
    translate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    interpolation: Literal["linear", "nearest"] = "linear"
    brightness: Annotated[float, Field(ge=0, le=1)] = 0.0
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.0
    noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    cutout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    token_dropout: Share = 0.1
    shuffle_sentences: Share = 0.0
    drop_section: Share = 0.0
    synonyms: Share = 0.0
    hide_terms: Share = 0.0


class ComputeConfig(_Strict):
    """What the training runs on.

    Parameters
    ----------
    accelerator : {"auto", "cpu", "gpu"}
        ``"auto"`` takes a GPU if there is one.
    devices : int
        Processes, one a device.
    strategy : {"auto", "ddp"}
        ``"ddp"`` for several processes; each gets an equal share of every batch.
    precision : {"float32", "bfloat16"}
        Of 3D convolutions and pretrained encoders in training; weights, and all answers, are float32.
    workers : int
        Processes that prepare samples beside the training; the results are the same for any number.
    threads : int
        Of torch; 0 leaves the choice to it. Results are equal to the bit only for equal numbers.
    deterministic : bool
        Refuse GPU operations whose results vary from run to run.
    """

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Annotated[int, Field(ge=1)] = 1
    strategy: Literal["auto", "ddp"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    workers: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=0)] = 0
    deterministic: bool = False


class TrackingConfig(_Strict):
    """Where MLflow keeps the run.

    Parameters
    ----------
    uri : str
        MLflow tracking URI; empty for a sqlite store beside the run's folder. Passwords go into the environment.
    experiment : str
        Under which MLflow lists the run.
    register_model : bool
        Enter the finished model into the registry, under the alias ``candidate``.
    registered_model : str
        Its name there; empty for the run's name.
    patience_s : float
        Seconds that the end of a run waits for a store that does not move.
    system_metrics_s : float
        Seconds between figures of load and memory; 0 logs none.
    """

    uri: str = ""
    experiment: str = "medfuse"
    register_model: bool = True
    registered_model: str = ""
    patience_s: Positive = 60.0
    system_metrics_s: Annotated[float, Field(ge=0)] = 10.0

    @model_validator(mode="after")
    def _no_password(self) -> TrackingConfig:
        # It would be written into every run's folder, and into the store for all to read.
        if "@" in self.uri.partition("://")[2].partition("/")[0]:
            raise ValueError("no user or password in tracking.uri: MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD")
        return self
