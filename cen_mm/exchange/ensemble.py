"""Splitting stacked outputs into one output per branch, and the ensemble of the branches."""

from keyword import iskeyword
from typing import Optional, Sequence

import torch
from torch import Tensor, nn

from .exchange import split_modalities

ENSEMBLE = 'ensemble'
RESERVED = (ENSEMBLE, 'data', 'self')
FEATURE_ENSEMBLE = '_ensemble'  # its name among the modalities of layers that also run on the mean of the features


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

    @property
    def decoded(self) -> tuple[str, ...]:
        """Names of what the decoder runs on, in the order in which it is stacked."""
        return self.names

    def add_to(self, x: Tensor) -> Tensor:
        """Completes stacked maps, ``(M * B, ...)``, with what else the decoder runs on: nothing."""
        return x

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Splits the stacked outputs and adds their ensemble.

        Args:
            x: stacked outputs, modality-major, ``(M * B, ...)``.

        Returns:
            ``{'rgb': .., 'depth': .., 'ensemble': ..}``, each ``(B, ...)``.
        """
        branches = split_modalities(x, len(self.names))
        ensemble = self.weighted_mean([branch.detach() for branch in branches])
        return {**dict(zip(self.names, branches)), ENSEMBLE: ensemble}

    def weighted_mean(self, parts: Sequence[Tensor]) -> Tensor:
        """Computes the mean of one tensor per modality in the batch, ``(B, ...)``, with weights softmax(alpha)."""
        alpha: Tensor = self.alpha
        if self.available is not None:  # an index by a list would be copied to the GPU
            alpha = torch.stack([alpha[i] for i in self.available])
        # In the precision of alpha: its gradient is a sum over all pixels, which overflows in float16.
        dtype = torch.promote_types(parts[0].dtype, alpha.dtype)
        weighted = [w * part.to(dtype) for w, part in zip(alpha.softmax(0), parts)]
        return sum(weighted[1:], weighted[0])


class FeatureEnsemble(Ensemble):
    """Ensemble that is decoded from the weighted mean of the branches' feature maps, instead of that of their outputs.

    It runs through the decoder as one more branch, without parameters of its own but norms, and its loss trains the
    whole network. It is not in the paper. If only one modality is in the batch, the ensemble is its branch.
    """

    @property
    def decoded(self) -> tuple[str, ...]:
        return (*self.names, FEATURE_ENSEMBLE) if len(self.names) > 1 else self.names

    def add_to(self, x: Tensor) -> Tensor:
        """Appends the mean of stacked maps: ``(M * B, ...)``, modality-major, becomes ``((M + 1) * B, ...)``."""
        if len(self.decoded) == len(self.names):
            return x
        mean = self.weighted_mean(split_modalities(x, len(self.names)))
        return torch.cat([x, mean.to(x.dtype)])

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Splits stacked outputs of the decoder, ``((M + 1) * B, ...)``, into the branches and their ensemble."""
        outputs = split_modalities(x, len(self.decoded))
        return {**dict(zip(self.names, outputs)), ENSEMBLE: outputs[-1]}


def check_modalities(modalities: Sequence[str]) -> None:
    """Raises ValueError unless the names are distinct Python identifiers other than those in RESERVED."""
    if isinstance(modalities, str) or not modalities:
        raise ValueError(f"modalities={modalities!r} must be a list of names, such as ['rgb', 'depth'].")
    for i, name in enumerate(modalities):
        if not str(name).isidentifier() or iskeyword(name) or name in RESERVED or name in modalities[:i]:
            raise ValueError(
                f'{name!r} is not a valid modality name in {list(modalities)}: use distinct names of letters, digits '
                f'and underscores, other than {", ".join(map(repr, RESERVED))} and the keywords of Python.'
            )
