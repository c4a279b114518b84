"""Stacking the modalities on the batch dimension, and exchanging channels between them."""

from typing import Sequence

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


def split_modalities(x: Tensor, num_modalities: int) -> tuple[Tensor, ...]:
    """Splits stacked features ``(M * B, ...)``, modality-major, into M views ``(B, ...)``.

    Unlike ``chunk``, it does not turn the batch size into a constant when a model is exported.
    """
    return x.unflatten(0, (num_modalities, -1)).unbind()


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
    parts = exchange_parts(split_modalities(x, len(scale)), scale.abs() < threshold, channel_dim)
    return torch.cat(parts)


def exchange_parts(parts: Sequence[Tensor], replaced: Tensor, channel_dim: int = 1) -> list[Tensor]:
    """Exchanges channels as :func:`channel_exchange` does, between features that are not stacked.

    Args:
        parts: normalized features of each modality, M tensors ``(B, C, ...)`` or, with ``channel_dim=-1``,
            ``(B, ..., C)``.
        replaced: mask of the channels to replace, ``(M, C)`` bool.
        channel_dim: dimension of the channels in the parts.

    Returns:
        M tensors with the shape of the parts.
    """
    if len(parts) == 1:
        return list(parts)
    if len(parts) == 2:
        others = parts[::-1]
    else:
        total = sum(parts[1:], parts[0])  # additions, because autocast computes torch.sum in float32
        others = [(total - part) / (len(parts) - 1) for part in parts]
    shape = [1] * parts[0].dim()
    shape[channel_dim] = -1
    return [torch.where(mask.view(shape), other, part) for mask, other, part in zip(replaced, others, parts)]
