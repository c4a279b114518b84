"""Stacking the modalities on the batch, and the exchange of channels between them."""

import torch
from torch import Tensor


def stack_modalities(x: Tensor, num_modalities: int) -> Tensor:
    """Moves the modalities from the channels to the batch, modality-major.

    Args:
        x: ``(B, M * C, H, W)``.
        num_modalities: M.

    Returns:
        ``(M * B, C, H, W)``: the whole batch of the first modality, then that of the second.

    Raises:
        ValueError: if the channels do not divide into M modalities.
    """
    if x.shape[1] % num_modalities:
        raise ValueError(
            f'The input has {x.shape[1]} channels, which {num_modalities} modalities cannot share evenly: '
            'give every modality of the model, each with the same number of channels.'
        )
    return torch.cat(x.chunk(num_modalities, dim=1))


def channel_exchange(x: Tensor, scale: Tensor, threshold: float, channel_dim: int = 1) -> Tensor:
    """Replaces every channel of small scale by the same channel of the other modalities (paper, eq. 6).

    Channel c of modality m, where ``|scale[m, c]| < threshold``, becomes the mean of that channel over the other
    modalities, all taken before any replacement. The gradient therefore flows to the donors alone.

    Args:
        x: normalised features, modality-major, ``(M * B, C, ...)`` or, with ``channel_dim=-1``, ``(M * B, ..., C)``.
        scale: the norms' scales (the paper's gamma), ``(M, C)``.
        threshold: the paper's theta.
        channel_dim: where the channels of ``x`` are.

    Returns:
        A tensor like ``x``.
    """
    num_modalities = len(scale)
    if num_modalities == 1:
        return x
    if num_modalities == 2:
        others = x.roll(len(x) // 2, 0)
    else:
        stacked = x.unflatten(0, (num_modalities, -1))  # (M, B, C, ...)
        others = ((stacked.sum(0, keepdim=True) - stacked) / (num_modalities - 1)).flatten(0, 1)
    return torch.where(for_each_image(scale.abs() < threshold, x, channel_dim), others, x)


def for_each_image(values: Tensor, x: Tensor, channel_dim: int = 1) -> Tensor:
    """Values of every modality and channel, ``(M, C)``, to ``(M * B, C, 1, ...)``, to be broadcast with ``x``.

    The features then need no view by modality. An activation in place, as most networks have behind a norm, would
    copy a view four times for autograd.
    """
    shape = [len(x)] + [1] * (x.dim() - 1)
    shape[channel_dim] = -1
    return values.repeat_interleave(len(x) // len(values), 0).view(shape)
