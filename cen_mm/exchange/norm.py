"""The layer that stands where a norm stood: one private norm a modality and, if asked, the exchange."""

import copy
from typing import Iterator, Optional, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from .exchange import channel_exchange, for_each_image

NORMS = (_BatchNorm, _InstanceNorm, nn.LayerNorm, nn.GroupNorm)


class ExchangeNorm(nn.Module):
    """Private scale, shift and statistics for each modality, then the exchange of channels.

    The state dict holds ``norms.0.*``, ``norms.1.*`` and so on. A checkpoint of the norm that was there (``weight``,
    ``bias``, ...) loads too and fills every private norm, so ImageNet weights need no conversion.

    Channels are the second dimension; for layer norms the last, unless they are made for maps, as the ``LayerNorm2d``
    of timm, torchvision and mmpretrain. Norms of timm that contain an activation (``BatchNormAct2d``) give it up to
    this layer, which applies it after the exchange.

    Args:
        norm: the norm to copy for each modality: batch, sync-batch, instance, layer or group norm.
        modalities: names of the modalities, in the order of the batch.
        threshold: scales below it (the paper's theta) hand their channel over; None: private norms, no exchange.

    Raises:
        ValueError: if the threshold is negative, or the norm has no scale to compare with it.
    """

    idle = False  # True where the network owns the norm, but does not apply it: its scales exchange nothing

    def __init__(self, norm: nn.Module, modalities: Sequence[str], threshold: Optional[float] = None):
        super().__init__()
        if threshold is not None and threshold < 0:
            raise ValueError(f'threshold={threshold}: a scale is never below a negative threshold, give 0 or more.')
        if threshold is not None and norm.weight is None:
            raise ValueError(f'{norm} has no scale, so it cannot exchange: give it affine=True or leave it out.')
        self.modalities = tuple(modalities)
        self.norms = nn.ModuleList(copy.deepcopy(norm) for _ in self.modalities)
        self.threshold = threshold
        self.channel_dim = -1 if isinstance(norm, nn.LayerNorm) and '2d' not in type(norm).__name__ else 1
        self.after = nn.Sequential(*copy.deepcopy(list(norm.children())))  # timm's dropout and activation
        for name, _ in norm.named_children():
            for private in self.norms:
                setattr(private, name, nn.Identity())
        self.present = None  # indices of the modalities in the batch, set by only_present; None: all

    @property
    def scales(self) -> Tensor:
        """The norms' scales (the paper's gamma), ``(M, C)``."""
        return _stack(self.norms, 'weight')

    def forward(self, x: Tensor, **kwargs) -> Tensor:
        """``(M * B, C, ...)`` modality-major to the same (layer norm: ``(M * B, ..., C)``).

        Args:
            x: the stacked features.
            **kwargs: of the norms. mmpretrain's layer norms are told so where the channels are: ``data_format`` is
                ``'channel_first'`` or ``'channel_last'``.
        """
        norms = self.norms if self.present is None else [self.norms[i] for i in self.present]
        if all(isinstance(n, _BatchNorm) and n.affine and n.track_running_stats and not n.training for n in norms):
            x = self._affine(x, norms)
        else:
            x = torch.cat([norm(part, **kwargs) for norm, part in zip(norms, x.chunk(len(norms)))])
        if self.threshold is not None:
            channel_dim = -1 if kwargs.get('data_format') == 'channel_last' else self.channel_dim
            x = channel_exchange(x, _stack(norms, 'weight'), self.threshold, channel_dim)
        return self.after(x)

    @staticmethod
    def _affine(x: Tensor, norms: Sequence[nn.Module]) -> Tensor:
        """Batch norm with frozen statistics: one multiplication and one addition for all modalities."""
        scale = _stack(norms, 'weight') * (_stack(norms, 'running_var') + norms[0].eps).rsqrt()  # (M, C)
        shift = _stack(norms, 'bias') - _stack(norms, 'running_mean') * scale
        return torch.addcmul(for_each_image(shift, x).to(x), x, for_each_image(scale, x).to(x))

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        fill_copies(self.norms, state_dict, f'{prefix}norms.', prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extra_repr(self) -> str:
        return f'modalities={self.modalities}, threshold={self.threshold}'


def fill_copies(copies: nn.ModuleList, state_dict: dict[str, Tensor], prefix: str, plain_prefix: str) -> None:
    """Hands what a checkpoint holds of one layer, under ``plain_prefix``, to every copy of it, under ``prefix``."""
    for key in copies[0].state_dict():
        if plain_prefix + key in state_dict:
            plain = state_dict.pop(plain_prefix + key)
            state_dict.update({f'{prefix}{i}.{key}': plain for i in range(len(copies))})


def _stack(norms: Sequence[nn.Module], name: str) -> Tensor:
    """A parameter or buffer of all the norms, ``(M, C)``."""
    return torch.stack([getattr(norm, name) for norm in norms])


def exchanging_norms(model: nn.Module) -> Iterator[tuple[str, ExchangeNorm]]:
    """Name and module of every norm of the model that exchanges channels."""
    for name, module in model.named_modules():
        if isinstance(module, ExchangeNorm) and module.threshold is not None:
            yield name, module
