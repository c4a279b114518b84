"""The method, on torch alone: private norms that exchange channels, the penalty that makes them, the ensemble."""

from .convert import make_multimodal
from .ensemble import ENSEMBLE, Ensemble
from .exchange import channel_exchange, stack_modalities
from .norm import ExchangeNorm, exchanging_norms
from .sparsity import SparsityPenalty

__all__ = [
    'ENSEMBLE',
    'Ensemble',
    'ExchangeNorm',
    'SparsityPenalty',
    'channel_exchange',
    'exchanging_norms',
    'make_multimodal',
    'stack_modalities',
]
