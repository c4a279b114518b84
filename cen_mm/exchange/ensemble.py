"""From stacked outputs to one output a branch, and their ensemble."""

from typing import Sequence

import torch
from torch import Tensor, nn

ENSEMBLE = 'ensemble'


class Ensemble(nn.Module):
    """Weighs the branches by softmax(alpha). They are detached there, so the ensemble's loss trains alpha alone.

    Args:
        modalities: names of the modalities, in the order in which they are stacked.
    """

    def __init__(self, modalities: Sequence[str]):
        super().__init__()
        check_modalities(modalities)
        self.modalities = tuple(modalities)
        self.alpha = nn.Parameter(torch.ones(len(self.modalities)))
        self.present = None  # indices of the modalities in the batch, set by only_present; None: all

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the modalities that are in the batch."""
        return self.modalities if self.present is None else tuple(self.modalities[i] for i in self.present)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """``(M * B, ...)`` modality-major to ``{'rgb': .., 'depth': .., 'ensemble': ..}``, each ``(B, ...)``."""
        branches = dict(zip(self.names, x.chunk(len(self.names))))
        alpha = self.alpha if self.present is None else self.alpha[self.present]
        weights = alpha.softmax(0).to(x)
        ensemble = sum(weight * branch.detach() for weight, branch in zip(weights, branches.values()))
        return {**branches, ENSEMBLE: ensemble}


def check_modalities(modalities: Sequence[str]) -> None:
    """Raises ValueError unless the names are distinct identifiers that the results do not use otherwise."""
    if isinstance(modalities, str) or not modalities:
        raise ValueError(f"modalities={modalities!r} is not a list of names such as ['rgb', 'depth'].")
    for i, name in enumerate(modalities):
        if not str(name).isidentifier() or name in (ENSEMBLE, 'data') or name in modalities[:i]:
            raise ValueError(
                f'{name!r} cannot name a modality in {list(modalities)}: '
                f"give each a different name of letters and digits, other than '{ENSEMBLE}' and 'data'."
            )
