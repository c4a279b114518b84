"""Splitting stacked outputs into one output per branch, and the ensemble of the branches."""

from typing import Optional, Sequence

import torch
from torch import Tensor, nn

from .exchange import split_modalities

ENSEMBLE = 'ensemble'


class Ensemble(nn.Module):
    """Weighted mean of the branches with weights softmax(alpha).

    The branches are detached before they are averaged, so the loss of the ensemble trains alpha only.

    Args:
        modalities: names of the modalities, in the order in which they are stacked.
    """

    def __init__(self, modalities: Sequence[str]):
        super().__init__()
        check_modalities(modalities)
        self.modalities = tuple(modalities)
        self.alpha = nn.Parameter(torch.ones(len(self.modalities)))
        # Indices of the modalities in the batch, set by use_available_modalities. None: all.
        self.available: Optional[list[int]] = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the modalities in the batch."""
        return self.modalities if self.available is None else tuple(self.modalities[i] for i in self.available)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Splits the stacked outputs and adds their ensemble.

        Args:
            x: stacked outputs, modality-major, ``(M * B, ...)``.

        Returns:
            ``{'rgb': .., 'depth': .., 'ensemble': ..}``, each ``(B, ...)``.
        """
        branches = dict(zip(self.names, split_modalities(x, len(self.names))))
        alpha: Tensor = self.alpha
        if self.available is not None:  # an index by a list would be copied to the GPU
            alpha = torch.stack([alpha[i] for i in self.available])
        # In the precision of alpha: its gradient is a sum over all pixels, which overflows in float16.
        dtype = torch.promote_types(x.dtype, alpha.dtype)
        weighted = [w * branch.detach().to(dtype) for w, branch in zip(alpha.softmax(0), branches.values())]
        return {**branches, ENSEMBLE: sum(weighted[1:], weighted[0])}


def check_modalities(modalities: Sequence[str]) -> None:
    """Raises ValueError unless the names are distinct Python identifiers other than 'ensemble' and 'data'."""
    if isinstance(modalities, str) or not modalities:
        raise ValueError(f"modalities={modalities!r} must be a list of names, such as ['rgb', 'depth'].")
    for i, name in enumerate(modalities):
        if not str(name).isidentifier() or name in (ENSEMBLE, 'data') or name in modalities[:i]:
            raise ValueError(
                f'{name!r} is not a valid modality name in {list(modalities)}: use distinct names of letters, digits '
                f"and underscores, other than '{ENSEMBLE}' and 'data'."
            )
