"""The layer that replaces a norm layer: one norm per modality and, if enabled, the channel exchange."""

import copy
import math
from contextlib import contextmanager
from typing import Any, Iterable, Iterator, Optional, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from .exchange import exchange_parts, split_modalities

# Older versions of torch have it in torch._dynamo
_is_compiling = getattr(torch.compiler, 'is_compiling', None) or torch._dynamo.is_compiling
NORMS = (_BatchNorm, _InstanceNorm, nn.LayerNorm, nn.GroupNorm)
LAYER_NORM_CHANNEL_DIMS = {
    'LayerNorm': -1,  # torch, timm
    'LayerNormFp32': -1,  # timm
    'LayerNormAct': -1,  # timm
    'LayerNorm2d': 1,  # timm, torchvision, mmpretrain
    'LayerNorm2dFp32': 1,  # timm
    'LayerNormExp2d': 1,  # timm
    'LayerNormAct2d': 1,  # timm
}
"""Dimension of the channels in the input of each layer norm class. For all other norms it is 1."""


class ExchangeNorm(nn.Module):
    """Normalizes each modality with its own scale, shift and statistics, then exchanges channels.

    The state dict holds ``norms.0.*`` for the first modality, ``norms.1.*`` for the second, and so on. A checkpoint
    of the replaced norm (``weight``, ``bias``, ...) also loads: it fills the norm of every modality, so ImageNet
    weights need no conversion. After :meth:`keep_partial_statistics`, it also holds ``partial_mean`` and
    ``partial_var``; a checkpoint that has them adds them, and one that lacks them fills them from the others.

    The activation inside a norm of timm, such as ``BatchNormAct2d``, is moved to this layer, which applies it after
    the exchange.

    Args:
        norm: the norm to copy for each modality: batch, sync-batch, instance, layer or group norm.
        modalities: names of the modalities, in the order of the batch.
        threshold: channels whose scale is below it are replaced (theta in the paper). None: no exchange.

    Raises:
        ValueError: if the threshold is negative, NaN or infinite, the norm has no scale to compare with it, or the
            norm is a layer norm of a class that ``LAYER_NORM_CHANNEL_DIMS`` does not list.
    """

    partial_mean: Optional[Tensor]  # (M, C)
    partial_var: Optional[Tensor]
    unused = False  # True for a norm that is in the state dict but never applied: its scales exchange nothing

    def __init__(self, norm: nn.Module, modalities: Sequence[str], threshold: Optional[float] = None):
        super().__init__()
        if threshold is not None and not 0 <= threshold < math.inf:
            raise ValueError(f'threshold={threshold}: scales are compared with a finite number. Use 0 or more.')
        if threshold is not None and norm.weight is None:
            raise ValueError(f'{norm} has no scale and cannot exchange channels: set affine=True or exclude it.')
        self.modalities = tuple(modalities)
        self.norms = nn.ModuleList(copy.deepcopy(norm) for _ in self.modalities)
        self.threshold = threshold
        self.channel_dim = 1 if threshold is None else _channel_dim(norm)
        self.act = nn.Sequential(*copy.deepcopy(list(norm.children())))  # dropout and activation of timm's norms
        for name, _ in norm.named_children():
            for copied in self.norms:
                setattr(copied, name, nn.Identity())
        # Indices of the modalities in the batch, set by use_available_modalities. None: all.
        self.available: Optional[list[int]] = None
        self.register_buffer('partial_mean', None)
        self.register_buffer('partial_var', None)
        self._cache: dict[tuple, tuple] = {}

    def keep_partial_statistics(self) -> None:
        """Adds running statistics ``(M, C)`` for inputs with missing modalities, which start from the others.

        Without the replaced channels, features have another mean and variance in all later layers. Running statistics
        of both kinds of inputs fit neither. Norms without running statistics stay as they are.
        """
        if getattr(self.norms[0], 'running_mean', None) is not None:
            self.partial_mean, self.partial_var = _stack(self.norms, 'running_mean'), _stack(self.norms, 'running_var')

    @contextmanager
    def use_statistics(self, num_available: int) -> Iterator[None]:
        """Uses the partial statistics, if there are any and modalities are missing, while the context is active."""
        full: list[tuple[Any, ...]] = []
        is_partial = num_available < len(self.modalities)
        if is_partial and self.partial_mean is not None and self.partial_var is not None:
            for norm, mean, var in zip(self.norms, self.partial_mean, self.partial_var):
                full.append((norm, norm.running_mean, norm.running_var))
                norm.running_mean, norm.running_var = mean, var  # views: a training step updates the whole tensor
        try:
            yield
        finally:
            for norm, mean, var in full:
                norm.running_mean, norm.running_var = mean, var

    @property
    def scales(self) -> Tensor:
        """Scales of the norms (gamma in the paper), ``(M, C)``."""
        return _stack(self.norms, 'weight')

    @property
    def replaced(self) -> Tensor:
        """Mask of the channels below the threshold, which are replaced, ``(M, C)`` bool."""
        return self._replaced(self.norms)

    def _replaced(self, norms: Iterable[Any]) -> Tensor:
        return _stack(norms, 'weight').detach().abs() < (self.threshold or 0)

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Normalizes and exchanges.

        Args:
            x: stacked features, modality-major, ``(M * B, C, ...)``; for layer norms over the last dimension
                ``(M * B, ..., C)``.
            **kwargs: arguments of the norms. mmpretrain passes ``data_format`` to its layer norms:
                ``'channel_first'`` or ``'channel_last'``.

        Returns:
            A tensor with the shape of ``x``.
        """
        norms = list(self.norms) if self.available is None else [self.norms[i] for i in self.available]
        if self._use_constants(norms):
            scale, shift, replaced = self._constants(norms, x)
            x = torch.addcmul(shift, x.unflatten(0, (len(norms), -1)), scale).flatten(0, 1)
            if self.threshold is None:
                return self.act(x)
            parts: Sequence[Tensor] = split_modalities(x, len(norms))
        else:
            parts = [norm(part, **kwargs) for norm, part in zip(norms, split_modalities(x, len(norms)))]
            replaced = None if self.threshold is None else self._replaced(norms)
        if replaced is not None:
            channel_dim = -1 if kwargs.get('data_format') == 'channel_last' else self.channel_dim
            parts = exchange_parts(parts, replaced, channel_dim)
        return self.act(torch.cat(list(parts)) if len(parts) > 1 else parts[0])

    def _use_constants(self, norms: Sequence[Any]) -> bool:
        """Whether the norms are batch norms that are constant: in eval mode, without gradients."""
        if torch.is_grad_enabled() or torch.jit.is_tracing() or _is_compiling():
            return False
        return all(isinstance(n, _BatchNorm) and n.affine and n.track_running_stats and not n.training for n in norms)

    def _constants(self, norms: Sequence[Any], x: Tensor) -> tuple[Tensor, Tensor, Optional[Tensor]]:
        """Scale and shift ``(M, 1, C, 1, ...)`` and mask of the replaced channels ``(M, C)`` of constant batch norms.

        They are cached, because a GPU waits for every small operation at batch 1, until weights are loaded, the mode
        is set, or a parameter changes. Changes of ``parameter.data`` cannot be seen: call ``eval()`` after them.
        """
        key = (tuple(self.available or ()), x.dtype, x.dim())
        tensors = [t for n in norms for t in (n.weight, n.bias, n.running_mean, n.running_var)]
        state = (self.threshold, [(t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors])
        # A CUDA graph must not read memory that the cache may free, nor leave tensors in it that it has not filled.
        is_captured = x.is_cuda and torch.cuda.is_current_stream_capturing()
        cached = None if is_captured else self._cache.get(key)
        if cached is None or cached[0] != state:
            scale = _stack(norms, 'weight') * (_stack(norms, 'running_var') + norms[0].eps).rsqrt()  # (M, C)
            shift = _stack(norms, 'bias') - _stack(norms, 'running_mean') * scale
            replaced = None if self.threshold is None else self._replaced(norms)
            shape = (len(norms), 1, -1, *[1] * (x.dim() - 2))
            cached = state, (*(values.to(x.dtype).view(shape) for values in (scale, shift)), replaced)
            if not is_captured:
                self._cache[key] = cached
        return cached[1]

    def train(self, mode: bool = True) -> 'ExchangeNorm':
        """Sets training or eval mode and clears the cached constants."""
        self._cache.clear()
        return super().train(mode)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any, **kwargs: Any) -> None:
        self._cache.clear()
        fill_copies(self.norms, state_dict, f'{prefix}norms.', prefix)
        if f'{prefix}partial_mean' in state_dict and self.partial_mean is None:  # a network trained with dropout
            self.keep_partial_statistics()
        for name in ('mean', 'var') if self.partial_mean is not None else ():
            keys = [f'{prefix}norms.{i}.running_{name}' for i in range(len(self.norms))]
            if all(key in state_dict for key in keys):
                state_dict.setdefault(f'{prefix}partial_{name}', torch.stack([state_dict[key] for key in keys]))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extra_repr(self) -> str:
        return f'modalities={self.modalities}, threshold={self.threshold}'


def fill_copies(copies: nn.ModuleList, state_dict: dict[str, Tensor], prefix: str, source_prefix: str) -> None:
    """Renames the keys of a replaced layer in a checkpoint, so that its parameters load into every copy, in place.

    Args:
        copies: one layer per modality.
        state_dict: state dict of the checkpoint. It is not changed if it lacks the replaced layer.
        prefix: prefix of the keys of the copies.
        source_prefix: prefix of the keys of the replaced layer.
    """
    for key in copies[0].state_dict():
        if source_prefix + key in state_dict:
            value = state_dict.pop(source_prefix + key)
            state_dict.update({f'{prefix}{i}.{key}': value for i in range(len(copies))})


def exchanging_norms(model: nn.Module, with_unused: bool = True) -> Iterator[tuple[str, ExchangeNorm]]:
    """Yields the name and module of every norm of the model that exchanges channels.

    Args:
        model: the model.
        with_unused: whether norms that the model has, and penalizes, but never applies are yielded, too.
    """
    for name, module in model.named_modules():
        if isinstance(module, ExchangeNorm) and module.threshold is not None and (with_unused or not module.unused):
            yield name, module


def _channel_dim(norm: nn.Module) -> int:
    """Returns the dimension of the channels in the input of the norm."""
    if not isinstance(norm, nn.LayerNorm):
        return 1
    name = type(norm).__name__
    if name not in LAYER_NORM_CHANNEL_DIMS:
        raise ValueError(
            f'{name} is a layer norm whose channel dimension is unknown: '
            f"set cen_mm.exchange.norm.LAYER_NORM_CHANNEL_DIMS['{name}'] to 1, or to -1 for channels last."
        )
    return LAYER_NORM_CHANNEL_DIMS[name]


def _stack(norms: Iterable[Any], name: str) -> Tensor:
    """Stacks a parameter or buffer of all norms, ``(M, C)``."""
    return torch.stack([getattr(norm, name) for norm in norms])
