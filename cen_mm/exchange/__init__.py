"""The method, in plain PyTorch: norms per modality that exchange channels, the sparsity penalty, the ensemble."""

from .available import check_available_modalities, use_available_modalities
from .convert import make_multimodal
from .ensemble import ENSEMBLE, Ensemble, FeatureEnsemble, check_modalities
from .exchange import channel_exchange, stack_modalities
from .norm import ExchangeNorm, exchanging_norms
from .per_modality import PerModalityLayer, make_per_modality
from .sparsity import SparsityPenalty

__all__ = [
    'ENSEMBLE',
    'Ensemble',
    'ExchangeNorm',
    'FeatureEnsemble',
    'PerModalityLayer',
    'SparsityPenalty',
    'channel_exchange',
    'check_available_modalities',
    'check_modalities',
    'exchanging_norms',
    'make_multimodal',
    'make_per_modality',
    'stack_modalities',
    'use_available_modalities',
]
