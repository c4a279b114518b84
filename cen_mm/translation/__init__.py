"""Modules for MMagic, registered in the scope `cen_mm` on import. No other part of the package imports MMagic."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter('ignore', FutureWarning)  # MMagic imports parts of diffusers and torch that are deprecated
    from .discriminator import SharedPatchDiscriminator
    from .features import LPIPS, EfficientNetLite0, InceptionV3
    from .generator import CENUNetGenerator
    from .metric import TranslationMetric
    from .model import CENTranslation
    from .results_hook import ResultsHook

__all__ = [
    'LPIPS',
    'CENTranslation',
    'CENUNetGenerator',
    'EfficientNetLite0',
    'InceptionV3',
    'ResultsHook',
    'SharedPatchDiscriminator',
    'TranslationMetric',
]
