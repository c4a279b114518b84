"""Layers with separate weights per modality, for comparison with layers that all modalities share."""

import copy
import re
from typing import Any, Optional, Sequence

import torch
from torch import Tensor, nn

from .exchange import split_modalities
from .norm import ExchangeNorm, fill_copies


class PerModalityLayer(nn.Module):
    """One copy of a layer per modality: ``(M * B, ...)`` modality-major in and out.

    A checkpoint of the replaced layer loads too: it fills every copy, as in :class:`ExchangeNorm`.

    Args:
        layer: the layer to copy.
        modalities: names of the modalities, in the order of the batch.
    """

    def __init__(self, layer: nn.Module, modalities: Sequence[str]):
        super().__init__()
        self.modalities = tuple(modalities)
        self.copies = nn.ModuleList(copy.deepcopy(layer) for _ in self.modalities)
        # Indices of the modalities in the batch, set by use_available_modalities. None: all.
        self.available: Optional[list[int]] = None

    def forward(self, x: Tensor) -> Tensor:
        layers = list(self.copies) if self.available is None else [self.copies[i] for i in self.available]
        return torch.cat([layer(part) for layer, part in zip(layers, split_modalities(x, len(layers)))])

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any, **kwargs: Any) -> None:
        fill_copies(self.copies, state_dict, f'{prefix}copies.', prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def make_per_modality(model: nn.Module, modalities: Sequence[str], layers: str = '', prefix: str = '') -> nn.Module:
    """Replaces layers that have parameters by a :class:`PerModalityLayer`, in place.

    If all are replaced, together with :func:`make_multimodal`, which replaces the norms, no parameter is shared any
    more.

    Args:
        model: any network. Its :class:`ExchangeNorm` layers are left as they are.
        modalities: names of the modalities, in the order in which they are stacked.
        layers: regular expression; the layers whose names match (``re.search``) are replaced. Empty: all.
        prefix: prefix of the names, such as ``'backbone.'``.

    Returns:
        The given model.

    Raises:
        ValueError: if a module that matches has both parameters and child layers, such as a transformer with position
            embeddings.
    """
    for name, child in model.named_children():
        full_name = f'{prefix}{name}'
        if isinstance(child, ExchangeNorm):
            continue
        names = [full_name]
        if isinstance(child, nn.MultiheadAttention):  # it reads the weights of its child
            names += [f'{full_name}.{inner}' for inner, _ in child.named_modules()]
        has_parameters = next(child.parameters(recurse=False), None) is not None
        if not has_parameters or not any(re.search(layers, each) for each in names):
            make_per_modality(child, modalities, layers, f'{full_name}.')
        elif next(child.children(), None) is None:
            setattr(model, name, PerModalityLayer(child, modalities))
        else:
            raise ValueError(
                f'{type(child).__name__} has both parameters and child layers and cannot be copied per modality: '
                'choose a backbone without such modules, or remove per_modality_convs.'
            )
    return model
