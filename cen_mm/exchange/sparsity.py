"""The penalty that pushes scales to zero, so that their channels exchange."""

from torch import Tensor, nn

from .norm import exchanging_norms


class SparsityPenalty(nn.Module):
    """L1 norm of the exchanging norms' scales (paper, eq. 4).

    Args:
        loss_weight: the paper's lambda. The authors' segmentation code adds the penalty once for each output (RGB,
            depth, ensemble), so their 2e-4 is 6e-4 here.
        channels: ``'parts'``: the channels are cut into M equal parts, and part m is penalised for modality m, so
            that no channel is given up by all (the authors' code, paper). ``'all'``: every channel of every modality
            (an ablation of the paper).

    Raises:
        ValueError: for any other ``channels``.
    """

    def __init__(self, loss_weight: float, channels: str = 'parts'):
        super().__init__()
        if channels not in ('parts', 'all'):
            raise ValueError(f"channels={channels!r} is unknown to the sparsity penalty: choose 'parts' or 'all'.")
        self.loss_weight = loss_weight
        self.channels = channels

    def forward(self, model: nn.Module) -> Tensor:
        """The weighted penalty of the model's exchanging norms, a scalar.

        Raises:
            ValueError: if the model has none.
        """
        sums = [self._sum(norm.scales.abs()) for _, norm in exchanging_norms(model)]
        if not sums:
            raise ValueError('The sparsity penalty finds no exchanging norm: set `exchange`, or drop `sparsity`.')
        return self.loss_weight * sum(sums)

    def _sum(self, scales: Tensor) -> Tensor:
        """``(M, C)`` to a scalar."""
        if self.channels == 'all':
            return scales.sum()
        parts = scales.tensor_split(len(scales), dim=1)  # M times (M, C / M)
        return sum(part[m].sum() for m, part in enumerate(parts))
