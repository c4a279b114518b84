"""Running a model without some of its modalities."""

from contextlib import contextmanager
from typing import Iterator, Sequence

from torch import Tensor, nn

from .ensemble import Ensemble
from .norm import ExchangeNorm
from .private import PrivateLayer


@contextmanager
def only_present(model: nn.Module, present: Sequence[str], inputs: Tensor) -> Iterator[None]:
    """Within it, the model's private layers and its ensemble take batches of the present modalities alone.

    A channel is then exchanged with the present modalities; where there is but one, it keeps its own. The ensemble is
    softmax(alpha) over the present.

    Args:
        model: with ``modalities``, all their names, an :class:`Ensemble`, and layers private to the modalities.
        present: names of the modalities, in the order in which they are stacked.
        inputs: ``(B, 3P, H, W)``, the images of the P present modalities, which are checked.

    Raises:
        ValueError: for names that the model does not have, or inputs of another number of channels.
    """
    if tuple(present) == model.modalities:
        yield
        return
    check_present(present, model.modalities)
    if inputs.shape[1] != 3 * len(present):
        raise ValueError(
            f'The input has {inputs.shape[1]} channels, but present={list(present)} needs {3 * len(present)}: '
            'give three channels for each present modality and none for the others.'
        )
    kinds = (ExchangeNorm, PrivateLayer, Ensemble)
    parts = [part for part in model.modules() if isinstance(part, kinds) and part.modalities == model.modalities]
    try:
        for part in parts:
            part.present = [part.modalities.index(name) for name in present]
        yield
    finally:
        for part in parts:
            part.present = None


def check_present(present: Sequence[str], modalities: Sequence[str]) -> None:
    """Raises ValueError unless ``present`` lists one or more of the modalities, each of them once."""
    if isinstance(present, str) or not present or sorted(set(present) & set(modalities)) != sorted(present):
        raise ValueError(
            f'present={present!r} does not fit a model of {", ".join(modalities)}: '
            'list one or more of these, each of them once.'
        )
