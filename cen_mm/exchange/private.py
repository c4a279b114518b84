"""Layers that each modality has for itself, for the comparison with convolutions that all share."""

import copy
from typing import Sequence

import torch
from torch import Tensor, nn

from .norm import ExchangeNorm, fill_copies


class PrivateLayer(nn.Module):
    """A copy of a layer for each modality: ``(M * B, ...)`` modality-major in and out.

    A checkpoint of the layer that was there fills every copy, as in :class:`ExchangeNorm`.

    Args:
        layer: the layer to copy.
        modalities: names of the modalities, in the order of the batch.
    """

    def __init__(self, layer: nn.Module, modalities: Sequence[str]):
        super().__init__()
        self.modalities = tuple(modalities)
        self.present = None  # indices of the modalities in the batch, set by only_present; None: all
        self.copies = nn.ModuleList(copy.deepcopy(layer) for _ in self.modalities)

    def forward(self, x: Tensor) -> Tensor:
        layers = self.copies if self.present is None else [self.copies[i] for i in self.present]
        return torch.cat([layer(part) for layer, part in zip(layers, x.chunk(len(layers)))])

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        fill_copies(self.copies, state_dict, f'{prefix}copies.', prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def make_private(model: nn.Module, modalities: Sequence[str]) -> nn.Module:
    """Puts a :class:`PrivateLayer` in the place of every layer with parameters of its own, in place.

    Together with :func:`make_multimodal`, which sees to the norms, nothing is shared any more.

    Args:
        model: any network; its :class:`ExchangeNorm` layers stay as they are.
        modalities: names of the modalities, in the order in which they are stacked.

    Returns:
        The model given.

    Raises:
        ValueError: for parameters that no single layer holds, such as a transformer's position embedding.
    """
    for name, child in model.named_children():
        if isinstance(child, ExchangeNorm):
            continue
        if next(child.parameters(recurse=False), None) is None:
            make_private(child, modalities)
        elif next(child.children(), None) is None:
            setattr(model, name, PrivateLayer(child, modalities))
        else:
            raise ValueError(
                f'{type(child).__name__} holds parameters beside its layers, which cannot be made private to a '
                'modality: choose a backbone of plain layers, or leave out private_convs.'
            )
    return model
