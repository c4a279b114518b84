"""Turns any built network into a multimodal one."""

import re
from typing import Optional, Sequence

from torch import nn

from .ensemble import check_modalities
from .norm import NORMS, ExchangeNorm


def make_multimodal(
    model: nn.Module, modalities: Sequence[str], exchange: Optional[str] = None, threshold: float = 0.02
) -> nn.Module:
    """Puts an :class:`ExchangeNorm` in the place of every norm of the model, in place.

    All other layers are shared by the modalities, which travel stacked on the batch. Each private norm starts from
    the weights of the norm that was there. Norms that are multimodal already stay as they are.

    Args:
        model: any network with batch, sync-batch, instance, layer or group norms.
        modalities: names of the modalities, in the order in which they are stacked.
        exchange: regular expression, searched in the norms' names; those that it finds exchange channels. None: none.
        threshold: the paper's theta.

    Returns:
        The model given.

    Raises:
        ValueError: for names of modalities that cannot be used, a negative threshold, or an ``exchange`` that finds
            no norm.
    """
    check_modalities(modalities)
    private = {norm for module in model.modules() if isinstance(module, ExchangeNorm) for norm in module.norms}
    names, found = [], 0
    for parent_name, parent in list(model.named_modules()):
        for child_name, norm in list(parent.named_children()):
            if isinstance(norm, NORMS) and norm not in private:
                name = f'{parent_name}.{child_name}'.lstrip('.')
                exchanges = exchange is not None and re.search(exchange, name) is not None
                setattr(parent, child_name, ExchangeNorm(norm, modalities, threshold if exchanges else None))
                names.append(name)
                found += exchanges
    if exchange is not None and not found:
        some = ', '.join(names[:12]) + (', ...' if len(names) > 12 else '')
        raise ValueError(
            f'exchange={exchange!r} is found in no norm of {type(model).__name__}; it has {some or "none"}.'
        )
    return model
