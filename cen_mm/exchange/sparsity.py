"""The penalty that drives scales toward zero, so that their channels are replaced."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from .norm import ExchangeNorm, exchanging_norms


class SparsityPenalty(nn.Module):
    """L1 norm of the scales of the exchanging norms (paper, eq. 4).

    Args:
        loss_weight: lambda in the paper. The authors' segmentation code adds the penalty once per output (RGB, depth,
            ensemble), so their 2e-4 corresponds to 6e-4 here.
        channels: ``'parts'``: the channels are split into M equal parts and part m is penalized for modality m, so
            that no channel is replaced in all modalities (the authors' code and paper). ``'all'``: every channel of
            every modality is penalized (an ablation in the paper).

    Raises:
        ValueError: for any other value of ``channels``, or a weight that is negative, NaN or infinite.
    """

    def __init__(self, loss_weight: float, channels: str = 'parts'):
        super().__init__()
        if channels not in ('parts', 'all'):
            raise ValueError(f"channels={channels!r} is unknown: choose 'parts' or 'all'.")
        if not 0 <= loss_weight < math.inf:
            raise ValueError(f'loss_weight={loss_weight} of the sparsity penalty: give a finite number, 0 or more.')
        self.loss_weight = loss_weight
        self.channels = channels

    def forward(self, model: nn.Module) -> Tensor:
        """Returns the weighted penalty over all exchanging norms of the model, a scalar.

        Raises:
            ValueError: if no norm of the model exchanges channels.
        """
        scales = [scale for _, norm in exchanging_norms(model) for scale in self._penalized(norm)]
        if not scales:
            raise ValueError('The sparsity penalty found no exchanging norm: set `exchange`, or remove `sparsity`.')
        return self.loss_weight * torch.cat(scales).abs().sum()  # one operation on all scales, not one per norm

    def _penalized(self, norm: ExchangeNorm) -> list[Tensor]:
        """Returns the penalized scales of each modality, ``(C,)`` or ``(C / M,)``."""
        weights: list[Any] = [copied.weight for copied in norm.norms]
        if self.channels == 'all':
            return weights
        return [weight.tensor_split(len(weights))[m] for m, weight in enumerate(weights)]
