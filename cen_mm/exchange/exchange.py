"""Stacking the modalities on the batch dimension, and exchanging channels between them."""

import torch
from torch import Tensor


def stack_modalities(x: Tensor, num_modalities: int) -> Tensor:
    """Moves the modalities from the channel dimension to the batch dimension, modality-major.

    Args:
        x: ``(B, M * C, H, W)``.
        num_modalities: M.

    Returns:
        ``(M * B, C, H, W)``: all images of the first modality, then all images of the second, and so on.

    Raises:
        ValueError: if the number of channels is not a multiple of M.
    """
    if x.shape[1] % num_modalities:
        raise ValueError(
            f'The input has {x.shape[1]} channels, which is not a multiple of the {num_modalities} modalities: '
            'pass every modality of the model, each with the same number of channels.'
        )
    return torch.cat(x.chunk(num_modalities, dim=1))


def channel_exchange(x: Tensor, scale: Tensor, threshold: float, channel_dim: int = 1) -> Tensor:
    """Replaces every channel whose scale is below the threshold by the other modalities' channel (paper, eq. 6).

    Channel c of modality m, where ``|scale[m, c]| < threshold``, becomes the mean of channel c over the other
    modalities. All means are taken before any channel is replaced, so a replaced channel passes its gradient to the
    channels that replace it, and none to itself.

    Args:
        x: normalized features, modality-major, ``(M * B, C, ...)`` or, with ``channel_dim=-1``, ``(M * B, ..., C)``.
        scale: scales of the norm layers (gamma in the paper), ``(M, C)``.
        threshold: theta in the paper.
        channel_dim: dimension of the channels in ``x``.

    Returns:
        A tensor with the shape of ``x``.
    """
    num_modalities = len(scale)
    if num_modalities == 1:
        return x
    if num_modalities == 2:
        others = x.roll(len(x) // 2, 0)
    else:
        stacked = x.unflatten(0, (num_modalities, -1))  # (M, B, C, ...)
        others = ((stacked.sum(0, keepdim=True) - stacked) / (num_modalities - 1)).flatten(0, 1)
    return torch.where(expand_to_batch(scale.abs() < threshold, x, channel_dim), others, x)


def expand_to_batch(values: Tensor, x: Tensor, channel_dim: int = 1) -> Tensor:
    """Repeats per-modality channel values for each image, so that they broadcast with the stacked features.

    The features themselves are not viewed as ``(M, B, ...)``: an in-place activation after the norm, which most
    networks have, would make autograd copy such a view four times.

    Args:
        values: ``(M, C)``.
        x: stacked features, ``(M * B, C, ...)`` or, with ``channel_dim=-1``, ``(M * B, ..., C)``.
        channel_dim: dimension of the channels in ``x``.

    Returns:
        ``(M * B, C, 1, ...)`` or ``(M * B, 1, ..., C)``.
    """
    shape = [len(x)] + [1] * (x.dim() - 1)
    shape[channel_dim] = -1
    return values.repeat_interleave(len(x) // len(values), 0).view(shape)
