"""The method, on torch alone: private norms that exchange channels, the penalty that makes them, the ensemble."""

from .convert import make_multimodal
from .ensemble import ENSEMBLE, Ensemble
from .exchange import channel_exchange, stack_modalities
from .norm import ExchangeNorm, exchanging_norms
from .present import check_present, only_present
from .private import PrivateLayer, make_private
from .sparsity import SparsityPenalty

__all__ = [
    'ENSEMBLE',
    'Ensemble',
    'ExchangeNorm',
    'PrivateLayer',
    'SparsityPenalty',
    'channel_exchange',
    'check_present',
    'exchanging_norms',
    'make_multimodal',
    'make_private',
    'only_present',
    'stack_modalities',
]
