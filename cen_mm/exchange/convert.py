"""Converting any network into a multimodal one."""

import re
from typing import Optional, Sequence

from torch import nn

from .ensemble import check_modalities
from .norm import NORMS, ExchangeNorm


def make_multimodal(
    model: nn.Module, modalities: Sequence[str], exchange: Optional[str] = None, threshold: float = 0.02
) -> nn.Module:
    """Replaces every norm layer of the model by an :class:`ExchangeNorm`, in place.

    All other layers are shared by the modalities, which are stacked on the batch dimension. The norm of each modality
    starts from the weights of the replaced norm. Existing :class:`ExchangeNorm` layers are left as they are.

    Args:
        model: any network with batch, sync-batch, instance, layer or group norms.
        modalities: names of the modalities, in the order in which they are stacked.
        exchange: regular expression; the norms whose names match (``re.search``) exchange channels. None: no norm
            exchanges.
        threshold: channels whose scale is below it are replaced (theta in the paper).

    Returns:
        The given model.

    Raises:
        ValueError: for invalid modality names, an ``exchange`` that matches no norm, or a negative threshold of norms
            that exchange.
    """
    check_modalities(modalities)
    copied = {norm for module in model.modules() if isinstance(module, ExchangeNorm) for norm in module.norms}
    names, num_exchanging = [], 0
    for parent_name, parent in list(model.named_modules()):
        for child_name, norm in list(parent.named_children()):
            if isinstance(norm, NORMS) and norm not in copied:
                name = f'{parent_name}.{child_name}'.lstrip('.')
                exchanges = exchange is not None and re.search(exchange, name) is not None
                setattr(parent, child_name, ExchangeNorm(norm, modalities, threshold if exchanges else None))
                names.append(name)
                num_exchanging += exchanges
    if exchange is not None and not num_exchanging:
        examples = ', '.join(names[:12]) + (', ...' if len(names) > 12 else '')
        raise ValueError(
            f'exchange={exchange!r} matches no norm of {type(model).__name__}. Its norms are: {examples or "none"}.'
        )
    return model
