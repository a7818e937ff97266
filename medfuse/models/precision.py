"""Convolutions in bfloat16 where that is faster and right, in training alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from medfuse.models.input_gradients import strided_conv3d

__all__ = ["Conv3d", "InTrainDtype", "is_right_in_bfloat16", "train_in"]

FEW_CHANNELS = 4
"""An image's, not a feature map's."""

M = TypeVar("M", bound=nn.Module)


def is_right_in_bfloat16(shape: Sequence[int], kernel: Sequence[int]) -> bool:
    """Tell whether torch 2.13 computes a convolution's gradients rightly in bfloat16 on a CPU.

    Where an edge of the input is no longer than the kernel, oneDNN's weight gradient may be wrong, or overrun its
    memory and end the process: with 3 taps at edges of 1 and 2, with 7 taps up to 7. Of a thousand shapes with longer
    edges all were right.

    Parameters
    ----------
    shape, kernel : sequence of int
        Edges of the input and of the kernel, in voxels.

    Examples
    --------
    >>> is_right_in_bfloat16((4, 4, 4), (3, 3, 3)), is_right_in_bfloat16((4, 2, 4), (3, 3, 3))
    (True, False)
    """
    return all(edge > taps for edge, taps in zip(shape, kernel, strict=True))


class InTrainDtype(nn.Module):
    """A module that computes in a number format of its own in training; see `train_in`."""

    train_dtype: torch.dtype = torch.float32


class Conv3d(nn.Conv3d, InTrainDtype):
    """A 3D convolution that a module marked by `train_in` trains in bfloat16, but where that would be wrong.

    Examples
    --------
    >>> conv = train_in(Conv3d(1, 2, kernel_size=3, padding=1), torch.bfloat16)
    >>> conv(torch.zeros(1, 1, 4, 4, 4)).dtype, conv(torch.zeros(1, 1, 2, 2, 2)).dtype
    (torch.bfloat16, torch.float32)
    >>> conv.eval()(torch.zeros(1, 1, 4, 4, 4)).dtype
    torch.float32
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Return the convolved map, shape (B, D, i, j, k), of one of shape (B, C, I, J, K)."""
        right = input.device.type != "cpu" or is_right_in_bfloat16(input.shape[2:], self.kernel_size)
        dtype = self.train_dtype if self.training and right else self.weight.dtype
        # An autocast around the whole model would undo the choice.
        with torch.autocast(input.device.type, enabled=False):
            if dtype != torch.bfloat16:
                return self._convolved(input.to(self.weight.dtype), self.weight, self.bias)
            # Channels last suits the blocked kernels; the weights are laid out so, and the output follows them.
            image = input.to(dtype, memory_format=torch.channels_last_3d)
            weight = self.weight.to(dtype, memory_format=torch.channels_last_3d)
            bias = None if self.bias is None else self.bias.to(dtype)
            return self._convolved(image, weight, bias)

    def _convolved(self, image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if isinstance(self.padding, tuple) and self._is_frozen_stem(image):
            return strided_conv3d(image, weight, stride=self.stride, padding=self.padding)
        convolved: Tensor = self._conv_forward(image, weight, bias)
        return convolved

    def _is_frozen_stem(self, image: Tensor) -> bool:
        """Tell whether the image's gradient alone is wanted, of a layer that torch is slow at."""
        return (
            image.requires_grad
            and not self.weight.requires_grad
            and self.bias is None
            and self.in_channels <= FEW_CHANNELS
            and max(self.stride) > 1
            and (self.groups, self.dilation, self.padding_mode) == (1, (1, 1, 1), "zeros")
        )


def train_in(module: M, dtype: torch.dtype) -> M:
    """Let what is dear in a module, 3D convolutions and transformers, train in a number format.

    Weights, gradients and eval mode stay in float32.

    Parameters
    ----------
    module : Module
        Changed in place and given back.
    dtype : torch.dtype
        float32 or bfloat16; float16 is some hundred times slower on a CPU.
    """
    for part in module.modules():
        if isinstance(part, InTrainDtype):
            part.train_dtype = dtype
    return module
