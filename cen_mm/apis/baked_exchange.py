"""The exchange with constant channels, for export: what is always replaced need not be computed."""

import copy
from typing import Any, Optional, Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmseg.models.backbones.resnet import BasicBlock, Bottleneck
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..exchange import ExchangeNorm
from ..exchange.available import available_indices, is_per_modality
from ..exchange.exchange import exchange_parts, split_modalities


def bake_exchange(model: BaseModel) -> None:
    """Makes the exchange of a model in eval mode constant, in place.

    In the residual blocks of mmseg's ResNets with two modalities, replaced channels are not computed: see
    :func:`skip_replaced_channels`.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ExchangeNorm):
                indices = [0]
                if is_per_modality(child, model.modalities):
                    indices = available_indices(child.modalities, model.available_modalities)
                with child.use_statistics(len(indices)):
                    setattr(parent, name, BakedNorm(child, indices))
    for block in model.modules():
        if isinstance(block, (BasicBlock, Bottleneck)) and not getattr(block, 'with_plugins', False):
            skip_replaced_channels(block, 'conv1', block.norm1_name, 'conv2')
            skip_replaced_channels(block, 'conv2', block.norm2_name, 'conv3')


class BakedNorm(nn.Module):
    """An :class:`ExchangeNorm` in eval mode whose mask of replaced channels is constant.

    Batch norms become one multiplication and one addition for all modalities. If no channel is replaced, nothing is
    exchanged.

    Args:
        norm: the norm.
        indices: indices of the modalities in the batch.
    """

    scale: Tensor  # (M, C), as are the other two
    shift: Tensor
    replaced: Optional[Tensor]
    act: nn.Sequential

    def __init__(self, norm: ExchangeNorm, indices: Sequence[int]):
        super().__init__()
        self.num_modalities, self.act, self.channel_dim = len(indices), norm.act, norm.channel_dim
        replaced = None if norm.threshold is None else norm.replaced[list(indices)]  # others may have no scales
        self.register_buffer('replaced', replaced if replaced is not None and replaced.any() else None)
        norms: list[Any] = [norm.norms[i] for i in indices]
        self.is_affine = all(isinstance(n, _BatchNorm) and n.affine and n.track_running_stats for n in norms)
        if self.is_affine:
            scales = [n.weight * (n.running_var + n.eps).rsqrt() for n in norms]
            shifts = [n.bias - n.running_mean * scale for n, scale in zip(norms, scales)]
            self.register_buffer('scale', torch.stack(scales).detach())
            self.register_buffer('shift', torch.stack(shifts).detach())
        else:
            self.norms = nn.ModuleList(norms)

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Normalizes and exchanges stacked features, as :class:`ExchangeNorm` does."""
        if self.is_affine:
            shape = (self.num_modalities, 1, -1, *[1] * (x.dim() - 2))
            x = x.unflatten(0, (self.num_modalities, -1)) * self.scale.view(shape) + self.shift.view(shape)
            if self.replaced is None:
                return self.act(x.flatten(0, 1))
            parts: Sequence[Tensor] = x.unbind()
        else:
            parts = [norm(part, **kwargs) for norm, part in zip(self.norms, split_modalities(x, self.num_modalities))]
        if self.replaced is not None:
            channel_dim = -1 if kwargs.get('data_format') == 'channel_last' else self.channel_dim
            parts = exchange_parts(parts, self.replaced, channel_dim)
        return self.act(torch.cat(list(parts)))


def skip_replaced_channels(block: nn.Module, before: str, norm: str, after: str) -> None:
    """Splits the convolutions before and after the exchange so that no replaced channel is computed, in place.

    A channel that is replaced in one of two modalities is the same in both after the exchange. The convolution before
    computes it for the other modality only, and the convolution after computes what it adds to the output once for
    both. Between them, the features of modality m consist of the channels that neither modality replaces (private),
    followed by those that m gives to the other modality; the shorter list of given channels is padded.

    Does nothing if there are other than two modalities, no channel is replaced, a channel is replaced in both, or the
    layers are of other types.

    Args:
        block: residual block that applies the three layers and an activation one after another.
        before: name of the convolution before the norm.
        norm: name of the :class:`BakedNorm`.
        after: name of the convolution after the norm.
    """
    layers: list[Any] = [getattr(block, name, None) for name in (before, norm, after)]
    convs, baked = layers[::2], layers[1]
    if not all(isinstance(conv, nn.Conv2d) and conv.groups == 1 for conv in convs):
        return
    replaced = getattr(baked, 'replaced', None)
    if replaced is None or len(replaced) != 2 or not baked.is_affine or replaced.all(0).any():
        return
    private = (~replaced.any(0)).nonzero()[:, 0]
    given = [replaced[1].nonzero()[:, 0], replaced[0].nonzero()[:, 0]]
    num_given = max(map(len, given))
    kept = torch.stack([torch.cat([private, F.pad(channels, (0, num_given - len(channels)))]) for channels in given])
    setattr(block, before, ConvBeforeExchange(convs[0], kept))
    baked.scale, baked.shift, baked.replaced = baked.scale.gather(1, kept), baked.shift.gather(1, kept), None
    setattr(block, after, ConvAfterExchange(convs[1], private, given))


class ConvBeforeExchange(nn.Module):
    """A convolution that computes for each modality only the channels that it keeps.

    Args:
        conv: the convolution of all channels.
        kept: indices of the channels, ``(M, C')``.
    """

    def __init__(self, conv: nn.Conv2d, kept: Tensor):
        super().__init__()
        self.convs = nn.ModuleList(copy.deepcopy(conv) for _ in kept)
        part: Any
        for part, channels in zip(self.convs, kept):
            part.weight = nn.Parameter(conv.weight.detach()[channels])
            part.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach()[channels])

    def forward(self, x: Tensor) -> Tensor:
        """Computes ``(M * B, C', h, w)`` from ``(M * B, C, H, W)``."""
        return torch.cat([conv(part) for conv, part in zip(self.convs, split_modalities(x, len(self.convs)))])


class ConvAfterExchange(nn.Module):
    """A convolution of exchanged channels, which computes what two modalities have in common only once.

    Args:
        conv: the convolution of all channels.
        private: indices of the channels that are not replaced.
        given: indices of the channels that each modality gives to the other.
    """

    def __init__(self, conv: nn.Conv2d, private: Tensor, given: Sequence[Tensor]):
        super().__init__()
        self.num_private = len(private)
        weight, num_given = conv.weight.detach(), max(map(len, given))
        padded = [F.pad(weight[:, channels], (0, 0, 0, 0, 0, num_given - len(channels))) for channels in given]
        self.shared = copy.deepcopy(conv)
        self.shared.weight = nn.Parameter(torch.cat(padded, dim=1))
        if self.num_private:
            self.private = copy.deepcopy(conv)
            self.private.weight, self.private.bias = nn.Parameter(weight[:, private]), None

    def forward(self, x: Tensor) -> Tensor:
        """Computes ``(2 * B, O, h, w)`` from kept channels ``(2 * B, C', H, W)``."""
        shared = self.shared(torch.cat(split_modalities(x[:, self.num_private :], 2), dim=1))
        shared = torch.cat([shared, shared])
        return shared + self.private(x[:, : self.num_private]) if self.num_private else shared
