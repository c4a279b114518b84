"""Running a model on the available modalities while others are missing."""

from contextlib import ExitStack, contextmanager
from typing import Any, Iterator, Sequence

import torch
from torch import Tensor, nn

from .ensemble import FEATURE_ENSEMBLE, Ensemble
from .norm import ExchangeNorm
from .per_modality import PerModalityLayer


@contextmanager
def use_available_modalities(model: Any, available_modalities: Sequence[str], inputs: Tensor) -> Iterator[None]:
    """Makes the model accept inputs of the available modalities only, while the context is active.

    A replaced channel then becomes the mean over the other available modalities; if only one modality is available,
    nothing is exchanged. The ensemble's weights are softmax(alpha) over the available modalities. Norms with partial
    statistics use them.

    Args:
        model: a network with ``modalities`` (all names), an :class:`Ensemble` and per-modality layers.
        available_modalities: names of the available modalities, in the order in which they are stacked.
        inputs: images of the P available modalities, ``(B, 3P, H, W)``; only their shape is checked.

    Raises:
        ValueError: if the model does not have one of the modalities, the number of channels is not 3P, or the model
            trains with activation checkpointing.
    """
    if tuple(available_modalities) == model.modalities:
        yield
        return
    check_available_modalities(available_modalities, model.modalities)
    if inputs.shape[1] != 3 * len(available_modalities):
        raise ValueError(
            f'The input has {inputs.shape[1]} channels, but available_modalities={list(available_modalities)} needs '
            f'{3 * len(available_modalities)}: pass three channels per available modality and none for the others.'
        )
    if model.training and torch.is_grad_enabled():
        check_no_checkpointing(model)
    kinds = (ExchangeNorm, PerModalityLayer, Ensemble)
    layers = [m for m in model.modules() if isinstance(m, kinds) and is_per_modality(m, model.modalities)]
    try:
        with ExitStack() as stack:
            for layer in layers:
                layer.available = available_indices(layer.modalities, available_modalities)
                if isinstance(layer, ExchangeNorm):
                    stack.enter_context(layer.use_statistics(len(layer.available)))
            yield
    finally:
        for layer in layers:
            layer.available = None


def check_no_checkpointing(model: nn.Module) -> None:
    """Raises ValueError if a layer runs again in the backward pass, when all modalities would be expected."""
    for name, module in model.named_modules():
        wrapped = hasattr(vars(module).get('forward'), '__wrapped__')  # by mmengine's activation_checkpointing
        if wrapped or getattr(module, 'with_cp', False):
            raise ValueError(
                f'Training on a part of the modalities does not work with activation checkpointing of {name}: remove '
                'with_cp and activation_checkpointing, or modality_dropout and available_modalities.'
            )


def is_per_modality(layer: Any, modalities: Sequence[str]) -> bool:
    """Whether a layer has a part for each modality, not one for all of them."""
    return set(modalities) <= set(layer.modalities)


def available_indices(names: Sequence[str], available_modalities: Sequence[str]) -> list[int]:
    """Indices of what is in the batch among the ``names`` in a layer: the modalities, and their feature ensemble."""
    has_ensemble = FEATURE_ENSEMBLE in names and len(available_modalities) > 1
    return [names.index(name) for name in (*available_modalities, *[FEATURE_ENSEMBLE] * has_ensemble)]


def check_available_modalities(available_modalities: Sequence[str], modalities: Sequence[str]) -> None:
    """Raises ValueError unless ``available_modalities`` lists one or more of the modalities, each once."""
    names = available_modalities
    if isinstance(names, str) or not names or sorted(set(names) & set(modalities)) != sorted(names):
        raise ValueError(
            f'available_modalities={names!r} does not match the modalities of the model, {", ".join(modalities)}: '
            'list one or more of them, each once.'
        )
