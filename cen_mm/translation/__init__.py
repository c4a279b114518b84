"""What plugs into MMagic, and its only importer. Importing it registers everything under the scope `cen_mm`."""

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
