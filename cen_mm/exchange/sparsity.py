"""The penalty that drives scales toward zero, so that their channels are replaced."""

import torch
from torch import Tensor, nn

from .norm import exchanging_norms


class SparsityPenalty(nn.Module):
    """L1 norm of the scales of the exchanging norms (paper, eq. 4).

    Args:
        loss_weight: lambda in the paper. The authors' segmentation code adds the penalty once per output (RGB, depth,
            ensemble), so their 2e-4 corresponds to 6e-4 here.
        channels: ``'parts'``: the channels are split into M equal parts and part m is penalized for modality m, so
            that no channel is replaced in all modalities (the authors' code and paper). ``'all'``: every channel of
            every modality is penalized (an ablation in the paper).

    Raises:
        ValueError: for any other value of ``channels``.
    """

    def __init__(self, loss_weight: float, channels: str = 'parts'):
        super().__init__()
        if channels not in ('parts', 'all'):
            raise ValueError(f"channels={channels!r} is unknown: choose 'parts' or 'all'.")
        self.loss_weight = loss_weight
        self.channels = channels

    def forward(self, model: nn.Module) -> Tensor:
        """Returns the weighted penalty over all exchanging norms of the model, a scalar.

        Raises:
            ValueError: if no norm of the model exchanges channels.
        """
        sums = [self._sum(norm.scales.abs()) for _, norm in exchanging_norms(model)]
        if not sums:
            raise ValueError('The sparsity penalty found no exchanging norm: set `exchange`, or remove `sparsity`.')
        return self.loss_weight * torch.stack(sums).sum()

    def _sum(self, scales: Tensor) -> Tensor:
        """Sums the penalized scales: ``(M, C)`` to a scalar."""
        if self.channels == 'all':
            return scales.sum()
        parts = scales.tensor_split(len(scales), dim=1)  # M tensors of shape (M, C / M)
        return torch.stack([part[m].sum() for m, part in enumerate(parts)]).sum()
